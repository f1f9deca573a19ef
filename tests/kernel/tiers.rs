//! The suite once more on every tier, in processes that really lack what a lower tier lacks: nothing is switched off, the
//! gateway finds out by itself.

use std::process::{Command, Stdio};

use super::*;
use crate::capabilities::{BPF, DAC_OVERRIDE, NET_ADMIN, leave_only};

/// Names the one tier that this process is to find; absent in the parent.
const TIER: &str = "ACP_KERNEL_TIER";

/// The behaviours that hold on every tier: those that [`on_every_tier`] runs, and that need no other privilege.
const SUITE: [&str; 13] = [
    "a_pardon_works_at_once",
    "a_penalty_ends_by_itself",
    "a_record_has_what_was_audited_beside_what_was_seen",
    "a_record_names_the_tenant_that_was_verified_and_says_if_there_were_two",
    "a_silent_penalty_is_not_answered_where_frames_are_seen_and_refused_where_they_are_not",
    "an_open_window_lets_through_eight_and_no_more",
    "an_open_window_that_is_open_to_all_is_not_used_up",
    "an_open_window_lets_through_whoever_is_accepted_late",
    "live::the_list_stays_right_while_connections_come_and_go",
    "need_b01_an_observed_penalty_refuses_nobody_and_counts_whom_it_would",
    "refuses_a_penalised_source_and_nobody_else",
    "the_ledger_counts_the_bytes_that_were_sent_however_the_connection_ends",
    "the_list_of_open_connections_is_the_kernels_own_count_of_each",
];

/// The tier that this process was started for.
pub(super) fn given() -> Option<Tier> {
    match std::env::var(TIER).ok()?.as_str() {
        "K0" => Some(Tier::K0),
        "K1" => Some(Tier::K1),
        "K2" => Some(Tier::K2),
        "K3" => Some(Tier::K3),
        other => panic!("no tier {other:?}"),
    }
}

/// Runs the suite in a process with these capabilities alone; there it has to reach `tier`, or fails.
#[track_caller]
fn check(tier: Tier, capabilities: &'static [libc::c_ulong]) {
    let root = caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SETPCAP).unwrap_or(false);
    if !root {
        assert!(std::env::var_os("ACP_REQUIRE_BPF").is_none_or(|value| value != "1"), "capabilities are required");
        return say("in processes with fewer capabilities: it needs CAP_SETPCAP");
    }
    // One at a time, in the parent as in the child: cgroup nodes and loopback addresses are the host's.
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(SUITE).args(["--exact", "--test-threads=1"]).stdin(Stdio::null());
    command.env(TIER, format!("{tier:?}")).env("ACP_REQUIRE_BPF", "1");
    leave_only(&mut command, capabilities);
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{tier}: {said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("{} passed; 0 failed; 0 ignored", SUITE.len())), "{tier}: {said}");
}

#[test]
fn without_capabilities_the_suite_holds_on_k0() {
    check(Tier::K0, &[]);
}

#[test]
fn with_cap_bpf_alone_the_suite_holds_on_k1() {
    check(Tier::K1, &[BPF]);
}

#[test]
fn with_cap_net_admin_too_the_suite_holds_on_k2() {
    check(Tier::K2, &[BPF, NET_ADMIN, DAC_OVERRIDE]);
}

#[test]
fn with_an_interface_too_the_suite_holds_on_k3() {
    check(Tier::K3, &[BPF, NET_ADMIN, DAC_OVERRIDE]);
}
