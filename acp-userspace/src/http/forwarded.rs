//! Who the client is behind proxies that the operator trusts: `X-Forwarded-For`, read from the right (THREATS B5).
//!
//! Every proxy appends the address it saw, so only the end of the list is the work of trusted hands; whatever stands
//! left of the first address that is no trusted proxy's may be invented. The field is never believed from anyone else,
//! and what it says reaches audit and policy only: the kernel knows sockets, and a proxy's socket is many clients'.

use std::net::{IpAddr, SocketAddr};

use crate::config::resolved::Cidr;

/// The client of a request that came from `peer`, by the values of its `X-Forwarded-For` fields in order.
///
/// The port is 0 where a proxy told the address. An element that is no address ends the walk: the last address that
/// was vouched for is the answer, because nobody vouches for what stands behind it.
#[must_use]
pub fn client<'v>(peer: SocketAddr, trusted: &[Cidr], values: impl DoubleEndedIterator<Item = &'v [u8]>) -> SocketAddr {
    let mut client = peer;
    let elements = values.rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
    for element in elements {
        if !is_trusted(trusted, client.ip()) {
            break;
        }
        match address(element.trim_ascii()) {
            Some(ip) => client = SocketAddr::new(ip, 0),
            None => break,
        }
    }
    client
}

/// Whether `ip` is a proxy whose word counts.
#[must_use]
pub fn is_trusted(trusted: &[Cidr], ip: IpAddr) -> bool {
    trusted.iter().any(|block| block.contains(ip))
}

/// An address as proxies write it: plain, with a port, or an IPv6 one in brackets.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let ip =
        bracketed.unwrap_or(text).parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip())).ok()?;
    Some(IpAddr::to_canonical(&ip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(text: &str) -> Cidr {
        let (address, prefix) = text.split_once('/').unwrap();
        Cidr { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    #[track_caller]
    fn check(peer: &str, values: &[&str], expected: &str) {
        let trusted = [block("10.0.0.0/8"), block("fd00::/8")];
        let found = client(peer.parse().unwrap(), &trusted, values.iter().map(|value| value.as_bytes()));
        assert_eq!(found, expected.parse().unwrap(), "{values:?}");
    }

    #[test]
    fn need_b05_the_address_is_the_last_that_no_trusted_proxy_has() {
        check("10.0.0.1:5000", &["203.0.113.9"], "203.0.113.9:0");
        check("10.0.0.1:5000", &["203.0.113.9, 10.2.2.2"], "203.0.113.9:0");
        check("10.0.0.1:5000", &["198.51.100.1, 203.0.113.9"], "203.0.113.9:0");
        check("10.0.0.1:5000", &["198.51.100.1", "203.0.113.9,10.3.3.3"], "203.0.113.9:0");
        check("10.0.0.1:5000", &["203.0.113.9:4711"], "203.0.113.9:0");
        check("10.0.0.1:5000", &["[2001:db8::9]:4711"], "[2001:db8::9]:0");
        check("[fd00::1]:5000", &["[2001:db8::9]"], "[2001:db8::9]:0");
        check("10.0.0.1:5000", &["::ffff:203.0.113.9"], "203.0.113.9:0");
        check("10.0.0.1:5000", &["10.1.1.1, 10.2.2.2"], "10.1.1.1:0");
    }

    #[test]
    fn need_b05_nobody_else_can_name_an_address() {
        check("203.0.113.7:5000", &["10.0.0.9"], "203.0.113.7:5000");
        check("10.0.0.1:5000", &[], "10.0.0.1:5000");
        for garbage in ["", "unknown", "203.0.113.9 x", "203.0.113.256", "[::1", "\u{e9}", "_hidden"] {
            check("10.0.0.1:5000", &[garbage], "10.0.0.1:5000");
            check("10.0.0.1:5000", &[&format!("203.0.113.9, {garbage}, 10.2.2.2")], "10.2.2.2:0");
        }
    }

    proptest! {
        #[test]
        fn what_a_client_writes_never_changes_what_the_proxy_appends(invented in "[ -~]{0,60}") {
            let trusted = [block("10.0.0.0/8")];
            let values = [invented.as_bytes(), b"203.0.113.9"];
            let found = client("10.0.0.1:1".parse().unwrap(), &trusted, values.into_iter());
            prop_assert_eq!(found, "203.0.113.9:0".parse().unwrap());
        }
    }
}
