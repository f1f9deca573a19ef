//! The floods: from what kind of source, over which network, and what the kernel plane should make of it.

use std::net::Ipv4Addr;

use super::super::acp::Setting;
use super::wire;

/// Requests per second of whom the broken limit counts: far below the offender's pace, above what anybody of the
/// victim's sends.
const LIMIT: u64 = 200;
/// Of the limit that is not to be broken.
const NO_LIMIT: u64 = 1_000_000;

/// Who floods. The order is that of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(in crate::bench) enum Flood {
    /// A declared source, over its tenant's limit, on loopback.
    Declared,
    /// The same without the kernel plane.
    DeclaredOff,
    /// A declared source, over one user's limit: a second in ten is open to everybody behind it.
    DeclaredUser,
    /// A source that was learned to be one user's.
    Learned,
    /// The victim's own address.
    Shared,
    /// A declared source that kept at it: not answered.
    Silent,
    /// A declared source on another host, wired by veth.
    Wire,
    /// The same without the kernel plane.
    WireOff,
    /// The same host, not answered: native XDP.
    WireSilent,
}

impl Flood {
    /// All, in order.
    pub(super) const ALL: [Self; 9] = [
        Self::Declared,
        Self::DeclaredOff,
        Self::DeclaredUser,
        Self::Learned,
        Self::Shared,
        Self::Silent,
        Self::Wire,
        Self::WireOff,
        Self::WireSilent,
    ];

    /// Its name in tables and in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::DeclaredOff => "declared-off",
            Self::DeclaredUser => "declared-user",
            Self::Learned => "learned",
            Self::Shared => "shared",
            Self::Silent => "silent",
            Self::Wire => "wire",
            Self::WireOff => "wire-off",
            Self::WireSilent => "wire-silent",
        }
    }

    /// `kernel.mode`.
    pub(super) fn kernel(self) -> &'static str {
        if matches!(self, Self::DeclaredOff | Self::WireOff) { "off" } else { "required" }
    }

    /// Whether it comes from another host.
    pub(super) fn is_wired(self) -> bool {
        matches!(self, Self::Wire | Self::WireOff | Self::WireSilent)
    }

    /// Whether its attempts are to be left without an answer.
    pub(super) fn is_silent(self) -> bool {
        matches!(self, Self::Silent | Self::WireSilent)
    }

    /// Whether the broken limit is a user's, so that its source is open to all for a second in ten.
    pub(super) fn opens_to_all(self) -> bool {
        matches!(self, Self::DeclaredUser | Self::Learned)
    }

    /// Where the gateway is.
    pub(super) fn gateway(self) -> Ipv4Addr {
        if self.is_wired() { wire::GATEWAY } else { Ipv4Addr::LOCALHOST }
    }

    /// Where the offender comes from.
    pub(super) fn offender(self) -> Ipv4Addr {
        if self.is_wired() { wire::OFFENDER } else { Ipv4Addr::new(127, 0, 0, 2) }
    }

    /// Where the victim comes from.
    pub(super) fn victim(self) -> Ipv4Addr {
        match self {
            Self::Shared => self.offender(),
            _ if self.is_wired() => wire::VICTIM,
            _ => Ipv4Addr::new(127, 0, 0, 3),
        }
    }

    /// The gateway's configuration; `tenant` is the offender's.
    pub(super) fn setting(self, tenant: &str) -> Setting {
        let user = matches!(self, Self::DeclaredUser | Self::Learned | Self::Shared);
        let (user_limit, tenant_limit) = if user { (LIMIT, NO_LIMIT) } else { (NO_LIMIT, LIMIT) };
        Setting {
            user_requests_per_second: user_limit,
            tenant_requests_per_second: tenant_limit,
            kernel: self.kernel(),
            kernel_keys: self.kernel_keys(tenant),
            address: self.gateway(),
            ..Setting::all_layers()
        }
    }

    /// A refusal lasts from the head start to the end of the round, so that whole cycles have their open windows
    /// wherever they begin. Silence comes with the fourth penalty, so the first three are short.
    fn kernel_keys(self, tenant: &str) -> String {
        let first = if self.is_silent() { "2s" } else { "60s" };
        let mut keys = format!("penalty = \"{first}\"\nloopback = true\n");
        match self {
            Self::Learned | Self::Shared => keys += "learned_after = \"1s\"\nclient_addresses = \"direct\"\n",
            Self::Silent => keys += "interfaces = [\"lo\"]\n",
            Self::Wire | Self::WireSilent => keys += &format!("interfaces = [\"{}\"]\n", wire::INTERFACE),
            _ => {}
        }
        if !matches!(self, Self::Learned | Self::Shared) {
            keys += &format!("[[kernel.source]]\ncidr = \"{}/32\"\ntenant = \"{tenant}\"\n", self.offender());
        }
        keys
    }

    /// From the offender's start until it is where the scenario wants it, milliseconds: its limit broken and its source
    /// under penalty; learned of before; or beyond three penalties of 2, 4 and 8 s.
    pub(super) fn head_start_ms(self) -> u64 {
        match self {
            Self::Learned => 4_000,
            _ if self.is_silent() => 16_000,
            _ => 2_000,
        }
    }

    /// The window, seconds: whole cycles where part of each is open to all.
    pub(super) fn window_seconds(self, seconds: f64) -> f64 {
        const CYCLE: f64 = 2.5;
        if self.opens_to_all() { (seconds / CYCLE).ceil() * CYCLE } else { seconds }
    }

    /// Least share of the attempts that end as the scenario wants, before anything is accepted; `None` where nothing is
    /// refused there.
    pub(super) fn kept_out_target(self) -> Option<f64> {
        match self {
            Self::DeclaredOff | Self::WireOff | Self::Shared => None,
            Self::DeclaredUser | Self::Learned => Some(0.88),
            _ => Some(0.99),
        }
    }

    /// Least share of the victim's requests on time; `None` where the kernel plane is off, which is there to compare.
    pub(super) fn on_time_target(self) -> Option<f64> {
        match self {
            Self::DeclaredOff | Self::WireOff => None,
            Self::Shared => Some(0.80),
            _ => Some(0.90),
        }
    }

    /// Most CPU of the gateway for an attempt that got nothing, microseconds; `None` where attempts are answered: all of
    /// them, or those of the open window.
    pub(super) fn cpu_us_target(self) -> Option<f64> {
        (self.kept_out_target()? > 0.9).then_some(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flood_is_listed_once_by_the_name_it_is_asked_for_with() {
        use clap::ValueEnum as _;
        assert_eq!(Flood::value_variants(), Flood::ALL);
        for flood in Flood::ALL {
            assert_eq!(flood.to_possible_value().expect("listed").get_name(), flood.name());
        }
    }

    #[test]
    fn only_the_shared_flood_comes_from_the_victims_address() {
        for flood in Flood::ALL {
            assert_eq!(flood.offender() == flood.victim(), flood == Flood::Shared, "{}", flood.name());
        }
    }

    #[test]
    fn a_window_holds_whole_cycles_where_a_part_of_each_is_open() {
        assert_eq!(Flood::DeclaredUser.window_seconds(3.0), 5.0);
        assert_eq!(Flood::Learned.window_seconds(12.0), 12.5);
        assert_eq!(Flood::Declared.window_seconds(3.0), 3.0);
    }

    #[test]
    fn who_is_learned_of_is_not_declared() {
        for flood in Flood::ALL {
            let keys = flood.kernel_keys("org_01");
            assert_eq!(keys.contains("kernel.source"), !keys.contains("learned_after"), "{}", flood.name());
        }
    }
}
