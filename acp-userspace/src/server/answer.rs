//! Answers the gateway makes itself: refusals as problem documents, or in JSON-RPC's words on MCP routes.

use crate::http::write::{self, DATE_LEN, Problem, write_problem};
use crate::pipeline::Refused;

/// Appends the answer to a refused request.
pub(super) fn write_refusal(
    out: &mut Vec<u8>,
    date: &[u8; DATE_LEN],
    refused: &Refused,
    reusable: bool,
    head_only: bool,
) {
    if let Some(rpc) = &refused.rpc {
        return write_rpc(out, date, refused, rpc, reusable);
    }
    let headers: Vec<(&str, &[u8])> = refused.headers.iter().map(|(name, value)| (*name, value.as_slice())).collect();
    let problem = Problem {
        reason: refused.reason,
        detail: &refused.detail,
        request_id: refused.id,
        headers: &headers,
        close: !reusable,
        head_only,
    };
    write_problem(out, date, &problem);
}

/// A JSON-RPC answer: status 200, since the protocol's own error travels in the body.
fn write_rpc(out: &mut Vec<u8>, date: &[u8; DATE_LEN], refused: &Refused, rpc: &[u8], reusable: bool) {
    write::status_line(out, 200);
    write::header(out, "Content-Type", b"application/json");
    write::length(out, rpc.len() as u64);
    write::header(out, "Cache-Control", b"private, no-store");
    write::header(out, "Date", date);
    write::header(out, "x-request-id", &refused.id.text());
    for (name, value) in &refused.headers {
        write::header(out, name, value);
    }
    if !reusable {
        write::close(out);
    }
    out.extend_from_slice(write::END_OF_HEAD);
    out.extend_from_slice(rpc);
}
