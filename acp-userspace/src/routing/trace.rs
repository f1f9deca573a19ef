//! W3C Trace Context (Recommendation of 2021-11-23): the trace goes on under a new parent id at every hop, or starts
//! anew; nothing malformed is passed on.
//!
//! The sampled flag is always sent as 0: a tenant must not be able to make upstreams record at its will. Ids come
//! from the request id by a bijection (splitmix64), so they cost no random numbers and do not repeat; they are
//! names, not secrets.

use crate::http::head::RequestHead;
use crate::ids::RequestId;
use crate::safety::FieldEdits;

/// §3.3.1.1: members of `tracestate`.
const MEMBERS_MAX: usize = 32;
/// §3.3.1.5: a vendor should pass on at least this many bytes.
const TRACESTATE_BYTES_MAX: usize = 512;

/// The identity of one trace.
pub type TraceId = [u8; 16];

/// Whether a field is one of the two.
pub(super) fn names(field: &str) -> bool {
    ["traceparent", "tracestate"].iter().any(|name| field.eq_ignore_ascii_case(name))
}

/// Writes `traceparent`, and `tracestate` if the trace is the client's; returns the trace's id. Where rules would have
/// changed either, a trace of its own begins.
pub(super) fn write(head: &RequestHead<'_>, request: RequestId, edits: &[FieldEdits], out: &mut Vec<u8>) -> TraceId {
    let is_edited = |field: &FieldEdits| head.headers.get(field.at).is_some_and(|header| names(header.name));
    let incoming = head.only("traceparent").and_then(parse).filter(|_| !edits.iter().any(is_edited));
    let [first, second, parent] = ids(request);
    let trace = incoming.unwrap_or_else(|| {
        let mut trace = [0; 16];
        trace[..8].copy_from_slice(&first);
        trace[8..].copy_from_slice(&second);
        trace
    });
    let mut field = *b"traceparent: 00-00000000000000000000000000000000-0000000000000000-00\r\n";
    write_hex(&trace, &mut field[16..48]);
    write_hex(&parent, &mut field[49..65]);
    out.extend_from_slice(&field);
    if incoming.is_some() {
        write_state(head, out);
    }
    trace
}

/// Three ids, none of them zero.
fn ids(request: RequestId) -> [[u8; 8]; 3] {
    let mut seed = u64::from_le_bytes(std::array::from_fn(|i| request.0[i]));
    seed ^= u64::from(u32::from_be_bytes(std::array::from_fn(|i| request.0[8 + i]))) << 16;
    std::array::from_fn(|_| {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        splitmix(seed).max(1).to_be_bytes()
    })
}

/// Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (2014), the finaliser.
const fn splitmix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn write_hex(bytes: &[u8], out: &mut [u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (byte, digits) in bytes.iter().zip(out.chunks_exact_mut(2)) {
        digits[0] = HEX[usize::from(byte >> 4)];
        digits[1] = HEX[usize::from(byte & 15)];
    }
}

/// §3.2.2: version 00 is exactly 55 bytes; a later version may go on after a `-`; `ff` is none.
fn parse(value: &[u8]) -> Option<TraceId> {
    let (fixed, rest) = value.split_at_checked(55)?;
    let version = hex::<1>(&fixed[..2])?[0];
    let trace: TraceId = hex(&fixed[3..35])?;
    let parent: [u8; 8] = hex(&fixed[36..52])?;
    let _flags: [u8; 1] = hex(&fixed[53..])?;
    let dashes = fixed[2] == b'-' && fixed[35] == b'-' && fixed[52] == b'-';
    let end = rest.is_empty() || (version > 0 && rest[0] == b'-');
    (dashes && end && version != 0xff && trace != [0; 16] && parent != [0; 8]).then_some(trace)
}

/// Lower-case hex only.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    (text.len() == 2 * N).then_some(bytes)
}

/// Writes the client's `tracestate` in order, as one field; whole entries are dropped from the end beyond the
/// bounds, and all of it if any entry is malformed (§3.3.1, §5.4).
fn write_state(head: &RequestHead<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    let mut members = 0;
    for value in head.all("tracestate") {
        for member in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if member.is_empty() {
                continue;
            }
            if !is_member(member) {
                return out.truncate(start);
            }
            if members == MEMBERS_MAX || out.len() - start + member.len() > TRACESTATE_BYTES_MAX {
                continue;
            }
            out.extend_from_slice(if members == 0 { b"tracestate: " } else { b"," });
            out.extend_from_slice(member);
            members += 1;
        }
    }
    if members > 0 {
        out.extend_from_slice(b"\r\n");
    }
}

/// §3.3.1.3: `key=value`; a key of up to 256 characters, a value of up to 256 printable ones without `,` and `=`.
fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|byte| *byte == b'=') else { return false };
    let (key, value) = (&member[..at], &member[at + 1..]);
    let key_byte = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/@".contains(b);
    let starts = key.first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let key_is_sound =
        starts && key.len() <= 256 && key.iter().all(key_byte) && key.iter().filter(|b| **b == b'@').count() <= 1;
    let value_byte = |b: &u8| matches!(b, b' '..=b'~') && *b != b'=' && *b != b',';
    key_is_sound && (1..=256).contains(&value.len()) && value.iter().all(value_byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Framing, Header};

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn written(headers: &[(&'static str, &str)]) -> String {
        let head = RequestHead {
            method: "GET",
            path: "/",
            query: None,
            host: "x",
            http11: true,
            headers: headers.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect(),
            framing: Framing::None,
            keep_alive: true,
            expect_continue: false,
            len: 0,
        };
        let mut out = Vec::new();
        write(&head, RequestId(*b"abcdefgh\0\0\0\x01"), &[], &mut out);
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    fn starts_anew(headers: &[(&'static str, &str)]) {
        let out = written(headers);
        assert!(!out.contains("4bf92f3577b34da6a3ce929d0e0e4736") && !out.contains("tracestate"), "{out}");
        assert!(parse(out["traceparent: ".len()..].trim_end().as_bytes()).is_some(), "{out}");
    }

    #[test]
    fn a_valid_trace_goes_on_under_a_new_parent_and_unsampled() {
        let out = written(&[("traceparent", PARENT), ("tracestate", "a=1 , b@c=2"), ("TraceState", "d=3")]);
        let (parent, state) = out.split_once("\r\n").unwrap();
        assert!(parent.starts_with("traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        assert!(!parent.contains("00f067aa0ba902b7") && parent.ends_with("-00"));
        assert_eq!(state, "tracestate: a=1,b@c=2,d=3\r\n");
    }

    #[test]
    fn a_malformed_trace_starts_anew_without_state() {
        starts_anew(&[("tracestate", "a=1")]);
        starts_anew(&[("traceparent", PARENT), ("traceparent", PARENT), ("tracestate", "a=1")]);
        let wrong = [
            PARENT.to_uppercase(),
            PARENT.replace("00-", "ff-"),
            PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            PARENT.replace("00f067aa0ba902b7", "0000000000000000"),
            format!("{PARENT}-extra"),
            PARENT.replace('-', "_"),
            PARENT[..54].to_owned(),
            String::new(),
        ];
        for parent in &wrong {
            starts_anew(&[("traceparent", parent), ("tracestate", "a=1")]);
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = PARENT.replacen("00-", "01-", 1);
        assert!(written(&[("traceparent", &format!("{later}-more"))]).contains("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
        starts_anew(&[("traceparent", &format!("{later}more"))]);
    }

    #[test]
    fn state_is_bounded_by_whole_entries_and_dropped_when_malformed() {
        let many: Vec<_> = (0..40).map(|i| format!("k{i}=v")).collect();
        let out = written(&[("traceparent", PARENT), ("tracestate", &many.join(","))]);
        assert!(out.contains("k31=v\r\n") && !out.contains("k32"));
        let long = format!("a={},b=1", "x".repeat(257));
        assert!(!written(&[("traceparent", PARENT), ("tracestate", &long)]).contains("tracestate"));
        let large: Vec<_> = (0..4).map(|i| format!("k{i}={}", "x".repeat(200))).collect();
        assert!(written(&[("traceparent", PARENT), ("tracestate", &large.join(","))]).len() < 700);
        assert!(!written(&[("traceparent", PARENT), ("tracestate", "a=1,A=2")]).contains("tracestate"));
    }

    #[test]
    fn requests_have_distinct_ids() {
        let (one, two) = (ids(RequestId([1; 12])), ids(RequestId([2; 12])));
        assert!(one.iter().all(|id| !two.contains(id)) && one[0] != one[1] && one[1] != one[2]);
    }
}
