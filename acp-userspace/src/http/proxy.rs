//! The PROXY protocol, version 2: a load balancer's word for the client's address, before the first byte of the client's
//! (haproxy.org, "The PROXY protocol", §2.2).
//!
//! Whether a connection begins with it is the operator's word, never a guess: a balancer that passes bytes through
//! unchanged would let any client write the header itself. Version 1 is text that has to be searched for its end, and
//! is not read.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// What every header begins with. No HTTP request does.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family, length.
const FIXED_BYTES: usize = 16;

/// Longest header that is read: addresses and a handful of extensions. Balancers send up to a few hundred bytes.
pub const HEADER_BYTES_MAX: usize = 4 * 1024;

/// Why the connection has to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyError {
    /// The bytes are no header of version 2.
    #[error("the connection does not begin with a PROXY header of version 2")]
    NotProxy,
    /// A command, family or length that the specification does not have.
    #[error("the PROXY header is malformed")]
    Malformed,
    /// Longer than [`HEADER_BYTES_MAX`].
    #[error("the PROXY header is larger than the bound")]
    TooLarge,
}

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proxied {
    /// The client, unless the balancer speaks for itself (a health check) or for something that has no address.
    pub client: Option<SocketAddr>,
    /// Bytes of the header; the client's own begin behind it.
    pub len: usize,
}

/// Reads the header at the start of `buf`; `None` while it is incomplete.
///
/// # Errors
/// [`ProxyError`], at the first byte that tells.
pub fn parse(buf: &[u8]) -> Result<Option<Proxied>, ProxyError> {
    let known = buf.len().min(SIGNATURE.len());
    if buf[..known] != SIGNATURE[..known] {
        return Err(ProxyError::NotProxy);
    }
    let Some((fixed, rest)) = buf.split_at_checked(FIXED_BYTES) else { return Ok(None) };
    let (command, family) = (fixed[12], fixed[13]);
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let len = FIXED_BYTES + length;
    if len > HEADER_BYTES_MAX {
        return Err(ProxyError::TooLarge);
    }
    let Some(told) = rest.get(..length) else { return Ok(None) };
    let client = match (command, family) {
        // LOCAL: whatever follows is to be skipped.
        (0x20, _) => None,
        (0x21, 0x11) => Some(v4(told)?),
        (0x21, 0x21) => Some(v6(told)?),
        // Unspecified, or a local socket: the client has no address we know.
        (0x21, 0x00 | 0x31) => None,
        _ => return Err(ProxyError::Malformed),
    };
    Ok(Some(Proxied { client, len }))
}

/// Source address, destination address, source port, destination port, in network order.
fn v4(told: &[u8]) -> Result<SocketAddr, ProxyError> {
    let &[a, b, c, d, _, _, _, _, high, low, _, _, ..] = told else { return Err(ProxyError::Malformed) };
    Ok(SocketAddr::new(IpAddr::from([a, b, c, d]), u16::from_be_bytes([high, low])))
}

fn v6(told: &[u8]) -> Result<SocketAddr, ProxyError> {
    let (Some(source), Some(&[high, low, _, _])) = (told.first_chunk::<16>(), told.get(32..36)) else {
        return Err(ProxyError::Malformed);
    };
    Ok(SocketAddr::new(Ipv6Addr::from(*source).to_canonical(), u16::from_be_bytes([high, low])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(command: u8, family: u8, told: &[u8]) -> Vec<u8> {
        let length = u16::try_from(told.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, told].concat()
    }

    #[track_caller]
    fn check(command: u8, family: u8, told: &[u8], expected: Result<Option<&str>, ProxyError>) {
        let header = header(command, family, told);
        let expected = expected
            .map(|client| Some(Proxied { client: client.map(|address| address.parse().unwrap()), len: header.len() }));
        assert_eq!(parse(&header), expected);
        if expected.is_ok() {
            let followed = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&followed), expected, "what follows is not its business");
            for cut in 0..header.len() {
                assert_eq!(parse(&header[..cut]), Ok(None), "cut at {cut}");
            }
        }
    }

    const V4: &[u8] = &[203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb];

    #[test]
    fn need_b05_a_balancers_header_names_the_client() {
        check(0x21, 0x11, V4, Ok(Some("203.0.113.9:4711")));
        check(0x21, 0x11, &[V4, &[4, 0, 1, 0]].concat(), Ok(Some("203.0.113.9:4711")));
        let source = "2001:db8::9".parse::<Ipv6Addr>().unwrap().octets();
        let v6 = [&source[..], &[0; 16], &[0x12, 0x67, 0x01, 0xbb]].concat();
        check(0x21, 0x21, &v6, Ok(Some("[2001:db8::9]:4711")));
        check(0x20, 0x11, V4, Ok(None));
        check(0x21, 0x00, &[], Ok(None));
    }

    #[test]
    fn anything_else_closes_the_connection() {
        check(0x21, 0x11, &V4[..11], Err(ProxyError::Malformed));
        check(0x21, 0x21, V4, Err(ProxyError::Malformed));
        check(0x21, 0x12, V4, Err(ProxyError::Malformed));
        check(0x22, 0x11, V4, Err(ProxyError::Malformed));
        check(0x11, 0x11, V4, Err(ProxyError::Malformed));
        check(0x20, 0x00, &[0; 5000], Err(ProxyError::TooLarge));
        assert_eq!(parse(b"GET / HTTP/1.1\r\n"), Err(ProxyError::NotProxy));
        assert_eq!(parse(b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n"), Err(ProxyError::NotProxy));
        assert_eq!(parse(b"\r\n\r\nG"), Err(ProxyError::NotProxy), "at the first byte that tells");
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered_within_the_bound(tail: Vec<u8>) {
            let bytes = [&SIGNATURE[..], &tail].concat();
            if let Ok(Some(read)) = parse(&bytes) {
                prop_assert!(read.len <= bytes.len().min(HEADER_BYTES_MAX));
            }
        }
    }
}
