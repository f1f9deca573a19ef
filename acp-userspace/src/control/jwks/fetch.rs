//! Getting one issuer's key document: from discovery, a URL or a file, within bounds, from checked addresses only.
//!
//! Every URL an issuer leads to, discovery's `jwks_uri` included, is resolved here, each address is put to the guard, and
//! the connection can only go to an address that passed: the client is built for this one host with those addresses, so
//! a second DNS answer changes nothing (THREATS A20, A21). HTTPS only, except to loopback, where `acp dev` and tests
//! serve; no user name in URLs; no proxy from the environment; redirects only within the same origin, because the pinned
//! addresses stand for nothing else. Size and time are bounded.

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Url, redirect};
use serde::Deserialize;

use crate::config::resolved::{Issuer, JwksSource};
use crate::identity::jwks::{JWKS_BYTES_MAX, JwksError, KeySet};
use crate::text::CallerText;

/// Says whether an issuer's host may be reached at this address and port; the text says why not.
pub type AddressGuard = Arc<dyn Fn(&Issuer, IpAddr, u16) -> Result<(), String> + Send + Sync>;

/// Redirects followed within one origin.
const REDIRECTS_MAX: usize = 3;

/// Why an issuer's keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not an `https` URL with a host and without a user name, or `http` to an address that is not loopback.
    #[error("the URL {} is not one that keys are fetched from", CallerText::new(.0))]
    Url(String),
    /// The host's name does not resolve.
    #[error("the host of {url} does not resolve")]
    Resolve {
        /// What was asked for.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// Every address of the host is one that must not be reached.
    #[error("{url} is at an address that is not allowed: {why}")]
    Address {
        /// What was asked for.
        url: String,
        /// The guard's words.
        why: String,
    },
    /// No connection, no TLS, no answer in time, or a redirect elsewhere.
    #[error("the request failed")]
    Http(#[from] reqwest::Error),
    /// Another status than 200.
    #[error("the issuer answered {0}")]
    Status(u16),
    /// Longer than [`JWKS_BYTES_MAX`].
    #[error("the document is longer than {JWKS_BYTES_MAX} bytes")]
    TooLong,
    /// The discovery document is not JSON with `issuer` and `jwks_uri`.
    #[error("the discovery document is malformed")]
    Discovery(#[from] serde_json::Error),
    /// The discovery document is for another issuer (OpenID Connect Discovery §4.3).
    #[error("the discovery document is for another issuer")]
    IssuerMismatch,
    /// The key file cannot be read.
    #[error("the key file cannot be read")]
    File(#[from] io::Error),
    /// The key file can be written by others.
    #[error("the key file can be written by others")]
    FileWritable,
    /// The whole took too long.
    #[error("the fetch took too long")]
    TimedOut,
    /// The key document is refused.
    #[error(transparent)]
    Jwks(#[from] JwksError),
}

/// What discovery is asked for; everything else in the document is ignored.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Fetches `issuer`'s keys within `timeout`.
pub(super) async fn keys(issuer: &Issuer, guard: &AddressGuard, timeout: Duration) -> Result<KeySet, FetchError> {
    let fetch = async {
        let document = match &issuer.jwks {
            JwksSource::File(path) => read_file(path.clone()).await?,
            JwksSource::Url(url) => get(issuer, guard, url, timeout).await?,
            JwksSource::Discovery => {
                let discovery = get(issuer, guard, &discovery_url(&issuer.issuer), timeout).await?;
                get(issuer, guard, &jwks_uri(&discovery, &issuer.issuer)?, timeout).await?
            }
        };
        Ok(KeySet::parse(&document)?)
    };
    tokio::time::timeout(timeout, fetch).await.map_err(|_| FetchError::TimedOut)?
}

/// Where an issuer's keys are first asked for, if that is an address and no name.
#[must_use]
pub fn address_of(issuer: &Issuer) -> Option<SocketAddr> {
    let url = match &issuer.jwks {
        JwksSource::File(_) => return None,
        JwksSource::Url(url) => parse(url),
        JwksSource::Discovery => parse(&discovery_url(&issuer.issuer)),
    };
    let url = url.ok()?;
    let ip = url.host_str()?.trim_matches(['[', ']']).parse().ok()?;
    Some(SocketAddr::new(ip, url.port_or_known_default()?))
}

/// Whether keys could be taken from this file now.
///
/// # Errors
/// What a fetch would fail with.
pub fn check_file(path: &Path) -> Result<(), FetchError> {
    KeySet::parse(&read_file_blocking(path)?)?;
    Ok(())
}

/// OpenID Connect Discovery §4.1: the path is appended after any terminating slash is removed.
fn discovery_url(issuer: &str) -> String {
    format!("{}/.well-known/openid-configuration", issuer.strip_suffix('/').unwrap_or(issuer))
}

fn jwks_uri(document: &[u8], issuer: &str) -> Result<String, FetchError> {
    let discovery: Discovery = serde_json::from_slice(document)?;
    if discovery.issuer == issuer { Ok(discovery.jwks_uri) } else { Err(FetchError::IssuerMismatch) }
}

async fn get(issuer: &Issuer, guard: &AddressGuard, url: &str, timeout: Duration) -> Result<Vec<u8>, FetchError> {
    let url = parse(url)?;
    let addresses = allowed_addresses(issuer, guard, &url).await?;
    let mut client = Client::builder();
    if url.scheme() == "http" {
        // The builder loads the system's CA certificates even for plain HTTP, and fails on a host that has none.
        client = client.tls_certs_only([]);
    }
    let client = client
        .no_proxy()
        .redirect(redirect::Policy::custom(same_origin))
        .resolve_to_addrs(url.host_str().unwrap_or_default(), &addresses)
        .pool_max_idle_per_host(0)
        .timeout(timeout)
        .user_agent(concat!("acp/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let mut response = client.get(url).header("accept", "application/json").send().await?;
    if response.status() != 200 {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > JWKS_BYTES_MAX {
            return Err(FetchError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn parse(text: &str) -> Result<Url, FetchError> {
    let refused = || FetchError::Url(text.to_owned());
    let url = Url::parse(text).map_err(|_| refused())?;
    let plain = url.username().is_empty() && url.password().is_none() && url.has_host();
    if plain && matches!(url.scheme(), "https" | "http") { Ok(url) } else { Err(refused()) }
}

/// The host's addresses that may be connected to; at least one.
async fn allowed_addresses(issuer: &Issuer, guard: &AddressGuard, url: &Url) -> Result<Vec<SocketAddr>, FetchError> {
    let failed = |source| FetchError::Resolve { url: url.to_string(), source };
    let asked = url.clone();
    let resolved = tokio::task::spawn_blocking(move || asked.socket_addrs(|| None)).await;
    let resolved = resolved.map_err(io::Error::other).and_then(|found| found).map_err(failed)?;
    if url.scheme() == "http" && !resolved.iter().all(|address| address.ip().to_canonical().is_loopback()) {
        return Err(FetchError::Url(url.to_string()));
    }
    let mut refusal = "no address".to_owned();
    let allowed: Vec<_> = resolved
        .into_iter()
        .filter(|address| match guard(issuer, address.ip(), address.port()) {
            Ok(()) => true,
            Err(why) => {
                refusal = why;
                false
            }
        })
        .collect();
    if allowed.is_empty() { Err(FetchError::Address { url: url.to_string(), why: refusal }) } else { Ok(allowed) }
}

fn same_origin(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let here = attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
    if here && attempt.previous().len() <= REDIRECTS_MAX {
        attempt.follow()
    } else {
        attempt.error("redirected elsewhere, or too often")
    }
}

async fn read_file(path: PathBuf) -> Result<Vec<u8>, FetchError> {
    let read = tokio::task::spawn_blocking(move || read_file_blocking(&path)).await;
    read.map_err(|panicked| FetchError::File(io::Error::other(panicked)))?
}

fn read_file_blocking(path: &Path) -> Result<Vec<u8>, FetchError> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.mode() & 0o002 != 0 {
        return Err(FetchError::FileWritable);
    }
    let mut document = Vec::new();
    file.take(JWKS_BYTES_MAX as u64 + 1).read_to_end(&mut document)?;
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn discovery_is_below_the_issuer_with_or_without_a_slash() {
        let expected = "https://a.test/tenant/.well-known/openid-configuration";
        assert_eq!(discovery_url("https://a.test/tenant/"), expected);
        assert_eq!(discovery_url("https://a.test/tenant"), expected);
    }

    #[test]
    fn only_plain_https_and_http_urls_are_considered() {
        for good in ["https://a.test/keys", "http://127.0.0.1:1/keys", "https://[::1]/x?y=1"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "keys", "file:///etc/passwd", "ftp://a/", "https://u@a/", "https://u:p@a/", "data:,x"] {
            assert!(matches!(parse(bad), Err(FetchError::Url(_))), "{bad}");
        }
    }
}
