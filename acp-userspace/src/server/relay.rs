//! From a governed request to the end of its answer: connect, send, read the answer's head, pass the body on.
//!
//! Answers stream through as they arrive, re-framed by us, and screened where their route says so; only an answer that a
//! rule has to see whole is collected first, within the route's bound. The outcome is logged before the last byte of an answer is written. A connection
//! to an upstream is reused only after an answer that ended exactly where its framing said.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::answer;
use super::body::After;
use super::buffers::BUFFER_BYTES;
use super::connection::Connection;
use super::runtime;
use super::sweep::{Cut, Phase};
use super::upstream::{Leased, PoolKey};
use crate::clock::{mono_ns, tick_ns};
use crate::http::head::{self, Framing, RequestHead, ResponseHead};
use crate::http::write;
use crate::kernel::socket;
use crate::pipeline::{Governed, Handling, Snapshot};
use crate::reason::Reason;
use inward::Inward;

mod inward;
mod stream;
mod whole;

/// Interim answers (1xx) skipped before an upstream counts as lying.
const INTERIM_MAX: u32 = 8;

/// Most bytes of an answer read at once.
const READ_BYTES: usize = 64 * 1024;

/// What the client sees of the framing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outward {
    /// A length.
    Length(u64),
    /// Chunks of our own.
    Chunked,
    /// To the end of the connection: an HTTP/1.0 client.
    UntilClose,
    /// No body: HEAD, 204, 304.
    None,
}

/// An upstream's answer while it is passed on.
struct Answer {
    leased: Leased,
    /// What was read.
    buf: Vec<u8>,
    /// How much of it was used: the head, then the body piece by piece.
    used: usize,
    inward: Inward,
    keep_alive: bool,
}

impl Answer {
    /// What was read and not yet used.
    fn rest(&self) -> &[u8] {
        &self.buf[self.used..]
    }
}

/// Sends the request in `conn.out` upstream and relays the answer.
pub(super) async fn exchange(conn: &mut Connection, head: &RequestHead<'_>, governed: Box<Governed>) -> After {
    let snapshot = governed.snapshot().clone();
    let snapshot = &snapshot;
    let request = std::mem::replace(&mut conn.out, conn.worker.buffers.take());
    let half_close = snapshot.settings.config.routes[governed.route].half_close;
    conn.watch.set_half_close(half_close);
    let upstream = governed.upstream();
    conn.open = Some(governed);
    let (sent, request) = obtain(conn, snapshot, upstream, request, head).await;
    conn.worker.buffers.give(request);
    let after = match sent {
        Ok((leased, buf)) => deliver(conn, snapshot, head, leased, buf).await,
        Err(reason) => fail(conn, head, reason).await,
    };
    conn.watch.set_upstream(None);
    after
}

/// Sends `request` and reads until an answer's head is there. A reused connection that its peer had closed meanwhile
/// is replaced once, if the method may be repeated (RFC 9110 §9.2.2) and no byte of an answer came.
async fn obtain(
    conn: &mut Connection,
    snapshot: &Snapshot,
    upstream: usize,
    mut request: Vec<u8>,
    head: &RequestHead<'_>,
) -> (Result<(Leased, Vec<u8>), Reason>, Vec<u8>) {
    let Some(address) = snapshot.addresses.pick(upstream, conn.cookie) else {
        return (Err(snapshot.addresses.fault(upstream)), request);
    };
    let key = PoolKey { upstream, address, generation: snapshot.settings.generation };
    let config = &snapshot.settings.config.upstreams[upstream];
    let read_ns = config.read_timeout.as_nanos() as u64;
    let mut pooled = conn.worker.pool.take(key);
    loop {
        let mut leased = match pooled.take() {
            Some(leased) => leased,
            None => match connect(conn, key, config.connect_timeout).await {
                Ok(leased) => leased,
                Err(reason) => return (Err(reason), request),
            },
        };
        let now = tick_ns();
        conn.watch.set_upstream(Some(leased.stream.as_raw_fd()));
        conn.watch.enter(Phase::Upstream, now, now + read_ns);
        if let Some(open) = &mut conn.open {
            open.sent = true;
        }
        let (written, buf) = runtime::write_all(&mut leased.stream, request).await;
        request = buf;
        // An upstream may answer and close before it read everything: its answer counts, not our write's fate.
        leased.intact = written.is_ok();
        let answer = first_head_bytes(&mut leased, conn.worker.buffers.take()).await;
        match answer {
            Ok(buf) => return (Ok((leased, buf)), request),
            Err(buf) => {
                conn.worker.buffers.give(buf);
                let repeatable = matches!(head.method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE");
                if leased.reused && repeatable && conn.watch.cut() == Cut::No {
                    continue;
                }
                return (Err(cut_reason(conn, Reason::UpstreamFailed)), request);
            }
        }
    }
}

async fn connect(conn: &mut Connection, key: PoolKey, timeout: Duration) -> Result<Leased, Reason> {
    let now = tick_ns();
    conn.watch.set_upstream(None);
    // The connect has a timeout of its own; the phase only watches for the client's disconnect.
    conn.watch.enter(Phase::Upstream, now, u64::MAX);
    conn.worker.metrics.upstream_connects.inc();
    let connected = conn.worker.pool.connect(key, timeout).await;
    if conn.watch.cut() != Cut::No {
        // Nothing is sent for a client that left meanwhile.
        return Err(cut_reason(conn, Reason::UpstreamFailed));
    }
    connected.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut => Reason::UpstreamTimeout,
        _ => Reason::UpstreamFailed,
    })
}

/// The first bytes of an answer; the buffer back when none came.
async fn first_head_bytes(leased: &mut Leased, buf: Vec<u8>) -> Result<Vec<u8>, Vec<u8>> {
    match runtime::read_more(&mut leased.stream, buf, READ_BYTES).await {
        (Ok(n), buf) if n > 0 => Ok(buf),
        (_, buf) => Err(buf),
    }
}

/// Why an operation on the upstream ended: the sweep's reason if it cut it, else `fault`.
fn cut_reason(conn: &Connection, fault: Reason) -> Reason {
    match conn.watch.cut() {
        Cut::No => fault,
        Cut::Deadline => {
            conn.watch.clear_deadline_cut();
            Reason::UpstreamTimeout
        }
        Cut::ClientGone => Reason::ClientClosed,
        Cut::Shutdown => Reason::Overloaded,
        Cut::Quarantine => Reason::TenantQuarantined,
    }
}

/// What the bytes read so far hold.
enum Parsed {
    /// No whole head.
    Partial,
    /// A 1xx head of this length.
    Interim(usize),
    /// The answer's head: its length, framing, whether the connection stays open, and how it is passed on.
    Final(usize, Framing, bool, Handling),
    /// Something that is not passed on.
    Bad(Reason),
}

/// Reads the answer's head, decides how it is passed on, and does it.
async fn deliver(
    conn: &mut Connection,
    snapshot: &Snapshot,
    request: &RequestHead<'_>,
    mut leased: Leased,
    mut buf: Vec<u8>,
) -> After {
    let limits = conn.worker.head_limits();
    let mut scanned = 0;
    let mut interim = 0;
    let mut used = 0;
    let (framing, keep_alive, handling) = loop {
        let parsed = match head::parse_response(&buf[used..], request.method == "HEAD", &limits, &mut scanned) {
            Ok(Some(response)) if response.status < 200 => Parsed::Interim(response.len),
            Ok(Some(response)) => match start(conn, &response) {
                Ok(handling) => Parsed::Final(response.len, response.framing, response.keep_alive, handling),
                Err(reason) => Parsed::Bad(reason),
            },
            Ok(None) => Parsed::Partial,
            Err(_) => Parsed::Bad(Reason::UpstreamFraming),
        };
        match parsed {
            Parsed::Interim(len) if interim < INTERIM_MAX => {
                interim += 1;
                used += len;
                scanned = 0;
            }
            Parsed::Interim(_) => return fail(conn, request, Reason::UpstreamFraming).await,
            Parsed::Final(len, framing, keep_alive, handling) => {
                used += len;
                break (framing, keep_alive, handling);
            }
            Parsed::Bad(reason) => return fail(conn, request, reason).await,
            Parsed::Partial => {
                buf.drain(..std::mem::take(&mut used));
                if buf.capacity() == buf.len() {
                    buf.reserve(BUFFER_BYTES);
                }
                let (read, more) = runtime::read_more(&mut leased.stream, buf, READ_BYTES).await;
                buf = more;
                if !matches!(read, Ok(n) if n > 0) {
                    let reason = cut_reason(conn, Reason::UpstreamFailed);
                    return fail(conn, request, reason).await;
                }
            }
        }
    };
    let answer = Answer { leased, buf, used, inward: Inward::new(framing), keep_alive };
    match handling {
        Handling::Pass => stream::pass(conn, snapshot, request, answer, false).await,
        Handling::Stream => stream::pass(conn, snapshot, request, answer, true).await,
        Handling::Whole => whole::whole(conn, snapshot, request, answer).await,
    }
}

/// Writes the answer's status line and fields, all but the framing, into `conn.out`.
fn start(conn: &mut Connection, response: &ResponseHead<'_>) -> Result<Handling, Reason> {
    let open = conn.open.as_mut().ok_or(Reason::Internal)?;
    open.answered(response.status, mono_ns());
    let handling = open.handling(response)?;
    conn.out.clear();
    write::status_line(&mut conn.out, response.status);
    open.write_fields(&conn.worker.core, response, &mut conn.out)?;
    Ok(handling)
}

/// Reads more of the body into the emptied `answer.buf`; false at the end of a body that ends with the connection.
async fn more(conn: &mut Connection, snapshot: &Snapshot, answer: &mut Answer) -> Result<bool, Reason> {
    let read_timeout = snapshot.settings.config.upstreams[answer.leased.key.upstream].read_timeout;
    let now = tick_ns();
    conn.watch.enter(Phase::Upstream, now, now + read_timeout.as_nanos() as u64);
    answer.buf.clear();
    answer.used = 0;
    let (read, buf) = runtime::read_more(&mut answer.leased.stream, std::mem::take(&mut answer.buf), READ_BYTES).await;
    answer.buf = buf;
    match read {
        Ok(n) if n > 0 => Ok(true),
        Ok(_) if answer.inward.framing == Framing::UntilClose && conn.watch.cut() == Cut::No => Ok(false),
        _ => Err(cut_reason(conn, Reason::UpstreamFailed)),
    }
}

/// Writes the framing and the end of the head; true when the connection stays open behind the answer.
fn end_head(conn: &mut Connection, request: &RequestHead<'_>, outward: Outward) -> bool {
    let keep = request.keep_alive && outward != Outward::UntilClose && !conn.worker.draining();
    match outward {
        Outward::Length(length) => write::length(&mut conn.out, length),
        Outward::Chunked => write::chunked(&mut conn.out),
        Outward::UntilClose | Outward::None => {}
    }
    if !keep {
        write::close(&mut conn.out);
    }
    conn.out.extend_from_slice(write::END_OF_HEAD);
    keep
}

/// The answer is complete in `conn.out`: logs the outcome, then releases the last bytes.
async fn end(
    conn: &mut Connection,
    snapshot: &Snapshot,
    answer: Answer,
    outward: Outward,
    keep: bool,
    clean: bool,
) -> After {
    if outward == Outward::Chunked {
        conn.out.extend_from_slice(write::LAST_CHUNK);
    }
    conn.watch.set_upstream(None);
    // A deadline that came with the last bytes has shut the socket down all the same.
    let cut = conn.watch.cut() != Cut::No;
    conn.watch.clear_deadline_cut();
    if clean && !cut && answer.keep_alive && answer.inward.framing != Framing::UntilClose {
        let kept_max = snapshot.settings.config.upstreams[answer.leased.key.upstream].idle_connections_max;
        conn.worker.pool.give(answer.leased, tick_ns(), kept_max);
    }
    conn.worker.buffers.give(answer.buf);
    conn.finish(Reason::Allowed);
    if conn.flush().await && keep { After::Reusable } else { After::Close }
}

/// The answer has begun and cannot be completed: the client must see it cut short. Length and chunks show it; where
/// the end of the connection is the end of the answer, only a reset does.
fn abort(conn: &mut Connection, outward: Outward, reason: Reason) -> After {
    conn.finish(reason);
    if outward == Outward::UntilClose {
        // A client that is gone already needs no reset.
        let _ = socket::reset_on_close(conn.stream.as_raw_fd());
    }
    After::Close
}

/// No byte of an answer left yet: logs why, and says so.
async fn fail(conn: &mut Connection, request: &RequestHead<'_>, reason: Reason) -> After {
    conn.watch.set_upstream(None);
    let refused = conn.finish(reason);
    let Some(refused) = refused.filter(|_| reason != Reason::ClientClosed) else { return After::Close };
    let keep = request.keep_alive && !reason.closes_connection() && !conn.worker.draining();
    conn.out.clear();
    let date = conn.worker.date();
    answer::write_refusal(&mut conn.out, &date, &refused, keep, request.method == "HEAD");
    if conn.flush().await && keep { After::Reusable } else { After::Close }
}
