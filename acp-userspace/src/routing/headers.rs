//! Which of the client's header fields go upstream (THREATS A13), and the ones that carry the verified identity.
//!
//! Names are compared the way the most careless upstream would: every character that is no letter or digit counts as
//! `-`, so `X.User.Uid` is `x-user-uid`; names with `_` are dropped whatever they say, since CGI-style servers read
//! `_` as `-`. Dropped besides: everything that only the gateway may say (identity, request id, forwarding,
//! tracing), everything between two hops (RFC 9110 §7.6.1, with what `Connection` names), framing and `Host`, which
//! the gateway writes itself, `Range` and `Expect`, and what describes bytes that are sent differently. `Cookie` and
//! `Authorization` need the configuration's word.
//!
//! Ours are written after that, so nothing in the client's head can take them away.

use smallvec::SmallVec;

use crate::config::resolved::{ContentCoding, Route};
use crate::http::head::{Header, RequestHead};
use crate::identity::Identity;
use crate::safety::{self, Edit, FieldEdits};

/// Names that `Connection` may list: real clients list one or two, and each is compared with every field.
pub const CONNECTION_NAMES_MAX: usize = 16;

/// No reserved name is longer, so no longer name is looked at beyond this.
const NAME_LOOK: usize = 24;

/// What happens to a field of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NameClass {
    /// Goes on.
    Pass,
    /// Never goes on.
    Drop,
    /// Goes on if the upstream's credentials are `forward`.
    Authorization,
    /// Goes on if the route says so.
    Cookie,
    /// Goes on if the answer is not screened.
    AcceptEncoding,
    /// A digest of the body: goes on if the body is not edited.
    Digest,
}

/// A name as it is compared: mapped, cut at its length or filled with zeros.
type Look = [u8; NAME_LOOK];

/// Names with a class of their own, in lower case, shortest first.
const NAMES: [(&[u8], NameClass); 33] = [
    // Between two hops (RFC 9110 §7.6.1); `te` and its like ask for what the gateway decides.
    (b"te", NameClass::Drop),
    // Framing, and what describes bytes that are sent differently: bodies leave decoded and whole.
    (b"host", NameClass::Drop),
    (b"range", NameClass::Drop),
    (b"cookie", NameClass::Cookie),
    (b"digest", NameClass::Digest),
    (b"expect", NameClass::Drop),
    (b"cookie2", NameClass::Drop),
    (b"trailer", NameClass::Drop),
    (b"upgrade", NameClass::Drop),
    (b"if-range", NameClass::Drop),
    (b"trailers", NameClass::Drop),
    // Only the gateway may say where a request comes from, what it is called, and which trace it is part of.
    (b"forwarded", NameClass::Drop),
    (b"x-real-ip", NameClass::Drop),
    (b"connection", NameClass::Drop),
    (b"keep-alive", NameClass::Drop),
    (b"tracestate", NameClass::Drop),
    (b"content-md5", NameClass::Digest),
    (b"repr-digest", NameClass::Digest),
    (b"traceparent", NameClass::Drop),
    (b"x-request-id", NameClass::Drop),
    (b"authorization", NameClass::Authorization),
    (b"x-rewrite-url", NameClass::Drop),
    (b"content-digest", NameClass::Digest),
    (b"content-length", NameClass::Drop),
    (b"http2-settings", NameClass::Drop),
    (b"x-original-url", NameClass::Drop),
    (b"accept-encoding", NameClass::AcceptEncoding),
    (b"content-encoding", NameClass::Drop),
    (b"proxy-connection", NameClass::Drop),
    (b"transfer-encoding", NameClass::Drop),
    (b"proxy-authenticate", NameClass::Drop),
    (b"proxy-authorization", NameClass::Drop),
    (b"x-http-method-override", NameClass::Drop),
];

/// Classifies a field name.
pub(super) fn classify(name: &str) -> NameClass {
    let name = name.as_bytes();
    let look = look(name);
    if name.contains(&b'_') || (look[..2] == *b"x-" && RESERVED_PREFIXES.iter().any(|prefix| look.starts_with(prefix)))
    {
        return NameClass::Drop;
    }
    let len = name.len().min(NAME_LOOK);
    let of_length = &CLASSES[usize::from(STARTS[len])..usize::from(STARTS[len + 1])];
    of_length.iter().find(|(known, _)| *known == look).map_or(NameClass::Pass, |(_, class)| *class)
}

/// Everything that starts so is for the gateway to say.
const RESERVED_PREFIXES: [&[u8]; 3] = [b"x-user-", b"x-acp-", b"x-forwarded-"];

/// [`NAMES`] as they are compared: arrays of one size, so that no comparison is a call.
const CLASSES: [(Look, NameClass); NAMES.len()] = {
    let mut classes = [([0; NAME_LOOK], NameClass::Pass); NAMES.len()];
    let mut at = 0;
    while at < NAMES.len() {
        assert!(at == 0 || NAMES[at - 1].0.len() <= NAMES[at].0.len(), "shortest first");
        assert!(NAMES[at].0.len() < NAME_LOOK, "longer names are not looked at");
        classes[at] = (look(NAMES[at].0), NAMES[at].1);
        at += 1;
    }
    classes
};

/// Where in [`CLASSES`] the names of each length begin.
const STARTS: [u8; NAME_LOOK + 2] = {
    let mut starts = [0; NAME_LOOK + 2];
    let mut at = 0;
    while at < NAMES.len() {
        let mut len = NAMES[at].0.len() + 1;
        while len < starts.len() {
            starts[len] += 1;
            len += 1;
        }
        at += 1;
    }
    starts
};

const fn look(name: &[u8]) -> Look {
    let mut look = [0; NAME_LOOK];
    let mut at = 0;
    while at < NAME_LOOK && at < name.len() {
        look[at] = MAPPED[name[at] as usize];
        at += 1;
    }
    look
}

/// Lower case for letters, digits as they are, `-` for everything else.
const MAPPED: [u8; 256] = {
    let mut mapped = [b'-'; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() {
            mapped[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    mapped
};

fn map(byte: u8) -> u8 {
    MAPPED[usize::from(byte)]
}

/// A whole name as it is compared.
pub(super) fn mapped(name: &str) -> String {
    name.bytes().map(|byte| char::from(map(byte))).collect()
}

fn same_name(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.bytes().zip(other.bytes()).all(|(a, b)| map(a) == map(b))
}

/// RFC 9110 §5.6.2.
pub(super) fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Whether a configured response header may be passed on at all: not framing, not between hops, not ours.
pub(super) fn may_allow_response(name: &str) -> bool {
    let ours = ["cache-control", "content-length", "content-encoding", "date", "location"];
    is_token(name)
        && !matches!(classify(name), NameClass::Drop | NameClass::Authorization)
        && !ours.iter().any(|ours| same_name(name, ours))
}

/// What the configuration says about one request's fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) forward_authorization: bool,
    pub(super) cookies: bool,
    /// The answer will be read, so it must come unencoded, or in one of `codings`.
    pub(super) screen_response: bool,
    /// Codings that are undone.
    pub(super) codings: &'a [ContentCoding],
    /// The body is not sent as it came.
    pub(super) edited: bool,
    /// Replaced by a service credential.
    pub(super) credential_name: Option<&'a str>,
}

/// The names that `Connection` lists besides `close` and `keep-alive`; `None` if there are too many.
pub(super) fn connection_names<'b>(head: &RequestHead<'b>) -> Option<SmallVec<[&'b [u8]; 4]>> {
    let mut names = SmallVec::new();
    for value in head.all("connection") {
        for name in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if name.is_empty() || name.eq_ignore_ascii_case(b"close") || name.eq_ignore_ascii_case(b"keep-alive") {
                continue;
            }
            if names.len() == CONNECTION_NAMES_MAX {
                return None;
            }
            names.push(name);
        }
    }
    Some(names)
}

/// The client's fields that go on, in their order, and their places in the head.
pub(super) fn passing<'h, 'b>(
    head: &'h RequestHead<'b>,
    rules: Rules<'h>,
) -> impl Iterator<Item = (usize, &'h Header<'b>)> {
    // Too many names were refused when the target was found; none are forgiven here.
    let hop = connection_names(head);
    let known = if hop.is_some() { head.headers.as_slice() } else { &[] };
    let hop = hop.unwrap_or_default();
    known.iter().enumerate().filter(move |(_, header)| {
        let passes = match classify(header.name) {
            NameClass::Pass => true,
            NameClass::Drop => false,
            NameClass::Authorization => rules.forward_authorization,
            NameClass::Cookie => rules.cookies,
            NameClass::AcceptEncoding => !rules.screen_response,
            NameClass::Digest => !rules.edited,
        };
        let named = || hop.iter().any(|name| std::str::from_utf8(name).is_ok_and(|name| same_name(name, header.name)));
        let replaced = || rules.credential_name.is_some_and(|name| same_name(name, header.name));
        passes && !named() && !replaced()
    })
}

/// Writes the client's fields that go on, in their order, with the edits that rules made to them.
pub(super) fn write_client(head: &RequestHead<'_>, rules: Rules<'_>, edits: &[FieldEdits], out: &mut Vec<u8>) {
    let mut edits = edits.iter().peekable();
    for (at, header) in passing(head, rules) {
        match edits.next_if(|field| field.at == at) {
            Some(field) => edited_line(header, &field.edits, out),
            None => line(header.name.as_bytes(), header.value, out),
        }
    }
    if rules.screen_response {
        out.extend_from_slice(b"accept-encoding: identity");
        for coding in rules.codings {
            out.extend_from_slice(b", ");
            out.extend_from_slice(coding.name().as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// A field whose value is changed. Edits that do not fit it leave nothing of it.
fn edited_line(header: &Header<'_>, edits: &[Edit], out: &mut Vec<u8>) {
    let mut value = Vec::with_capacity(header.value.len());
    if safety::splice(header.value, edits, &mut value).is_ok() {
        line(header.name.as_bytes(), &value, out);
    }
}

pub(super) fn line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes who the caller is: `x-user-uid`, `x-user-org`, `x-user-scope` if any scope is left, and `x-user-issuer`
/// where there are several issuers.
pub(super) fn write_identity(identity: &Identity, route: &Route, names_issuer: bool, out: &mut Vec<u8>) {
    encoded_line(b"x-user-uid: ", &identity.user.subject, out);
    encoded_line(b"x-user-org: ", &identity.tenant.tenant, out);
    if names_issuer {
        encoded_line(b"x-user-issuer: ", &identity.issuer.name, out);
    }
    let listed = |scope: &str| route.scopes.is_empty() || route.scopes.iter().any(|listed| listed == scope);
    let mut lead: &[u8] = b"x-user-scope: ";
    for scope in identity.scopes.iter().filter(|scope| listed(scope)) {
        out.extend_from_slice(lead);
        encode(scope, out);
        lead = b" ";
    }
    if lead == b" " {
        out.extend_from_slice(b"\r\n");
    }
}

fn encoded_line(name: &[u8], value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    encode(value, out);
    out.extend_from_slice(b"\r\n");
}

/// Writes a claim so that no value can end the field or be taken for another one: visible ASCII as it is, every other
/// byte, space and `%` percent-encoded. Two different claims never look the same.
fn encode(value: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let stands = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    if value.bytes().all(stands) {
        return out.extend_from_slice(value.as_bytes());
    }
    for byte in value.bytes() {
        if stands(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(names: &[&str], expected: NameClass) {
        for name in names {
            assert_eq!(classify(name), expected, "{name}");
        }
    }

    #[test]
    fn threat_a13_what_only_the_gateway_may_say_is_dropped_in_every_spelling() {
        let reserved =
            ["x-user-uid", "X-User-Org", "x.user.scope", "X!USER~uid", "x-user-", "x-acp-tenant", "x-request-id"];
        check(&reserved, NameClass::Drop);
        check(&["X-Forwarded-For", "x-forwarded-host", "Forwarded", "x-real-ip", "X.Real.IP"], NameClass::Drop);
        check(&["x-original-url", "x-rewrite-url", "X-HTTP-Method-Override", "proxy-authorization"], NameClass::Drop);
        check(&["x_user_uid", "x-user_uid", "plain_name", "_"], NameClass::Drop);
        check(&["x-user-a-name-longer-than-any-that-is-looked-at"], NameClass::Drop);
    }

    #[test]
    fn hop_by_hop_and_framing_are_dropped() {
        check(
            &["Connection", "keep-alive", "TE", "Trailer", "transfer-encoding", "Upgrade", "proxy-connection"],
            NameClass::Drop,
        );
        check(&["Host", "content-length", "Content.Length", "expect", "Range", "if-range"], NameClass::Drop);
    }

    #[test]
    fn what_the_request_is_about_passes() {
        check(
            &["content-type", "Accept", "user-agent", "x-users", "mcp-session-id", "Mcp-Param-X", "if-match"],
            NameClass::Pass,
        );
        check(&["x-request-identity", "x-a-header-of-more-than-twenty-four-bytes"], NameClass::Pass);
        check(&["Authorization"], NameClass::Authorization);
        check(&["cookie"], NameClass::Cookie);
    }

    #[test]
    fn identity_values_cannot_break_out_or_collide() {
        #[track_caller]
        fn check(value: &str, expected: &str) {
            let mut out = Vec::new();
            encode(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        check("auth0|8f3a2b1c9d4e5f6a", "auth0|8f3a2b1c9d4e5f6a");
        check("a\r\nx-user-org: evil", "a%0D%0Ax-user-org:%20evil");
        check(" a", "%20a");
        check("é", "%C3%A9");
        check("100%", "100%25");
        check("%0D", "%250D");
    }

    proptest! {
        #[test]
        fn encoding_is_visible_ascii_and_reversible(value: String) {
            let mut out = Vec::new();
            encode(&value, &mut out);
            prop_assert!(out.iter().all(u8::is_ascii_graphic));
            let text = String::from_utf8(out).unwrap();
            let mut bytes = Vec::new();
            let mut rest = text.as_bytes();
            while let Some((first, tail)) = rest.split_first() {
                if *first == b'%' {
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&tail[..2]).unwrap(), 16).unwrap());
                    rest = &tail[2..];
                } else {
                    bytes.push(*first);
                    rest = tail;
                }
            }
            prop_assert_eq!(bytes, value.into_bytes());
        }

        #[test]
        fn any_name_is_answered(name in "[ -~]{0,64}") {
            let _ = classify(&name);
        }
    }
}
