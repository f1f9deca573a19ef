//! Events: what happened to the gateway rather than to a request. Start and stop, reloads, key changes, what the kernel
//! plane did, admin actions, and gaps in the log itself (THREATS B13).

use super::Lines;
use super::text::string;
use crate::clock::Now;
use crate::text::CallerText;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EventKind {
    /// The gateway started: version, whole digests, tier, workers.
    Start,
    /// It stopped as told.
    Stop,
    /// A configuration was loaded, or refused and why.
    Reload,
    /// An issuer's keys changed.
    KeyChange,
    /// The kernel plane began to refuse a source.
    KernelPenalty,
    /// The kernel plane takes a source again.
    KernelPardon,
    /// The kernel's ledger row of a closed connection.
    ConnectionClosed,
    /// The audit log has more bytes of a connection than the kernel saw of it.
    LedgerBreach,
    /// A confined process was refused what leads past the gateway, as `acp confine` reports it.
    ConfineRefused,
    /// The kernel refused a connection of the gateway itself.
    EgressRefused,
    /// A tenant's quarantine: begun, frozen in the kernel, connections reset, lifted.
    Quarantine,
    /// An operator changed state.
    Admin,
    /// Something is missing from the log: what and why.
    Gap,
    /// A worker died and was replaced.
    WorkerRestart,
    /// The wall clock jumped, or is not synchronised.
    Clock,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 15] = [
        Self::Start,
        Self::Stop,
        Self::Reload,
        Self::KeyChange,
        Self::KernelPenalty,
        Self::KernelPardon,
        Self::ConnectionClosed,
        Self::LedgerBreach,
        Self::ConfineRefused,
        Self::EgressRefused,
        Self::Quarantine,
        Self::Admin,
        Self::Gap,
        Self::WorkerRestart,
        Self::Clock,
    ];

    /// The name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::KeyChange => "key_change",
            Self::KernelPenalty => "kernel_penalty",
            Self::KernelPardon => "kernel_pardon",
            Self::ConnectionClosed => "connection_closed",
            Self::LedgerBreach => "ledger_breach",
            Self::ConfineRefused => "confine_refused",
            Self::EgressRefused => "egress_refused",
            Self::Quarantine => "quarantine",
            Self::Admin => "admin",
            Self::Gap => "gap",
            Self::WorkerRestart => "worker_restart",
            Self::Clock => "clock",
        }
    }
}

/// A value of an event's detail.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Text; treated as a caller's, for it may quote one.
    Text(&'a str),
    /// A count or a number of bytes, nanoseconds, micro-dollars.
    Number(u64),
    /// Yes or no.
    Bool(bool),
    /// A digest, printed in hexadecimal.
    Digest(&'a [u8]),
}

impl Lines {
    /// Appends an event. Keys are ours: lower-case words.
    pub fn event(&mut self, now: Now, kind: EventKind, detail: &[(&'static str, Value<'_>)]) {
        self.word("{\"kind\":\"event\",\"event\":", kind.name());
        self.moment(now);
        self.raw(",\"detail\":{");
        let mut first = true;
        for (key, value) in detail {
            self.comma(&mut first);
            self.word("", key);
            self.raw(":");
            match value {
                Value::Text(text) => string(&mut self.buf, &CallerText::new(text).printable()),
                Value::Number(n) => self.int("", *n),
                Value::Bool(yes) => self.raw(if *yes { "true" } else { "false" }),
                Value::Digest(bytes) => self.hex("", bytes),
            }
        }
        self.raw("}");
        self.close();
    }
}
