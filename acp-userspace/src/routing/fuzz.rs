//! What has to hold of paths and URLs whatever the bytes: the body of a fuzz target, run by `crate::fuzzing`.

use super::address::{AddressGuard, Allowed};
use super::{Host, NormalPath, UrlGuard};

/// A path and a URL of the same bytes.
pub fn path(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    normal_path(text);
    url(text);
}

/// A path that normalises does so once, names no way up or around, and decodes to the same bytes as what was sent.
fn normal_path(raw: &str) {
    let Ok(path) = NormalPath::parse(raw) else { return };
    let text = path.as_str();
    assert_eq!(NormalPath::parse(text).as_ref().map(NormalPath::as_str), Ok(text), "a fixed point");
    assert!(text.starts_with('/') && text.len() <= raw.len() && text.is_ascii());
    assert!(text == "/" || text[1..].split('/').all(|segment| !matches!(segment, "" | "." | "..")));
    assert_eq!(decoded(text), decoded(raw.strip_suffix('/').filter(|raw| !raw.is_empty()).unwrap_or(raw)));
    let meaning = String::from_utf8(decoded(text)).expect("decodes to UTF-8");
    assert!(!meaning.contains(['\\', ';']) && !meaning.chars().any(char::is_control));
    // Decoding it a second time, as careless servers do, changes no segment.
    let twice = decoded(&meaning);
    assert_eq!(twice.iter().filter(|byte| **byte == b'/').count(), text.matches('/').count());
    assert_eq!(twice, meaning.as_bytes(), "a second layer");
}

/// Percent-decoding as everybody does it: triplets become bytes, the rest stays.
fn decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let triplet = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let triplet = triplet.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match triplet.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

/// A URL that may be fetched has the same host and port for another parser, and is no address of ours.
fn url(text: &str) {
    let addresses = AddressGuard::default();
    let guard = UrlGuard::new(&addresses, Allowed { private: &[], loopback: &[] });
    let Ok(parts) = guard.check(text, false) else { return };
    let theirs: hyper::Uri = text.parse().expect("what is taken is a URL");
    assert_eq!(
        theirs.scheme_str().map(str::to_ascii_lowercase).as_deref(),
        Some(if parts.https { "https" } else { "http" })
    );
    assert_eq!(theirs.port_u16().unwrap_or(if parts.https { 443 } else { 80 }), parts.port);
    let host = theirs.host().expect("it has a host");
    match parts.host {
        Host::Name(name) => assert_eq!(name, host),
        Host::Address(address) => {
            let ip = address.get().ip();
            assert!(!ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast());
            let literal = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
            assert_eq!(literal.parse(), Ok(ip));
        }
    }
}
