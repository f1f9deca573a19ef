//! What `acp confine` reports of confined processes, on its way into the audit log.
//!
//! The gateway's part is to write it down: the kernel has refused already, and another process has read of it. Rows come
//! over the admin socket, whose owner is the operator; what they quote, such as a process' name, is a caller's all the
//! same.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::audit_thread::{AuditEvents, Detail};
use super::status::Status;
use crate::audit::json::event::EventKind;

/// Refusals of one cgroup that differ only in their moment, or how many there were of which no more is known.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefusedRow {
    /// The confined cgroup.
    pub cgroup: String,
    /// `socket`, `bind`, `connect`, `send` or `packet`; `lost` for those of which only the number is known.
    pub refused: String,
    /// How many there were.
    pub count: u64,
    /// The process' user; a packet's socket's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Its name, which it chooses itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comm: Option<String>,
    /// Where to: address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// By which protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// What kind of socket was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
}

/// The word of [`RefusedRow::refused`] for those of which only the number is known.
pub const LOST: &str = "lost";

/// Puts rows in the log's queue as far as it has room; returns how many.
pub(super) fn take(rows: &[RefusedRow], events: &AuditEvents, status: &Status) -> usize {
    let mut taken = 0;
    for row in rows {
        if !events.send(EventKind::ConfineRefused, detail(row)) {
            tracing::warn!("the audit writer is behind; refusals of confined processes wait");
            break;
        }
        let figure = if row.refused == LOST { &status.confine_lost } else { &status.confine_refused };
        figure.fetch_add(row.count, Ordering::Relaxed);
        taken += 1;
    }
    taken
}

fn detail(row: &RefusedRow) -> Vec<(&'static str, Detail)> {
    let text = |value: &String| Detail::Text(value.clone());
    let mut detail =
        vec![("cgroup", text(&row.cgroup)), ("refused", text(&row.refused)), ("count", Detail::Number(row.count))];
    detail.extend(row.destination.as_ref().map(|value| ("destination", text(value))));
    detail.extend(row.protocol.as_ref().map(|value| ("protocol", text(value))));
    detail.extend(row.socket.as_ref().map(|value| ("socket", text(value))));
    detail.extend(row.pid.map(|pid| ("pid", Detail::Number(u64::from(pid)))));
    detail.extend(row.uid.map(|uid| ("uid", Detail::Number(u64::from(uid)))));
    detail.extend(row.comm.as_ref().map(|value| ("comm", text(value))));
    detail
}
