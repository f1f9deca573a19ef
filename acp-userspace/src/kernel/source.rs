//! Which sources may be refused at all: those the configuration declares to be one tenant's.
//!
//! Refusing an address refuses everyone behind it, so the operator's word is needed that it is one tenant's alone.
//! Never refused, whatever was declared: trusted proxies, whose address is not the client's; `kernel.exempt`, such as
//! health checkers; loopback, unless `kernel.loopback`; and IPv6 blocks narrower than the /64 that refusing works on.

use std::fmt;
use std::net::IpAddr;

use acp_ebpf::addr::{self, Address};
use hashbrown::HashMap;

use crate::config::resolved::{Cidr, KernelConfig};
use crate::ids::TenantId;

/// The narrowest IPv6 block that can be refused without its neighbours ([`addr::SourceKey`]).
const IPV6_PREFIX_MAX: u8 = 64;

/// The declared sources of one configuration. Looking one up costs a hash per distinct prefix length declared; it is
/// done once per connection.
#[derive(Debug, Default)]
pub struct Sources {
    /// By prefix length in 128 bits, longest first.
    blocks: Vec<(u8, HashMap<Address, TenantId>)>,
    /// Trusted proxies and `kernel.exempt`.
    exempt: Vec<Cidr>,
    loopback: bool,
    inert: Vec<Inert>,
}

/// A declared source that can never be refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inert {
    /// The block.
    pub cidr: Cidr,
    /// Why not.
    pub why: &'static str,
}

impl fmt::Display for Inert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernel.source {}/{} is never refused: {}", self.cidr.address, self.cidr.prefix, self.why)
    }
}

impl Sources {
    /// The sources of a configuration; of two that declare one block the last counts.
    #[must_use]
    pub fn new(kernel: &KernelConfig, trusted_proxies: &[Cidr]) -> Self {
        let mut by_prefix: HashMap<u8, HashMap<Address, TenantId>> = HashMap::new();
        let mut inert = Vec::new();
        for source in &kernel.sources {
            if let Some(why) = inert_block(source.cidr, kernel, trusted_proxies) {
                inert.push(Inert { cidr: source.cidr, why });
                continue;
            }
            let tenant = TenantId { issuer: source.issuer.clone(), tenant: source.tenant.clone() };
            let prefix = prefix_128(source.cidr);
            by_prefix.entry(prefix).or_default().insert(masked(addr::address(source.cidr.address), prefix), tenant);
        }
        let mut blocks: Vec<_> = by_prefix.into_iter().collect();
        blocks.sort_unstable_by_key(|(prefix, _)| std::cmp::Reverse(*prefix));
        let exempt = trusted_proxies.iter().chain(&kernel.exempt).copied().collect();
        Self { blocks, exempt, loopback: kernel.loopback, inert }
    }

    /// The tenant whose own the socket peer `ip` is, by the narrowest block around it; `None` for one that may not be
    /// refused. It must be the socket's peer: an address that a proxy reports is nobody the kernel ever sees.
    #[must_use]
    pub fn owner(&self, ip: IpAddr) -> Option<&TenantId> {
        if self.blocks.is_empty() || self.is_exempt(ip) {
            return None;
        }
        let address = addr::address(ip);
        self.blocks.iter().find_map(|(prefix, tenants)| tenants.get(&masked(address, *prefix)))
    }

    /// Declared sources that can never be refused, to be said at start.
    #[must_use]
    pub fn inert(&self) -> &[Inert] {
        &self.inert
    }

    /// Whether the socket peer `ip` is never refused, nor learned of: a trusted proxy, an exempt block, or loopback.
    #[must_use]
    pub fn is_exempt(&self, ip: IpAddr) -> bool {
        let loopback = ip.to_canonical().is_loopback();
        (loopback && !self.loopback) || self.exempt.iter().any(|block| block.contains(ip))
    }
}

/// Why a whole block is never refused, if that can be told from it.
fn inert_block(cidr: Cidr, kernel: &KernelConfig, trusted_proxies: &[Cidr]) -> Option<&'static str> {
    if cidr.address.is_ipv6() && cidr.prefix > IPV6_PREFIX_MAX {
        return Some("IPv6 is refused by /64, which would take its neighbours along");
    }
    if cidr.address.is_loopback() && !kernel.loopback {
        return Some("loopback, without kernel.loopback");
    }
    let within = |block: &Cidr| block.prefix <= cidr.prefix && block.contains(cidr.address);
    if kernel.exempt.iter().any(within) {
        return Some("it lies in kernel.exempt");
    }
    trusted_proxies.iter().any(within).then_some("it lies in listen.trusted_proxies")
}

/// The prefix length as one of 128 bits.
fn prefix_128(cidr: Cidr) -> u8 {
    if cidr.address.is_ipv4() { 96 + cidr.prefix } else { cidr.prefix }
}

/// The first `prefix` bits.
fn masked(address: Address, prefix: u8) -> Address {
    let host_bits = 128 - u32::from(prefix.min(128));
    let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
    (u128::from_be_bytes(address) & mask).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::resolved::DeclaredSource;

    fn cidr(text: &str) -> Cidr {
        let (address, prefix) = text.split_once('/').expect("a block");
        Cidr { address: address.parse().expect("an address"), prefix: prefix.parse().expect("a prefix") }
    }

    fn config(blocks: &[(Cidr, &str)], loopback: bool) -> KernelConfig {
        let declared = |(cidr, tenant): &(Cidr, &str)| DeclaredSource {
            cidr: *cidr,
            tenant: (*tenant).into(),
            issuer: "test".into(),
        };
        KernelConfig { sources: blocks.iter().map(declared).collect(), loopback, ..KernelConfig::default() }
    }

    #[track_caller]
    fn check(sources: &Sources, ip: &str, expected: Option<&str>) {
        let owner = sources.owner(ip.parse().expect("an address"));
        assert_eq!(owner.map(|tenant| &*tenant.tenant), expected, "{ip}");
    }

    #[test]
    fn the_narrowest_block_around_a_peer_names_its_tenant() {
        let blocks =
            [(cidr("198.51.100.0/24"), "wide"), (cidr("198.51.100.16/28"), "narrow"), (cidr("2001:db8::/48"), "six")];
        let sources = Sources::new(&config(&blocks, false), &[]);
        check(&sources, "198.51.100.1", Some("wide"));
        check(&sources, "198.51.100.17", Some("narrow"));
        check(&sources, "::ffff:198.51.100.17", Some("narrow"));
        check(&sources, "198.51.101.1", None);
        check(&sources, "2001:db8:0:9::1", Some("six"));
        check(&sources, "2001:db8:1::1", None);
    }

    #[test]
    fn trusted_proxies_are_never_refused_even_inside_a_declared_block() {
        let sources = Sources::new(&config(&[(cidr("10.0.0.0/8"), "acme")], false), &[cidr("10.1.0.0/16")]);
        check(&sources, "10.1.2.3", None);
        check(&sources, "::ffff:10.1.2.3", None);
        check(&sources, "10.2.2.3", Some("acme"));
        let sources = Sources::new(&config(&[(cidr("10.1.7.0/24"), "acme")], false), &[cidr("10.1.0.0/16")]);
        assert!(sources.inert()[0].to_string().contains("trusted_proxies"));
    }

    #[test]
    fn loopback_is_refused_only_if_the_configuration_says_so() {
        let blocks = [(cidr("127.0.0.2/32"), "acme"), (cidr("0.0.0.0/0"), "all")];
        let sources = Sources::new(&config(&blocks, false), &[]);
        check(&sources, "127.0.0.2", None);
        check(&sources, "::ffff:127.0.0.2", None);
        check(&sources, "192.0.2.1", Some("all"));
        check(&sources, "::ffff:192.0.2.1", Some("all"));
        assert!(sources.inert()[0].to_string().contains("127.0.0.2/32"));
        let sources = Sources::new(&config(&blocks, true), &[]);
        check(&sources, "127.0.0.2", Some("acme"));
        assert_eq!(sources.inert(), []);
    }

    #[test]
    fn health_checkers_are_never_refused_even_inside_a_declared_block() {
        let exempt = vec![cidr("10.9.0.0/30")];
        let config =
            KernelConfig { exempt, ..config(&[(cidr("10.0.0.0/8"), "acme"), (cidr("10.9.0.1/32"), "a")], false) };
        let sources = Sources::new(&config, &[]);
        check(&sources, "10.9.0.1", None);
        check(&sources, "10.9.0.4", Some("acme"));
        assert!(sources.is_exempt("10.9.0.3".parse().expect("an address")));
        assert!(sources.inert()[0].to_string().contains("kernel.exempt"));
    }

    #[test]
    fn an_ipv6_block_narrower_than_a_64_is_inert() {
        let sources = Sources::new(&config(&[(cidr("2001:db8::7/128"), "acme")], false), &[]);
        check(&sources, "2001:db8::7", None);
        assert!(sources.inert()[0].to_string().contains("/64"));
    }

    proptest! {
        #[test]
        fn agrees_with_asking_every_block(
            blocks in prop::collection::vec((any::<u32>(), 0..=32_u8, 0..4_usize), 0..20), ip: u32
        ) {
            let tenants = ["a", "b", "c", "d"];
            let mask = |prefix: u8| u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            // Near `ip`, so that some contain it.
            let blocks: Vec<_> = blocks.iter().map(|&(noise, prefix, tenant)| {
                let address = IpAddr::from(((ip ^ (noise & 0xff)) & mask(prefix)).to_be_bytes());
                (Cidr { address, prefix }, tenants[tenant])
            }).filter(|(cidr, _)| !cidr.address.is_loopback()).collect();
            let ip = IpAddr::from(ip.to_be_bytes());
            prop_assume!(!ip.is_loopback());
            let sources = Sources::new(&config(&blocks, false), &[]);
            let around = blocks.iter().filter(|(cidr, _)| cidr.contains(ip));
            let expected = around.max_by_key(|(cidr, _)| cidr.prefix).map(|(_, tenant)| *tenant);
            prop_assert_eq!(sources.owner(ip).map(|tenant| tenant.tenant.to_string()), expected.map(str::to_owned));
        }
    }
}
