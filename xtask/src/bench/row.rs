//! The rows of the table: names, and how each is started.

use std::net::SocketAddrV4;

use anyhow::Result;

use super::acp::{Gateway, Setting};
use super::lab::Lab;
use super::peers;
use super::server::Server;

/// One thing to measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(super) enum Row {
    /// The backend itself, without a proxy.
    Direct,
    /// nginx as a plain proxy.
    NginxPlain,
    /// HAProxy as a plain proxy.
    HaproxyPlain,
    /// HAProxy verifying tokens.
    HaproxyJwt,
    /// Envoy verifying tokens with its cache.
    EnvoyJwt,
    /// The gateway with all six layers.
    Acp,
    /// The gateway on the epoll driver.
    AcpEpoll,
    /// Another build of the gateway.
    AcpBaseline,
}

impl Row {
    /// What is measured unless told otherwise.
    pub(super) const DEFAULT: [Self; 6] =
        [Self::Direct, Self::NginxPlain, Self::HaproxyPlain, Self::HaproxyJwt, Self::EnvoyJwt, Self::Acp];

    /// Its name in table and JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::NginxPlain => "nginx-plain",
            Self::HaproxyPlain => "haproxy-plain",
            Self::HaproxyJwt => "haproxy-jwt",
            Self::EnvoyJwt => "envoy-jwt",
            Self::Acp => "acp",
            Self::AcpEpoll => "acp-epoll",
            Self::AcpBaseline => "acp-baseline",
        }
    }

    /// Whether it runs a build of the gateway.
    pub(super) fn is_acp(self) -> bool {
        matches!(self, Self::Acp | Self::AcpEpoll | Self::AcpBaseline)
    }

    /// Whether it has to refuse a bad token.
    pub(super) fn verifies_tokens(self) -> bool {
        self.is_acp() || matches!(self, Self::HaproxyJwt | Self::EnvoyJwt)
    }

    /// Why it cannot run here, if so.
    ///
    /// # Errors
    /// That is the error.
    pub(super) fn check(self, lab: &Lab) -> Result<()> {
        match self {
            Self::Direct | Self::NginxPlain => lab.peers.nginx().map(drop),
            Self::HaproxyPlain | Self::HaproxyJwt => lab.peers.haproxy().map(drop),
            Self::EnvoyJwt => lab.peers.envoy().map(drop),
            Self::Acp | Self::AcpEpoll => Ok(()),
            Self::AcpBaseline => match lab.baseline {
                Some(_) => Ok(()),
                None => anyhow::bail!("--baseline names no binary"),
            },
        }
    }

    /// Starts it.
    ///
    /// # Errors
    /// When it does not come up.
    pub(super) fn start(self, lab: &Lab, backend: SocketAddrV4) -> Result<Running> {
        let peer = |(server, address)| Running::Peer { server, address };
        match self {
            Self::Direct => Ok(Running::Backend { address: backend }),
            Self::NginxPlain => peers::start_nginx_plain(lab, backend).map(peer),
            Self::HaproxyPlain => peers::start_haproxy_plain(lab, backend).map(peer),
            Self::HaproxyJwt => peers::start_haproxy_jwt(lab, backend).map(peer),
            Self::EnvoyJwt => peers::start_envoy_jwt(lab, backend).map(peer),
            Self::Acp | Self::AcpEpoll | Self::AcpBaseline => {
                let binary = lab.baseline.as_deref().filter(|_| self == Self::AcpBaseline).unwrap_or(&lab.acp);
                let setting = Setting { epoll: self == Self::AcpEpoll, ..Setting::all_layers() };
                Gateway::start(lab, self.name(), binary, backend, &setting).map(Running::Gateway)
            }
        }
    }
}

/// A started row.
pub(super) enum Running {
    /// The backend, which runs anyway.
    Backend {
        /// Where it listens.
        address: SocketAddrV4,
    },
    /// A peer.
    Peer {
        /// Its process.
        server: Server,
        /// Where it listens.
        address: SocketAddrV4,
    },
    /// The gateway.
    Gateway(Gateway),
}

impl Running {
    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddrV4 {
        match self {
            Self::Backend { address } | Self::Peer { address, .. } => *address,
            Self::Gateway(gateway) => gateway.address(),
        }
    }

    /// Its process; the backend's own for `direct`.
    pub(super) fn server<'a>(&'a self, backend: &'a Server) -> &'a Server {
        match self {
            Self::Backend { .. } => backend,
            Self::Peer { server, .. } => server,
            Self::Gateway(gateway) => gateway.server(),
        }
    }

    /// Stops it. The gateway must have recorded and booked exactly `answered` calls.
    ///
    /// # Errors
    /// When it does not end well, or its books disagree with the load's.
    pub(super) fn finish(self, answered: u64) -> Result<()> {
        match self {
            Self::Backend { .. } => Ok(()),
            Self::Peer { server, .. } => server.stop(),
            Self::Gateway(gateway) => gateway.stop_and_check(answered),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn names_on_the_command_line_are_those_of_the_table() {
        for row in Row::value_variants() {
            assert_eq!(row.to_possible_value().expect("listed").get_name(), row.name());
        }
    }
}
