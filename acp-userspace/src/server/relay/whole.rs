//! Answers that a rule has to see whole: used where they lie if they came with their head, else collected, within the
//! route's bound and on the tenant's account.

use std::ops::Range;

use super::{Answer, Outward, READ_BYTES, end, end_head, fail, more};
use crate::http::head::{Framing, RequestHead};
use crate::ids::Key128;
use crate::pipeline::{self, Screening, Snapshot};
use crate::reason::Reason;
use crate::server::body::After;
use crate::server::buffers::Lease;
use crate::server::connection::Connection;

/// Has the whole body screened or filtered, and sends what is left of it.
pub(super) async fn whole(
    conn: &mut Connection,
    snapshot: &Snapshot,
    request: &RequestHead<'_>,
    mut answer: Answer,
) -> After {
    // The bytes are on the tenant's account until the client has taken them, not only until they are here.
    let (content, _lease) = match content(conn, snapshot, &mut answer).await {
        Ok(content) => content,
        Err(reason) => return fail(conn, request, reason).await,
    };
    let Some(open) = &mut conn.open else { return After::Close };
    let body = content.bytes(&answer);
    let mut edited = conn.worker.buffers.take();
    let screened = pipeline::screen_answer(&conn.worker.core, open, body, &mut edited);
    let sent = match screened {
        Ok(Screening::AsIs) => body,
        Ok(Screening::Edited) => &edited,
        Err(reason) => {
            conn.worker.buffers.give(edited);
            return fail(conn, request, reason).await;
        }
    };
    open.moved(body.len() as u64, sent.len() as u64);
    let outward =
        if answer.inward.framing == Framing::None { Outward::None } else { Outward::Length(sent.len() as u64) };
    let keep = end_head(conn, request, outward);
    conn.out.extend_from_slice(sent);
    conn.worker.buffers.give(edited);
    if let Content::Own(own) = content {
        conn.worker.buffers.give(own);
    }
    let clean = answer.rest().is_empty();
    end(conn, snapshot, answer, outward, keep, clean).await
}

/// Where a whole body is.
enum Content {
    /// Where it was read: it came with the head, its length announced.
    InPlace(Range<usize>),
    /// Collected.
    Own(Vec<u8>),
}

impl Content {
    fn bytes<'c>(&'c self, answer: &'c Answer) -> &'c [u8] {
        match self {
            Self::InPlace(range) => &answer.buf[range.clone()],
            Self::Own(own) => own,
        }
    }
}

/// An answer's whole content, within the route's bound.
async fn content(
    conn: &mut Connection,
    snapshot: &Snapshot,
    answer: &mut Answer,
) -> Result<(Content, Option<Lease>), Reason> {
    let (max, tenant) = {
        let open = conn.open.as_ref().ok_or(Reason::Internal)?;
        (snapshot.settings.config.routes[open.route].body_bytes_max, open.tenant_key())
    };
    if let Framing::Length(length) = answer.inward.framing
        && let Some(length) = usize::try_from(length).ok().filter(|length| *length <= answer.rest().len())
    {
        if length > max {
            return Err(Reason::ResponseUnscannable);
        }
        let range = answer.used..answer.used + length;
        answer.used = range.end;
        return Ok((Content::InPlace(range), None));
    }
    let (own, lease) = collect(conn, snapshot, answer, max, tenant).await?;
    Ok((Content::Own(own), lease))
}

/// Reads a body piece by piece to its end. Bytes that did not come with the head are leased.
async fn collect(
    conn: &mut Connection,
    snapshot: &Snapshot,
    answer: &mut Answer,
    max: usize,
    tenant: Key128,
) -> Result<(Vec<u8>, Option<Lease>), Reason> {
    let mut content = conn.worker.buffers.take();
    let mut lease: Option<Lease> = None;
    loop {
        let progress =
            answer.inward.advance(&answer.buf[answer.used..], &mut |data| content.extend_from_slice(data))?;
        if content.len() > max {
            return Err(Reason::ResponseUnscannable);
        }
        if progress.done {
            answer.used += progress.consumed;
            return Ok((content, lease));
        }
        let bytes = (content.len() + READ_BYTES).next_multiple_of(READ_BYTES);
        let leased = match &mut lease {
            None => {
                lease = conn.worker.quota.lease(tenant, bytes);
                lease.is_some()
            }
            Some(lease) => lease.grow_to(bytes),
        };
        if !leased {
            return Err(Reason::Overloaded);
        }
        if !more(conn, snapshot, answer).await? {
            return Ok((content, lease));
        }
    }
}
