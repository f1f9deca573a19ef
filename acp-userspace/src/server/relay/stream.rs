//! Answers that nobody has to see whole: passed on as they arrive, for as long as their caller may have them. Where rules
//! look at them, only what may leave does; a stream that a rule ends is ended the same way however it was read, so its
//! head has left by then.

use super::inward::Progress;
use super::{Answer, Outward, READ_BYTES, abort, end, end_head, fail, more};
use crate::clock::{Now, mono_ns};
use crate::http::head::{Framing, RequestHead};
use crate::http::write;
use crate::pipeline::{self, Snapshot};
use crate::reason::Reason;
use crate::server::body::After;
use crate::server::buffers::Lease;
use crate::server::connection::Connection;

/// Streams the body on as it arrives; one that is `screened` may change its length.
pub(super) async fn pass(
    conn: &mut Connection,
    snapshot: &Snapshot,
    request: &RequestHead<'_>,
    mut answer: Answer,
    screened: bool,
) -> After {
    let outward = match answer.inward.framing {
        Framing::None => Outward::None,
        Framing::Length(length) if !screened => Outward::Length(length),
        _ if request.http11 => Outward::Chunked,
        _ => Outward::UntilClose,
    };
    let mut screening = screened.then(|| Screening { raw: conn.worker.buffers.take(), lease: None });
    let keep = end_head(conn, request, outward);
    let mut recheck_ns = 0;
    let mut boundary = Boundary::START;
    let mut begun = false;
    loop {
        let mut bytes = 0;
        let out = &mut conn.out;
        let progress = answer.inward.advance(&answer.buf[answer.used..], &mut |data| {
            bytes += data.len() as u64;
            match &mut screening {
                Some(screening) => screening.raw.extend_from_slice(data),
                None => write_on(out, outward, &mut boundary, data),
            }
        });
        // What is broken before its first byte left is a 502 like any other, not a connection that just ends.
        if let Err(reason) = progress
            && !begun
        {
            return fail(conn, request, reason).await;
        }
        let ended = matches!(progress, Ok(Progress { done: true, .. }));
        match &mut screening {
            Some(screening) => {
                if let Err(reason) = screening.pass(conn, ended, outward, &mut boundary) {
                    return cut_off(conn, outward, &boundary, reason).await;
                }
            }
            None => conn.open.iter_mut().for_each(|open| open.moved(bytes, bytes)),
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
            Ok(false) => {
                if let Some(screening) = &mut screening
                    && let Err(reason) = screening.pass(conn, true, outward, &mut boundary)
                {
                    return cut_off(conn, outward, &boundary, reason).await;
                }
                return end(conn, snapshot, answer, outward, keep, false).await;
            }
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

/// Appends what is passed on to `out`, framed.
fn write_on(out: &mut Vec<u8>, outward: Outward, boundary: &mut Boundary, data: &[u8]) {
    boundary.pass(data);
    match outward {
        Outward::Chunked => write::chunk(out, data),
        _ => out.extend_from_slice(data),
    }
}

/// What screening an answer on its way takes.
struct Screening {
    /// What was read and not yet shown to the rules.
    raw: Vec<u8>,
    /// What is held is on the tenant's account.
    lease: Option<Lease>,
}

impl Screening {
    /// Shows the rules what was read; what may leave is on its way then, on an error too.
    fn pass(
        &mut self,
        conn: &mut Connection,
        at_end: bool,
        outward: Outward,
        boundary: &mut Boundary,
    ) -> Result<(), Reason> {
        let open = conn.open.as_mut().ok_or(Reason::Internal)?;
        let mut left = conn.worker.buffers.take();
        let screened = pipeline::screen_piece(&conn.worker.core, open, &self.raw, at_end, &mut left);
        open.moved(self.raw.len() as u64, left.len() as u64);
        self.raw.clear();
        if !left.is_empty() {
            write_on(&mut conn.out, outward, boundary, &left);
        }
        conn.worker.buffers.give(left);
        screened?;
        let bytes = open.stream_held().next_multiple_of(READ_BYTES);
        let leased = match &mut self.lease {
            Some(lease) => lease.grow_to(bytes),
            None => {
                self.lease = conn.worker.quota.lease(open.tenant_key(), bytes);
                self.lease.is_some()
            }
        };
        if leased { Ok(()) } else { Err(Reason::Overloaded) }
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
        // A client that is gone already misses nothing.
        let _ = conn.out.is_empty() || conn.flush().await;
        return abort(conn, outward, reason);
    };
    let mut event = conn.worker.buffers.take();
    open.write_last_event(reason, &mut event);
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
