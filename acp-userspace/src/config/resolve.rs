//! From what the file says to what it means: every reference followed, every default filled in, every contradiction
//! found.
//!
//! Each function notes its mistakes and still answers with a value, so that the next one can look for its own; a
//! configuration with a single mistake is never used.

use std::collections::HashMap;
use std::net::IpAddr;

use super::files::Files;
use super::mistake::{At, Collector};
use super::raw;
use super::read::{Key, Size};
use super::resolved::{AdminConfig, AuditConfig, Cidr, Config};
use super::{Places, Trust};

mod custom;
mod identity;
mod kernel;
mod listen;
mod route;
mod safety;
mod tokens;
mod tool;
mod upstream;
mod usage;

/// Resolves the whole file.
pub(super) fn resolve(
    file: &raw::File,
    digest: [u8; 32],
    trust: Trust,
    files: &mut Files<'_>,
    found: &mut Collector,
) -> Config {
    let listen = listen::listen(&file.listen, found);
    let identity = identity::identity(&file.identity, trust, files, found);
    let upstreams = upstream::upstreams(file, files, found);
    let routes = route::routes(file, &listen, found);
    let safety = safety::safety(
        &file.safety,
        &safety::World { routes: &routes, upstreams: &upstreams, issuers: &identity.issuers },
        files,
        found,
    );
    let policy = usage::policy(&file.policy, files, found);
    let usage = usage::usage(&file.usage, &routes, files, found);
    let kernel = kernel::kernel(&file.kernel, file, &identity.issuers, files, found);
    Config {
        audit: audit(&file.audit, files, found),
        admin: admin(file, files, found),
        listen,
        identity,
        safety,
        policy,
        usage,
        upstreams,
        routes,
        kernel,
        digest,
        places: Places::default(),
    }
}

fn audit(audit: &raw::Audit, files: &Files<'_>, found: &mut Collector) -> AuditConfig {
    within_size(&audit.ring_bytes, 64 << 10, 1 << 30, found);
    within_size(&audit.segment_bytes, 1 << 20, 1 << 40, found);
    within_size(&audit.min_free_bytes, 1 << 20, 1 << 50, found);
    within_time(&audit.segment_age, "1m", "366d", found);
    within_time(&audit.head_interval, "1s", "1h", found);
    AuditConfig {
        dir: files.path(&audit.dir),
        durability: *audit.durability,
        ring_bytes: usize_of(*audit.ring_bytes),
        segment_bytes: audit.segment_bytes.0,
        segment_age: *audit.segment_age,
        min_free_bytes: audit.min_free_bytes.0,
        head_interval: *audit.head_interval,
    }
}

fn admin(file: &raw::File, files: &Files<'_>, found: &mut Collector) -> AdminConfig {
    let metrics = &file.admin.metrics;
    found.expect(metrics.ip().is_loopback(), &metrics.at, || {
        "has to be a loopback address: health and metrics answer without a token".to_owned()
    });
    let listen = *file.listen.address;
    let same_ip = metrics.ip() == listen.ip() || listen.ip().is_unspecified();
    let clash = metrics.port() == listen.port() && metrics.port() != 0 && same_ip;
    found.expect(!clash, &metrics.at, || "is also listen.address; choose another port".to_owned());
    AdminConfig { socket: files.path(&file.admin.socket), metrics: **metrics }
}

/// Where a secret is: in a file, or in a systemd credential.
///
/// # Errors
/// The key that is wrong, and why.
fn secret_path<'k>(
    file: &'k Key<Option<String>>,
    credential: &'k Key<Option<String>>,
    files: &Files<'_>,
) -> Result<std::path::PathBuf, (&'k At, String)> {
    match (file.as_deref(), credential.as_deref()) {
        (Some(file), None) => Ok(files.path(file)),
        (None, Some(name)) if name.contains('/') || name.starts_with('.') => {
            Err((&credential.at, "is no credential's name".to_owned()))
        }
        (None, Some(name)) => match std::env::var_os("CREDENTIALS_DIRECTORY") {
            Some(directory) => Ok(std::path::PathBuf::from(directory).join(name)),
            None => Err((
                &credential.at,
                "needs $CREDENTIALS_DIRECTORY; start under systemd with LoadCredential=, or use `file`".to_owned(),
            )),
        },
        _ => Err((&file.at, "or `credential`, one of the two, has to say where the secret is".to_owned())),
    }
}

/// Notes a number outside `min..=max`, and answers with one inside.
fn within(key: &Key<u64>, min: u64, max: u64, found: &mut Collector) -> u64 {
    found.expect((min..=max).contains(&key.value), &key.at, || format!("has to lie between {min} and {max}"));
    key.value.clamp(min, max)
}

/// The same for a size.
fn within_size(key: &Key<Size>, min: u64, max: u64, found: &mut Collector) {
    let shown = |bytes: u64| match bytes.trailing_zeros() {
        30.. => format!("{} GiB", bytes >> 30),
        20.. => format!("{} MiB", bytes >> 20),
        10.. => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    };
    found.expect((min..=max).contains(&key.value.0), &key.at, || {
        format!("has to lie between \"{}\" and \"{}\"", shown(min), shown(max))
    });
}

/// The same for a duration; the bounds are written as the file would have them.
fn within_time(key: &Key<std::time::Duration>, min: &str, max: &str, found: &mut Collector) {
    let bound = |text| super::units::duration(text).expect("the bounds are literals of this module's callers");
    found.expect((bound(min)..=bound(max)).contains(&key.value), &key.at, || {
        format!("has to lie between \"{min}\" and \"{max}\"")
    });
}

/// Sizes are bounded well below the address space of the platforms that are served.
fn usize_of(size: Size) -> usize {
    usize::try_from(size.0).unwrap_or(usize::MAX)
}

/// Notes every value that occurs before in the list.
fn unique<'k>(values: impl IntoIterator<Item = (&'k str, &'k At)>, what: &str, found: &mut Collector) {
    let mut first: HashMap<&str, &At> = HashMap::new();
    for (value, at) in values {
        match first.get(value) {
            Some(before) => found.add(at, format!("{what} {value:?} is used before, at {}", before.key)),
            None => drop(first.insert(value, at)),
        }
    }
}

/// A name that appears in records, metrics and ids: visible ASCII without quotes or backslash, not too long.
fn check_name(name: &str, at: &At, found: &mut Collector) {
    let plain =
        matches!(name.len(), 1..=128) && name.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
    found.expect(plain, at, || "has to be 1 to 128 visible ASCII characters without quotes or backslash".to_owned());
}

/// RFC 6749 §3.3 scope-token: what a token's scope claim can hold.
fn check_scope(scope: &str, at: &At, found: &mut Collector) {
    let plain = !scope.is_empty() && scope.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'));
    found.expect(plain, at, || "is no scope: one word of visible ASCII without quotes or backslash".to_owned());
}

/// Texts of a list.
fn texts(list: &[Key<String>]) -> Vec<String> {
    list.iter().map(|key| key.value.clone()).collect()
}

fn block(a: u8, b: u8, prefix: u8) -> Cidr {
    Cidr { address: IpAddr::from([a, b, 0, 0]), prefix }
}

fn block6(first: u16, prefix: u8) -> Cidr {
    Cidr { address: IpAddr::from([first, 0, 0, 0, 0, 0, 0, 0]), prefix }
}

/// Loopback of both families.
fn is_loopback(cidr: &Cidr) -> bool {
    overlaps(cidr, &block(127, 0, 8))
        || overlaps(cidr, &Cidr { address: IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), prefix: 128 })
}

/// Link-local and metadata, this-host, multicast and broadcast: what no configuration may open (THREATS A20).
fn is_never(cidr: &Cidr) -> bool {
    /// Metadata addresses outside link-local: AWS over IPv6 and Alibaba Cloud.
    const METADATA: [IpAddr; 2] = [
        IpAddr::V6(std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
        IpAddr::V4(std::net::Ipv4Addr::new(100, 100, 100, 200)),
    ];
    let never =
        [block(169, 254, 16), block(0, 0, 8), block(224, 0, 3), block6(0xfe80, 10), block6(0xff00, 8), block6(0, 128)];
    never.iter().any(|never| overlaps(cidr, never))
        // A whole private range may hold one of these; the address itself may not be named.
        || METADATA.contains(&cidr.address)
}

/// RFC 1918, RFC 6598 and RFC 4193. Other special blocks are routing's to refuse at the time of a connection.
fn is_private(ip: IpAddr) -> bool {
    let private = [block(10, 0, 8), block(172, 16, 12), block(192, 168, 16), block(100, 64, 10), block6(0xfc00, 7)];
    private.iter().any(|cidr| cidr.contains(ip))
}

/// Whether two blocks share an address: one holds the other.
fn overlaps(a: &Cidr, b: &Cidr) -> bool {
    if a.prefix <= b.prefix { a.contains(b.address) } else { b.contains(a.address) }
}
