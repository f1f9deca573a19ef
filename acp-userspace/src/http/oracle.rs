//! The codec against another implementation: whatever it accepts, hyper's server reads as the same requests.
//!
//! The claim is one-sided on purpose. We refuse more than hyper does; what we let through must have no second reading.
//! hyper parses heads with httparse too, but frames, decodes chunks and splits pipelines by itself.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use hyper::body::{Body, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Response};

use super::chunked::Decoder;
use super::head::{Framing, HeadLimits, parse_request};

/// A request as a reader saw it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    method: String,
    path: String,
    pub(super) query: Option<String>,
    fields: usize,
    body: Vec<u8>,
}

/// What the codec reads: complete requests until a fault, the end of the bytes, or the connection's.
pub(super) fn ours(mut bytes: &[u8]) -> Vec<Seen> {
    const LIMITS: HeadLimits = HeadLimits { bytes_max: 16 * 1024, headers_max: 64 };
    let mut seen = Vec::new();
    while let Ok(Some(head)) = parse_request(bytes, &LIMITS, &mut 0) {
        let rest = &bytes[head.len..];
        let mut body = Vec::new();
        let consumed = match head.framing {
            Framing::None | Framing::UntilClose => 0,
            Framing::Length(length) => match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
                Some(all) => {
                    body.extend_from_slice(all);
                    all.len()
                }
                None => return seen,
            },
            Framing::Chunked => match Decoder::new().decode(rest, &mut |data| body.extend_from_slice(data)) {
                Ok(decoded) if decoded.done => decoded.consumed,
                _ => return seen,
            },
        };
        seen.push(Seen {
            method: head.method.into(),
            path: head.path.into(),
            query: head.query.map(Into::into),
            fields: head.headers.len(),
            body,
        });
        if !head.keep_alive {
            return seen;
        }
        bytes = &rest[consumed..];
    }
    seen
}

/// What hyper's server reads of the same connection.
pub(super) fn theirs(bytes: &[u8]) -> Vec<Seen> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let (parts, body) = request.into_parts();
            if let Some(body) = collect(body).await {
                seen.borrow_mut().push(Seen {
                    method: parts.method.as_str().into(),
                    path: parts.uri.path().into(),
                    query: parts.uri.query().map(Into::into),
                    fields: parts.headers.len(),
                    body,
                });
            }
            Ok::<_, Infallible>(Response::new(String::new()))
        }
    });
    let io = Wire { bytes: bytes.to_vec(), at: 0 };
    {
        let mut connection =
            pin!(hyper::server::conn::http1::Builder::new().half_close(true).serve_connection(io, service));
        let mut context = Context::from_waker(Waker::noop());
        // The wire is always ready, so a poll that makes no progress is the last; the bound only stops a bug.
        for _ in 0..1000 {
            if connection.as_mut().poll(&mut context).is_ready() {
                break;
            }
        }
    }
    seen.take()
}

/// All data of a body, or nothing if it breaks off.
async fn collect(body: Incoming) -> Option<Vec<u8>> {
    let mut body = pin!(body);
    let mut data = Vec::new();
    while let Some(frame) = poll_fn(|context| body.as_mut().poll_frame(context)).await {
        if let Ok(bytes) = frame.ok()?.into_data() {
            data.extend_from_slice(&bytes);
        }
    }
    Some(data)
}

/// A connection whose client has sent everything and takes everything.
struct Wire {
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let here = buf.remaining().min(self.bytes.len() - self.at);
        let from = self.at;
        buf.put_slice(&self.bytes[from..from + here]);
        self.at += here;
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
