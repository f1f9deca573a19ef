//! `[[upstream]]` and its credentials.

use std::net::SocketAddr;
use std::sync::Arc;

use super::super::files::{Files, Holds};
use super::super::mistake::Collector;
use super::super::raw::{self, CredentialMode};
use super::super::resolved::{Cidr, Credentials, Secret, Upstream};
use super::super::url::Url;
use super::{check_name, is_loopback, is_never, is_private, secret_path, unique, within, within_time};
use crate::http::head::is_field_name;

/// Bytes of a credential: as long as the longest token that the gateway itself accepts.
const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;

pub(super) fn upstreams(file: &raw::File, files: &mut Files<'_>, found: &mut Collector) -> Vec<Arc<Upstream>> {
    let list = &file.upstream;
    found.expect(!list.is_empty(), &list.at, || {
        "has no entry, so nothing could be reached; add an [[upstream]]".to_owned()
    });
    unique(list.iter().map(|entry| (entry.name.as_str(), &entry.name.at)), "the upstream name", found);
    list.iter().map(|entry| Arc::new(upstream(entry, file, files, found))).collect()
}

fn upstream(raw: &raw::Upstream, file: &raw::File, files: &mut Files<'_>, found: &mut Collector) -> Upstream {
    check_name(&raw.name, &raw.name.at, found);
    within_time(&raw.connect_timeout, "10ms", "1m", found);
    within_time(&raw.read_timeout, "10ms", "1h", found);
    within_time(&raw.idle_timeout, "0s", "1h", found);
    check_allowed(raw, file, found);
    let url = url(raw, file, found);
    Upstream {
        name: raw.name.as_str().into(),
        port: url.port.unwrap_or(80),
        host: url.host,
        base_path: url.path,
        allow_private: raw.allow_private.iter().map(|cidr| cidr.value).collect(),
        allow_loopback: raw.allow_loopback.iter().map(|address| address.value).collect(),
        credentials: credentials(&raw.credentials, files, found),
        connect_timeout: *raw.connect_timeout,
        read_timeout: *raw.read_timeout,
        idle_connections_max: within(&raw.idle_connections_max, 0, 65_536, found) as usize,
        idle_timeout: *raw.idle_timeout,
    }
}

/// What may be opened at all (THREATS A20).
fn check_allowed(raw: &raw::Upstream, file: &raw::File, found: &mut Collector) {
    for cidr in raw.allow_private.iter() {
        if is_never(cidr) {
            found.add(&cidr.at, "holds link-local, metadata or multicast addresses, which are never opened");
        } else if is_loopback(cidr) {
            found.add(&cidr.at, "holds loopback addresses; list each with its port in allow_loopback");
        }
    }
    for address in raw.allow_loopback.iter() {
        found
            .expect(address.ip().is_loopback(), &address.at, || "is no loopback address; see allow_private".to_owned());
        found.expect(!is_own(**address, file), &address.at, || "is the gateway's own listener".to_owned());
    }
}

/// Whether the gateway itself answers there, as far as the file tells: which addresses the host has is looked at when
/// the configuration is compiled.
fn is_own(address: SocketAddr, file: &raw::File) -> bool {
    let here = address.ip().is_loopback() || address.ip().is_unspecified();
    [*file.listen.address, *file.admin.metrics]
        .iter()
        .any(|own| own.port() == address.port() && (own.ip() == address.ip() || (own.ip().is_unspecified() && here)))
}

/// The URL's parts; an address in it has to be one that routing would connect to.
fn url(raw: &raw::Upstream, file: &raw::File, found: &mut Collector) -> Url {
    let url = match Url::parse(&raw.url) {
        Ok(url) => url,
        Err(why) => {
            found.add(&raw.url.at, why);
            return Url { https: false, host: String::new(), port: None, path: String::new() };
        }
    };
    if url.https {
        found.add(
            &raw.url.at,
            "is https, and TLS to upstreams is not available yet; write http:// to a TLS proxy on this host or network",
        );
    }
    let Some(ip) = url.ip() else {
        found.expect(url.host != "localhost" || !raw.allow_loopback.is_empty(), &raw.url.at, || {
            "is loopback, which is opened by exact address and port only; list it in allow_loopback".to_owned()
        });
        return url;
    };
    let address = SocketAddr::new(ip, url.port.unwrap_or(80));
    if is_own(address, file) {
        found.add(&raw.url.at, "is the gateway's own listener");
    } else if is_never(&Cidr { address: ip, prefix: if ip.is_ipv4() { 32 } else { 128 } }) {
        found.add(&raw.url.at, "is a link-local, metadata or multicast address, which are never connected to");
    } else if ip.is_loopback() {
        found.expect(raw.allow_loopback.iter().any(|allowed| **allowed == address), &raw.url.at, || {
            format!(
                "is loopback, which is opened by exact address and port only; write allow_loopback = [\"{address}\"]"
            )
        });
    } else if is_private(ip) {
        found.expect(raw.allow_private.iter().any(|cidr| cidr.contains(ip)), &raw.url.at, || {
            format!("is a private address; write allow_private = [\"{ip}\"]")
        });
    }
    url
}

fn credentials(raw: &raw::Credentials, files: &mut Files<'_>, found: &mut Collector) -> Credentials {
    let service = *raw.mode == CredentialMode::Service;
    for (key, name) in
        [(&raw.header, "header"), (&raw.scheme, "scheme"), (&raw.file, "file"), (&raw.credential, "credential")]
    {
        found
            .expect(service || key.is_none(), &key.at, || format!("{name} has a meaning with mode = \"service\" only"));
    }
    match *raw.mode {
        CredentialMode::None => Credentials::None,
        CredentialMode::Forward => Credentials::Forward,
        CredentialMode::Service => service_credential(raw, files, found),
    }
}

fn service_credential(raw: &raw::Credentials, files: &mut Files<'_>, found: &mut Collector) -> Credentials {
    let header = raw.header.as_deref().unwrap_or("authorization").to_ascii_lowercase();
    let ours = header.starts_with("x-user-") || header.starts_with("x-acp-");
    let framing = matches!(header.as_str(), "host" | "content-length" | "transfer-encoding" | "connection" | "upgrade");
    found.expect(is_field_name(&header) && !ours && !framing, &raw.header.at, || {
        "is no header that can carry a credential".to_owned()
    });
    let file = secret_path(&raw.file, &raw.credential, files);
    let value = file.and_then(|file| {
        let secret = files.read(&file, Holds::Secret).map_err(|why| (&raw.file.at, why))?;
        Ok((secret_value(raw.scheme.as_deref(), &secret).map_err(|why| (&raw.file.at, why.to_owned()))?, file))
    });
    match value {
        Ok((value, file)) => Credentials::Service { header, value, file },
        Err((at, why)) => {
            found.add(at, why);
            Credentials::None
        }
    }
}

/// The header's value: the scheme, and the file's content without white space around it.
fn secret_value(scheme: Option<&str>, secret: &[u8]) -> Result<Secret, &'static str> {
    let secret = secret.trim_ascii();
    if secret.is_empty() {
        return Err("names an empty file");
    }
    if secret.len() > CREDENTIAL_BYTES_MAX || !secret.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
        return Err("names a file that holds no credential: one line of visible ASCII is expected");
    }
    let scheme = scheme.map(|scheme| [scheme.as_bytes(), b" "].concat()).unwrap_or_default();
    Ok(Secret::new([&scheme, secret].concat()))
}
