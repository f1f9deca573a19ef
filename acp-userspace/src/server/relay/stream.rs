//! Answers that nobody has to see whole: passed on as they arrive, for as long as their caller may have them.

use super::inward::Progress;
use super::{Answer, Outward, abort, end, end_head, fail, more};
use crate::clock::{Now, mono_ns};
use crate::http::head::{Framing, RequestHead};
use crate::http::write;
use crate::pipeline::Snapshot;
use crate::reason::Reason;
use crate::server::body::After;
use crate::server::connection::Connection;

/// Streams the body on as it arrives.
pub(super) async fn pass(
    conn: &mut Connection,
    snapshot: &Snapshot,
    request: &RequestHead<'_>,
    mut answer: Answer,
) -> After {
    let outward = match answer.inward.framing {
        Framing::None => Outward::None,
        Framing::Length(length) => Outward::Length(length),
        Framing::Chunked | Framing::UntilClose if request.http11 => Outward::Chunked,
        Framing::Chunked | Framing::UntilClose => Outward::UntilClose,
    };
    let keep = end_head(conn, request, outward);
    let mut recheck_ns = 0;
    let mut boundary = Boundary::START;
    let mut begun = false;
    loop {
        let mut bytes = 0;
        let out = &mut conn.out;
        let progress = answer.inward.advance(&answer.buf[answer.used..], &mut |data| {
            bytes += data.len() as u64;
            boundary.pass(data);
            match outward {
                Outward::Chunked => write::chunk(out, data),
                _ => out.extend_from_slice(data),
            }
        });
        // What is broken before its first byte left is a 502 like any other, not a connection that just ends.
        if let Err(reason) = progress
            && !begun
        {
            return fail(conn, request, reason).await;
        }
        if let Some(open) = &mut conn.open {
            open.moved(bytes, bytes);
        }
        match progress {
            Ok(Progress { consumed, done: true }) => {
                let clean = consumed == answer.rest().len();
                return end(conn, snapshot, answer, outward, keep, clean).await;
            }
            Ok(_) => {}
            Err(reason) => return abort(conn, outward, reason),
        }
        begun = true;
        if !conn.out.is_empty() && !conn.flush().await {
            return abort(conn, outward, Reason::ClientClosed);
        }
        match more(conn, snapshot, &mut answer).await {
            Ok(true) => {}
            Ok(false) => return end(conn, snapshot, answer, outward, keep, false).await,
            Err(reason) => return abort(conn, outward, reason),
        }
        if mono_ns() >= recheck_ns {
            let Some(open) = &conn.open else { return After::Close };
            match open.recheck(&conn.worker.snapshot(), Now::read()) {
                Ok(next_ns) => recheck_ns = next_ns,
                Err(reason) => return cut_off(conn, outward, &boundary, reason).await,
            }
        }
    }
}

/// Whether an event stream stands between two events: the last bytes that were passed on (WHATWG HTML §9.2.5).
struct Boundary([u8; 4]);

impl Boundary {
    const START: Self = Self([b'\n'; 4]);

    fn pass(&mut self, data: &[u8]) {
        let fresh = &data[data.len().saturating_sub(4)..];
        self.0.rotate_left(fresh.len());
        self.0[4 - fresh.len()..].copy_from_slice(fresh);
    }

    fn is_here(&self) -> bool {
        matches!(self.0, [.., b'\n', b'\n'] | [.., b'\r', b'\r'] | [b'\r', b'\n', b'\r', b'\n'])
    }
}

/// Ends a stream whose caller may have no more of it: with an event that says why, where one can stand.
async fn cut_off(conn: &mut Connection, outward: Outward, boundary: &Boundary, reason: Reason) -> After {
    let Some(open) = conn.open.as_ref().filter(|open| open.is_event_stream() && boundary.is_here()) else {
        return abort(conn, outward, reason);
    };
    let mut event = conn.worker.buffers.take();
    open.write_last_event(reason, &mut event);
    conn.out.clear();
    if outward == Outward::Chunked {
        write::chunk(&mut conn.out, &event);
        conn.out.extend_from_slice(write::LAST_CHUNK);
    } else {
        conn.out.extend_from_slice(&event);
    }
    conn.worker.buffers.give(event);
    conn.watch.set_upstream(None);
    conn.finish(reason);
    conn.flush().await;
    After::Close
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_end_with_an_empty_line_however_it_comes_in_pieces() {
        for (pieces, here) in [
            (&[][..], true),
            (&["data: 1\n\n"], true),
            (&["data: 1\n", "\n"], true),
            (&["data: 1\r\n", "\r", "\n"], true),
            (&["data: 1\n", ""], false),
            (&["data: 1\n\n", "d"], false),
            (&["x"], false),
        ] {
            let mut boundary = Boundary::START;
            pieces.iter().for_each(|piece| boundary.pass(piece.as_bytes()));
            assert_eq!(boundary.is_here(), here, "{pieces:?}");
        }
    }
}
