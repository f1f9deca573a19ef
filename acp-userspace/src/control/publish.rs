//! Makes snapshots and puts them in force.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::egress::name_servers;
use super::{interfaces, jwks};
use crate::config::resolved::{Route, Tool, ToolMatch};
use crate::config::{Config, Subject};
use crate::identity::{Keys, Revocations};
use crate::kernel::egress::Egress;
use crate::pipeline::{Addresses, Quarantined, Settings, Snapshot};
use crate::policy::PolicySet;
use crate::routing::RouteTable;
use crate::routing::address::{AddressGuard, Allowed};
use crate::safety::RuleSet;
use crate::usage::Plan;

/// A configuration that parses but cannot be put to work: every mistake, one per line, with its place.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct SettingsMistakes(pub Vec<String>);

/// Compiles a configuration for every layer.
///
/// # Errors
/// Everything that is wrong, not just the first.
pub fn compile(config: Config, generation: u64) -> Result<Settings, SettingsMistakes> {
    let mut mistakes = never_connected(&config);
    let mut note = |subject: Option<Subject<'_>>, message: String| {
        mistakes.push(config.places.mistake(subject, message).to_string())
    };
    let routes = RouteTable::compile(&config.routes, &config.upstreams, config.identity.issuers.len())
        .map_err(|all| all.iter().for_each(|mistake| note(Some(mistake.subject()), mistake.to_string())))
        .ok();
    let rules =
        RuleSet::compile(&config.safety, &config.routes).map_err(|error| note(error.subject(), error.to_string())).ok();
    // A policy's mistake names the policy's own file and line.
    let policy = PolicySet::compile(&config.policy, &config.identity.issuers, &config.routes)
        .map_err(|all| mistakes.extend(all.0.iter().map(ToString::to_string)))
        .ok();
    let plan = Arc::new(Plan::compile(&config.usage));
    let protocol_tools = config.routes.iter().map(|route| protocol_tool(route)).collect();
    match (routes, rules, policy) {
        (Some(routes), Some(rules), Some(policy)) if mistakes.is_empty() => {
            Ok(Settings { generation, config, routes, rules, policy, plan, protocol_tools })
        }
        _ => Err(SettingsMistakes(mistakes)),
    }
}

/// Upstreams and issuers that are named by an address which the guard would refuse at every connection. A name can
/// only be judged once it resolves.
fn never_connected(config: &Config) -> Vec<String> {
    let guard = AddressGuard::new(vec![config.listen.address, config.admin.metrics], interfaces::addresses());
    let literal = |host: &str, port| host.parse().ok().map(|ip| SocketAddr::new(ip, port));
    let mut mistakes = Vec::new();
    let mut judge = |subject: Subject<'_>, allowed: Allowed<'_>, address: SocketAddr| {
        if let Err(why) = guard.check(allowed, address) {
            let message = format!("{address} is never connected to: it is {why}");
            mistakes.push(config.places.mistake(Some(subject), message).to_string());
        }
    };
    for upstream in &config.upstreams {
        if let Some(address) = literal(&upstream.host, upstream.port) {
            judge(Subject::Upstream(&upstream.name), Allowed::from(&**upstream), address);
        }
    }
    for issuer in config.identity.issuers.iter().filter(|_| !config.identity.dev_issuer) {
        if let Some(address) = jwks::address_of(issuer) {
            judge(Subject::Issuer(&issuer.name), Allowed::from(&**issuer), address);
        }
    }
    mistakes
}

/// What a route's protocol messages are admitted as: rate limits and the loop guard count them, no budget does.
fn protocol_tool(route: &Route) -> Tool {
    Tool {
        index: usize::MAX,
        name: format!("{}#protocol", route.name).into(),
        matcher: ToolMatch::Mcp { name: String::new() },
        verb: "list".into(),
        price_picousd: 0,
        labels: Vec::new(),
    }
}

/// The one writer of the current snapshot. Keys, addresses and settings change at different times; each change is a
/// new snapshot that keeps the rest.
#[derive(Debug)]
pub struct Publisher {
    current: Arc<ArcSwap<Snapshot>>,
    writing: Mutex<()>,
    /// Told of addresses before workers are.
    egress: Option<Arc<Egress>>,
}

impl Publisher {
    /// Begins with a first snapshot, without keys or addresses. Where the kernel guards the gateway's connections, it is
    /// told of every address first.
    #[must_use]
    pub fn new(settings: Settings, egress: Option<Arc<Egress>>) -> Self {
        let keys = Keys::for_config(&settings.config.identity, None);
        let snapshot = Snapshot {
            generation: 1,
            settings: Arc::new(settings),
            keys: Arc::new(keys),
            revoked: Arc::new(Revocations::default()),
            quarantined: Arc::default(),
            addresses: Arc::new(Addresses::default()),
        };
        let current = Arc::new(ArcSwap::from_pointee(snapshot));
        Self { current, writing: Mutex::new(()), egress }
    }

    /// Where workers read it.
    #[must_use]
    pub fn current(&self) -> &Arc<ArcSwap<Snapshot>> {
        &self.current
    }

    /// New keys, unless they were made for settings that are no longer in force.
    pub fn keys(&self, keys: Arc<Keys>) {
        self.change(|old| {
            let fits = keys.issuers().len() == old.settings.config.identity.issuers.len()
                && keys
                    .issuers()
                    .iter()
                    .zip(&old.settings.config.identity.issuers)
                    .all(|(keys, issuer)| Arc::ptr_eq(keys.issuer(), issuer));
            fits.then(|| Snapshot { keys: Arc::clone(&keys), ..next(old) })
        });
    }

    /// New addresses, for the settings of `generation`.
    pub fn addresses(&self, generation: u64, addresses: Addresses) {
        let addresses = Arc::new(addresses);
        self.change(|old| {
            (old.settings.generation == generation).then(|| Snapshot { addresses: Arc::clone(&addresses), ..next(old) })
        });
    }

    /// New settings, with the addresses resolved for them; keys of unchanged issuers stay.
    pub fn settings(&self, settings: Arc<Settings>, addresses: Addresses) {
        let addresses = Arc::new(addresses);
        self.change(|old| {
            let keys = Keys::for_config(&settings.config.identity, Some(&old.keys));
            Some(Snapshot {
                settings: Arc::clone(&settings),
                keys: Arc::new(keys),
                addresses: Arc::clone(&addresses),
                ..next(old)
            })
        });
    }

    /// Whom operators froze, from now on.
    pub fn quarantined(&self, quarantined: Quarantined) {
        let quarantined = Arc::new(quarantined);
        self.change(|old| Some(Snapshot { quarantined: Arc::clone(&quarantined), ..next(old) }));
    }

    /// The guard of the gateway's own connections, where the kernel has it.
    #[must_use]
    pub fn egress(&self) -> Option<&Arc<Egress>> {
        self.egress.as_ref()
    }

    /// Lists again what the kernel lets the gateway connect to: name servers may have changed, and what is over goes.
    pub fn renew_egress(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.list(&self.current.load().addresses);
    }

    fn list(&self, addresses: &Addresses) {
        if let Some(egress) = &self.egress {
            let upstreams = addresses.upstreams().iter().flat_map(|resolved| resolved.addresses.iter().copied());
            egress.hold(upstreams.chain(name_servers()));
        }
    }

    fn change(&self, make: impl Fn(&Snapshot) -> Option<Snapshot>) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.current.load_full();
        if let Some(new) = make(&old) {
            self.list(&new.addresses);
            self.current.store(Arc::new(new));
        }
    }
}

/// The same parts under the next number.
fn next(old: &Snapshot) -> Snapshot {
    Snapshot {
        generation: old.generation + 1,
        settings: Arc::clone(&old.settings),
        keys: Arc::clone(&old.keys),
        revoked: Arc::clone(&old.revoked),
        quarantined: Arc::clone(&old.quarantined),
        addresses: Arc::clone(&old.addresses),
    }
}
