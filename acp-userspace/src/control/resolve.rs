//! Resolves upstream names and keeps only addresses that their rules allow (THREATS A20).
//!
//! Workers connect to nothing but what is published here: the address that was checked is the address that is used, so
//! a name that changes between check and use (DNS rebinding) gains nothing.
//!
//! However many names there are and however slow their servers, one resolution ends within `Bounds`; it runs beside
//! the control loop, never in it.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::resolved::Upstream;
use crate::pipeline::{Addresses, Resolved, Snapshot};
use crate::routing::address::{AddressGuard, Allowed};

/// Between two resolutions of every upstream.
pub const REFRESH: Duration = Duration::from_secs(30);

/// Addresses kept per upstream.
const ADDRESSES_MAX: usize = 16;

/// How long a resolution may take, and how many names it asks for at once: each holds a thread until the resolver
/// library gives up.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    name: Duration,
    all: Duration,
    at_once: usize,
}

const BOUNDS: Bounds = Bounds { name: Duration::from_secs(5), all: Duration::from_secs(10), at_once: 8 };

/// Host and port.
type Name = (String, u16);

/// Resolves every upstream. A name that cannot be resolved now keeps the addresses that it has in `previous`, of this
/// configuration or the one before, as far as they are still allowed.
pub async fn resolve(upstreams: &[Arc<Upstream>], guard: &AddressGuard, previous: &Snapshot) -> Addresses {
    let before = previous.settings.config.upstreams.iter().zip(previous.addresses.upstreams());
    let known = before.map(|(upstream, resolved)| (name(upstream), resolved.addresses.clone())).collect();
    resolve_with(upstreams, guard, &known, BOUNDS, look_up).await
}

async fn resolve_with<F>(
    upstreams: &[Arc<Upstream>],
    guard: &AddressGuard,
    known: &HashMap<Name, Vec<SocketAddr>>,
    bounds: Bounds,
    look_up: impl Fn(Name) -> F,
) -> Addresses
where
    F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
{
    let names = upstreams.iter().filter(|upstream| literal(upstream).is_none()).map(|upstream| name(upstream));
    let mut answers = look_up_all(names.collect(), bounds, look_up).await;
    let resolved = upstreams.iter().map(|upstream| {
        if let Some(address) = literal(upstream) {
            return check(upstream, guard, &[address]);
        }
        let asked = name(upstream);
        let answer = answers.entry(asked.clone()).or_insert_with(|| Err(io::ErrorKind::TimedOut.into()));
        match answer {
            Ok(found) => check(upstream, guard, found),
            Err(error) => {
                tracing::warn!(upstream = &*upstream.name, %error, "name does not resolve");
                check(upstream, guard, known.get(&asked).map_or(&[], Vec::as_slice))
            }
        }
    });
    Addresses::new(resolved.collect())
}

/// The answers that came in time.
async fn look_up_all<F>(
    names: HashSet<Name>,
    bounds: Bounds,
    look_up: impl Fn(Name) -> F,
) -> HashMap<Name, io::Result<Vec<SocketAddr>>>
where
    F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
{
    let deadline = Instant::now() + bounds.all;
    let mut answers = HashMap::with_capacity(names.len());
    let mut names = names.into_iter();
    let mut asked = JoinSet::new();
    loop {
        while asked.len() < bounds.at_once
            && let Some(name) = names.next()
        {
            let answer = timeout(bounds.name, look_up(name.clone()));
            asked.spawn(async move { (name, answer.await.unwrap_or_else(|late| Err(late.into()))) });
        }
        match timeout_at(deadline, asked.join_next()).await {
            Ok(Some(Ok((name, answer)))) => drop(answers.insert(name, answer)),
            Ok(Some(Err(_))) => {}
            Ok(None) | Err(_) => return answers,
        }
    }
}

async fn look_up((host, port): Name) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.take(ADDRESSES_MAX).collect())
}

fn name(upstream: &Upstream) -> Name {
    (upstream.host.clone(), upstream.port)
}

/// The upstream's address, if it is configured by one.
fn literal(upstream: &Upstream) -> Option<SocketAddr> {
    let host = upstream.host.trim_start_matches('[').trim_end_matches(']');
    Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, upstream.port))
}

fn check(upstream: &Upstream, guard: &AddressGuard, found: &[SocketAddr]) -> Resolved {
    let mut resolved = Resolved::default();
    for address in found {
        match guard.check(Allowed::from(upstream), *address) {
            Ok(checked) => resolved.addresses.push(checked.get()),
            Err(why) => {
                tracing::warn!(upstream = &*upstream.name, %address, %why, "address refused");
                resolved.blocked = true;
            }
        }
    }
    resolved
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const SOON: Bounds = Bounds { name: Duration::from_secs(60), all: Duration::from_millis(20), at_once: 2 };

    /// Upstreams at these hosts, port 80.
    fn upstreams(hosts: &[&str]) -> Vec<Arc<Upstream>> {
        let mut text = "[listen]\naddress = \"127.0.0.1:0\"\npublic_url = \"http://h\"\n[[identity.issuer]]\n\
            issuer = \"https://i\"\naudience = [\"a\"]\n[[route]]\npath = \"/\"\nupstream = \"u0\"\n[[route.tool]]\n\
            name = \"t\"\nverb = \"read\"\nmatch = { method = \"GET\" }\n"
            .to_owned();
        for (at, host) in hosts.iter().enumerate() {
            text.push_str(&format!("[[upstream]]\nname = \"u{at}\"\nurl = \"http://{host}\"\n"));
        }
        config::parse(&text, std::path::Path::new("/")).unwrap_or_else(|mistakes| panic!("{mistakes}")).upstreams
    }

    fn at(address: &str) -> SocketAddr {
        SocketAddr::new(address.parse().unwrap(), 80)
    }

    fn shown(addresses: &Addresses) -> Vec<Vec<SocketAddr>> {
        addresses.upstreams().iter().map(|resolved| resolved.addresses.clone()).collect()
    }

    #[tokio::test]
    async fn names_that_never_answer_end_by_the_bound_and_keep_what_they_had() {
        let upstreams = upstreams(&["a.test", "b.test", "192.0.9.1", "c.test", "d.test"]);
        let before = [("b.test", at("192.0.9.2")), ("c.test", at("10.0.0.1"))];
        let known = before.map(|(host, address)| ((host.to_owned(), 80), vec![address])).into();
        let silent = |_| std::future::pending();
        let started = Instant::now();
        let found = resolve_with(&upstreams, &AddressGuard::default(), &known, SOON, silent).await;
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        // By name, not by position, and only what is allowed now: 10.0.0.1 is private.
        let expected = [vec![], vec![at("192.0.9.2")], vec![at("192.0.9.1")], vec![], vec![]];
        assert_eq!(shown(&found), expected);
        assert!(found.upstreams()[3].blocked);
    }

    #[tokio::test]
    async fn a_silent_name_does_not_keep_the_others_from_being_asked() {
        let upstreams = upstreams(&["silent.test", "a.test", "b.test", "a.test"]);
        let look_up = |(host, _): Name| async move {
            match host.as_str() {
                "silent.test" => std::future::pending().await,
                "a.test" => Ok(vec![at("192.0.9.1")]),
                _ => Ok(vec![at("192.0.9.2"), at("127.0.0.1")]),
            }
        };
        let found = resolve_with(&upstreams, &AddressGuard::default(), &HashMap::new(), SOON, look_up).await;
        let expected = [vec![], vec![at("192.0.9.1")], vec![at("192.0.9.2")], vec![at("192.0.9.1")]];
        assert_eq!(shown(&found), expected);
    }
}
