//! URLs as a configuration has them: absolute, without user, query or fragment.

use std::net::IpAddr;

/// The parts of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// `http` or `https`.
    pub(super) https: bool,
    /// A name, lower case, or an address without brackets.
    pub(super) host: String,
    /// As written.
    pub(super) port: Option<u16>,
    /// Starts with `/`, or empty; no trailing slash.
    pub(super) path: String,
}

impl Url {
    /// Reads `http[s]://host[:port][/path]`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(format!("{text:?} is no URL; write it as in \"http://crm.internal:8080/base\"")),
        };
        if rest.contains('@') {
            return Err("has a user or password in it; secrets do not belong in this file".to_owned());
        }
        if rest.contains(['?', '#']) {
            return Err("has a query or fragment, which would not be used; remove it".to_owned());
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = authority_parts(authority)
            .ok_or_else(|| format!("{authority:?} is no host; write a name or an address, and a port if need be"))?;
        let path = path.trim_end_matches('/');
        if !is_plain_path(path) {
            return Err(format!(
                "{path:?} is no plain path; write segments without dots alone, escapes or double slashes"
            ));
        }
        Ok(Self { https, host, port, path: path.to_owned() })
    }

    /// The host, if it is an address.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether the host is this machine, by address or by the one name that has to be (RFC 6761 §6.3).
    pub(super) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.ip().is_some_and(|ip| ip.to_canonical().is_loopback())
    }
}

fn authority_parts(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (literal, port) = rest.split_once(']')?;
            literal.parse::<std::net::Ipv6Addr>().ok()?;
            (literal, port)
        }
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok().filter(|&p| p > 0)?),
        _ => return None,
    };
    let literal = host.parse::<IpAddr>().is_ok();
    (literal || is_name(host)).then(|| (host.to_ascii_lowercase(), port))
}

/// A DNS name that is not a number in disguise: `127.1` and `0x7f000001` are addresses to some resolvers.
fn is_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= 253 && host.split('.').all(label) && !last.starts_with(|c: char| c.is_ascii_digit())
}

/// Empty, or segments of unreserved characters and sub-delims, none of them empty, `.` or `..`: a path that is its
/// own normal form.
pub(super) fn is_plain_path(path: &str) -> bool {
    path.is_empty() || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_plain_segment))
}

/// One segment of such a path.
pub(super) fn is_plain_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()+,;=:@".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_urls_apart() {
        let url = Url::parse("http://CRM.internal:8080/base/").unwrap();
        assert_eq!(
            (url.https, url.host.as_str(), url.port, url.path.as_str()),
            (false, "crm.internal", Some(8080), "/base")
        );
        let url = Url::parse("https://[::1]").unwrap();
        assert_eq!((url.https, url.host.as_str(), url.port, url.path.as_str()), (true, "::1", None, ""));
        assert!(url.is_loopback());
    }

    #[test]
    fn refuses_what_could_mean_something_else() {
        for bad in [
            "crm.internal",
            "ftp://h",
            "http://",
            "http://u:p@h",
            "http://h?q",
            "http://h#f",
            "http://h:0",
            "http://h:65536",
            "http://h:+1",
            "http://h:",
            "http://127.1",
            "http://0x7f000001",
            "http://1.2.3.4.5",
            "http://h/a/../b",
            "http://h//a",
            "http://h/%2e",
            "http://h /",
            "http://[::1",
            "http://[h]",
            "http://-..h",
            "http://caf\u{e9}",
        ] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
    }
}
