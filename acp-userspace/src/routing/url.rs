//! URLs the gateway itself fetches (an identity provider's documents), read strictly and judged before they are used.
//!
//! Only what every parser reads alike is accepted: `http` or `https`, a host of letters, digits and hyphens or an
//! address in its canonical spelling, an optional port. No user information, no fragment, no backslash, no white
//! space, nothing beyond ASCII (nor its `xn--` form, which is not decoded here), no shortened, octal or hexadecimal
//! IPv4. Whatever follows a redirect or comes out of
//! a document passes here again. A *name* is only half judged: the addresses it resolves to go through
//! [`AddressGuard`] too; well-known names of this host and of metadata services are refused at once.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::address::{AddressBlocked, AddressGuard, Allowed, CheckedAddr};

/// Longest URL, in bytes.
pub const URL_BYTES_MAX: usize = 2_048;

/// Names that mean this host or a metadata service. Their addresses are blocked too: this only fails earlier.
const BLOCKED_NAMES: [&str; 9] = [
    "localhost",
    "ip6-localhost",
    "ip6-loopback",
    "metadata",
    "metadata.goog",
    "metadata.google.internal",
    "instance-data",
    "instance-data.ec2.internal",
    "rancher-metadata",
];

/// A host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'u> {
    /// A DNS name, as written.
    Name(&'u str),
    /// An address literal, already judged.
    Address(CheckedAddr),
}

/// A URL, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UrlParts<'u> {
    /// `https`.
    pub https: bool,
    /// The host to resolve or connect to.
    pub host: Host<'u>,
    /// The port, given or the scheme's.
    pub port: u16,
    /// Path and query; empty for none.
    pub path_and_query: &'u str,
}

/// Why a URL may not be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("the URL's scheme is not http or https")]
    Scheme,
    /// `http` where `https` is required.
    #[error("the URL has to be https")]
    Insecure,
    /// Too long, or a character that parsers read in several ways.
    #[error("the URL is too long or has a character that is not allowed")]
    Forbidden,
    /// `user@`.
    #[error("the URL has user information")]
    UserInformation,
    /// `#`.
    #[error("the URL has a fragment")]
    Fragment,
    /// No host, or one that is neither a name nor a canonical address.
    #[error("the URL's host is no name and no address in its usual form")]
    Host,
    /// Not 1 to 65535 in plain digits.
    #[error("the URL's port is not a port")]
    Port,
    /// A name of this host or of a metadata service.
    #[error("the URL names this host or a metadata service")]
    BlockedName,
    /// An address that may not be connected to.
    #[error("the URL's address may not be connected to")]
    Address(#[from] AddressBlocked),
}

/// Judges URLs for one party.
#[derive(Debug, Clone, Copy)]
pub struct UrlGuard<'a> {
    addresses: &'a AddressGuard,
    allowed: Allowed<'a>,
}

impl<'a> UrlGuard<'a> {
    /// A guard for what this party may reach.
    #[must_use]
    pub fn new(addresses: &'a AddressGuard, allowed: Allowed<'a>) -> Self {
        Self { addresses, allowed }
    }

    /// Takes a URL apart and judges what can be judged before names are resolved.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn check<'u>(&self, url: &'u str, https_required: bool) -> Result<UrlParts<'u>, UrlError> {
        let sound = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte);
        if url.len() > URL_BYTES_MAX || !url.bytes().all(sound) {
            return Err(UrlError::Forbidden);
        }
        let (scheme, rest) = url.split_once("://").ok_or(UrlError::Scheme)?;
        let https = scheme.eq_ignore_ascii_case("https");
        if !https && !scheme.eq_ignore_ascii_case("http") {
            return Err(UrlError::Scheme);
        }
        if https_required && !https {
            return Err(UrlError::Insecure);
        }
        if rest.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::UserInformation);
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            None => {
                if https {
                    443
                } else {
                    80
                }
            }
            Some(digits) => parse_port(digits)?,
        };
        Ok(UrlParts { https, host: self.host(host, port)?, port, path_and_query })
    }

    /// Judges an address that a URL's name resolved to.
    ///
    /// # Errors
    /// With the range it is in.
    pub fn check_address(&self, address: SocketAddr) -> Result<CheckedAddr, AddressBlocked> {
        self.addresses.check(self.allowed, address)
    }

    fn host<'u>(&self, host: &'u str, port: u16) -> Result<Host<'u>, UrlError> {
        if let Some(literal) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            let ip: Ipv6Addr = literal.parse().map_err(|_| UrlError::Host)?;
            return Ok(Host::Address(self.check_address(SocketAddr::new(IpAddr::V6(ip), port))?));
        }
        if !is_name(host) {
            return Err(UrlError::Host);
        }
        if ends_in_a_number(host) {
            let ip: Ipv4Addr = host.parse().map_err(|_| UrlError::Host)?;
            return Ok(Host::Address(self.check_address(SocketAddr::new(IpAddr::V4(ip), port))?));
        }
        let name = |blocked: &&str| host.eq_ignore_ascii_case(blocked);
        let under_localhost = host.len() > 10 && host[host.len() - 10..].eq_ignore_ascii_case(".localhost");
        if under_localhost || BLOCKED_NAMES.iter().any(name) {
            Err(UrlError::BlockedName)
        } else {
            Ok(Host::Name(host))
        }
    }
}

/// Host, and the port's digits if there are any.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    let end_of_literal = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[end_of_literal..].split_once(':') {
        None => Ok((authority, None)),
        Some((_, digits)) if digits.contains(':') => Err(UrlError::Host),
        Some((_, digits)) => Ok((&authority[..authority.len() - digits.len() - 1], Some(digits))),
    }
}

fn parse_port(digits: &str) -> Result<u16, UrlError> {
    let plain = !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| plain).ok_or(UrlError::Port)
}

/// RFC 952 and 1123: labels of letters, digits and inner hyphens; no dot at the end, no encoded Unicode.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && !label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"))
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.len() <= 253 && host.split('.').all(label)
}

/// What URL parsers take for IPv4 in one of its many spellings (WHATWG URL §3.5): a last label of digits, or `0x…`.
fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or(host);
    let hex = last.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    hex || last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod corpora;
#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(super) fn check(url: &str) -> Result<UrlParts<'_>, UrlError> {
        let addresses = Box::leak(Box::new(AddressGuard::default()));
        UrlGuard::new(addresses, Allowed { private: &[], loopback: &[] }).check(url, false)
    }

    #[test]
    fn a_plain_url_comes_apart() {
        let parts = check("https://idp.example:8443/.well-known/x?a=b").unwrap();
        assert_eq!((parts.https, parts.host, parts.port), (true, Host::Name("idp.example"), 8443));
        assert_eq!(parts.path_and_query, "/.well-known/x?a=b");
        assert_eq!(check("http://idp.example").unwrap().port, 80);
        assert!(matches!(check("https://8.8.8.8/").unwrap().host, Host::Address(_)));
        assert!(matches!(check("https://[2606:4700::1111]:444/").unwrap().host, Host::Address(_)));
    }

    #[test]
    fn anything_parsers_disagree_on_is_refused() {
        #[track_caller]
        fn refuse(url: &str, expected: UrlError) {
            assert_eq!(check(url), Err(expected), "{url}");
        }
        refuse("ftp://a.example/", UrlError::Scheme);
        refuse("https:a.example", UrlError::Scheme);
        refuse("//a.example", UrlError::Scheme);
        refuse("https://a.example@evil.example/", UrlError::UserInformation);
        refuse("https://a.example#@evil.example/", UrlError::Fragment);
        refuse("https://a.example\\@evil.example/", UrlError::Forbidden);
        refuse("https://a.exa\tmple/", UrlError::Forbidden);
        refuse("https://①②⑦.0.0.1/", UrlError::Forbidden);
        for host in [
            "127.1",
            "0177.0.0.1",
            "0x7f.1",
            "2130706433",
            "127.0.0.001",
            "1.2.3.4.5",
            "a.0x7f",
            "",
            ".",
            "a..b",
            "a.",
            "-a",
            "[::1",
            "[::1%25lo]",
            "a:b:80",
            "%31.1.1.1",
        ] {
            refuse(&format!("https://{host}/"), UrlError::Host);
        }
        for port in ["0", "080", "65536", "", "+80", "8a"] {
            refuse(&format!("https://a.example:{port}/"), UrlError::Port);
        }
        refuse("https://LOCALHOST/", UrlError::BlockedName);
        refuse("https://a.localhost/", UrlError::BlockedName);
        refuse("https://127.0.0.1/", UrlError::Address(AddressBlocked::Loopback));
        let addresses = AddressGuard::default();
        let guard = UrlGuard::new(&addresses, Allowed { private: &[], loopback: &[] });
        assert_eq!(guard.check("http://a.example/", true), Err(UrlError::Insecure));
    }

    proptest! {
        #[test]
        fn any_url_is_answered(url in "(https?://)?[a-z0-9.:@/\\[\\]%#\\\\ é-]{0,40}") {
            let _ = check(&url);
        }
    }
}
