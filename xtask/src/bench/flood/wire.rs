//! Another host to attack from: a network namespace at the other end of a veth pair, whose driver has native XDP.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The gateway's end.
pub(super) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 79, 1, 1);
/// The offender's address at the other end.
pub(super) const OFFENDER: Ipv4Addr = Ipv4Addr::new(10, 79, 1, 2);
/// The victim's.
pub(super) const VICTIM: Ipv4Addr = Ipv4Addr::new(10, 79, 1, 3);
/// The gateway's interface.
pub(super) const INTERFACE: &str = "acp-flood0";
/// The other end.
pub(super) const PEER: &str = "acp-flood1";

/// The hardware address of the gateway's end.
pub(super) const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// The pair; it goes with the namespace.
pub(super) struct Wire {
    namespace: String,
}

impl Wire {
    /// Lays it between the namespace that this process is in and a new one.
    ///
    /// # Errors
    /// Without root or ip(8).
    pub(super) fn lay() -> Result<Self> {
        let wire = Self { namespace: format!("acp-flood{}", std::process::id()) };
        let name = &wire.namespace;
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add {INTERFACE} address 02:00:00:00:00:01 type veth peer name {PEER} netns {name}"))?;
        ip(&format!("address add {GATEWAY}/24 dev {INTERFACE}"))?;
        ip(&format!("link set {INTERFACE} up"))?;
        for address in [OFFENDER, VICTIM] {
            ip(&format!("-n {name} address add {address}/24 dev {PEER}"))?;
        }
        ip(&format!("-n {name} link set {PEER} up"))?;
        ip(&format!("-n {name} link set lo up"))?;
        // As this side has; a new namespace has the host's, whatever that is.
        ip(&format!("-n {name} route replace 10.79.1.0/24 dev {PEER} congctl cubic"))?;
        Ok(wire)
    }

    /// The other host's namespace.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // Nothing is lost if it stays but its name.
        let _ = ip(&format!("netns delete {}", self.namespace));
    }
}

fn ip(command: &str) -> Result<()> {
    let output = Command::new("ip").args(command.split(' ')).output().context("running ip(8)")?;
    if !output.status.success() {
        bail!("ip {command}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
