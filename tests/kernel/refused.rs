//! Programs that the kernel's verifier refuses: real ones, with one instruction changed. Each costs the tier that needs it
//! and no more, is said in one line, and ends the start where the kernel plane is required.

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::*;

/// `exit`, with nothing in the register that a program returns.
const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

/// The gateway's programs, with these ending at their first instruction.
fn broken(programs: &[&str]) -> Option<Vec<u8>> {
    let mut bytes = OBJECT?.to_vec();
    let file = object::File::parse(OBJECT?).expect("an ELF file");
    for name in programs {
        let symbol = file.symbol_by_name(name).unwrap_or_else(|| panic!("no program {name}"));
        let section = symbol.section_index().and_then(|index| file.section_by_index(index).ok()).expect("its section");
        let (offset, _) = section.file_range().expect("it is in the file");
        let at = usize::try_from(offset + symbol.address()).expect("it fits");
        bytes[at..at + EXIT.len()].copy_from_slice(&EXIT);
    }
    Some(bytes)
}

/// Opens as much as these programs allow.
fn open_with(object: &[u8], mode: KernelMode) -> Result<(Box<dyn KernelPlane>, Reached), KernelError> {
    let mut config = config(mode);
    config.interfaces.push("lo".into());
    let node = enter_cgroup(&config);
    let listeners = listeners("127.0.0.1", 1);
    open_object(Some(object), &config, node, &[listeners[0].as_fd()])
}

#[test]
fn a_program_that_the_verifier_refuses_costs_its_tier_and_is_said_in_one_line() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    match OBJECT.map(|object| open_with(object, KernelMode::Auto).expect("nothing is required").1) {
        Some(reached) if reached.tier == Tier::K3 => {}
        Some(reached) => return skip(Tier::K3, &reached),
        None => return say("everywhere: there are no programs in this build"),
    }
    let cases: [(&[&str], Tier, &str); 7] = [
        (&["acp_steer"], Tier::K0, "cannot load or attach acp_steer: "),
        (&["acp_ledger"], Tier::K1, "cannot load or attach acp_ledger: "),
        (&["acp_drop", "acp_drop_tcx"], Tier::K2, "no drop on lo: "),
        // tcx takes the place of XDP; what is beside the tiers costs none.
        (&["acp_drop"], Tier::K3, ""),
        (&["acp_quarantine"], Tier::K3, "no quarantine in the kernel: cannot load or attach acp_quarantine: "),
        (&["acp_egress4"], Tier::K3, "no egress guard: cannot load or attach acp_egress4: "),
        (&["acp_egress6"], Tier::K3, "no egress guard: cannot load or attach acp_egress6: "),
    ];
    for (programs, tier, line) in cases {
        let object = broken(programs).expect("there are programs");
        let (plane, reached) = open_with(&object, KernelMode::Auto).expect("nothing is required");
        assert_eq!(reached.tier, tier, "{programs:?}: {:?}", reached.why);
        let said: Vec<_> = reached.why.iter().map(String::as_str).collect();
        match &said[..] {
            [] => assert_eq!(line, "", "{programs:?}"),
            [why] => {
                assert!(!line.is_empty() && why.starts_with(line), "{programs:?}: {why}");
                assert!(!why.contains('\n') && why.len() < 2_000, "{why}");
                assert!(tier == Tier::K2 || why.contains("R0 !read_ok") || why.contains("unreachable"), "{why}");
            }
            more => panic!("{programs:?}: {more:?}"),
        }
        drop(plane);
        if tier < Tier::K3 {
            let error =
                open_with(&object, KernelMode::Required).map(|(_, reached)| reached).expect_err("it is required");
            let KernelError::Required(reached) = &error else { panic!("{error}") };
            assert_eq!(reached.tier, tier);
            let text = error.to_string();
            assert!(text.contains(line) && text.contains("kernel.mode = \"auto\""), "{text}");
        }
    }
}

#[test]
fn bytes_that_are_no_programs_are_one_line_and_no_tier() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (_, reached) = open_with(b"\x7fELF of no use", KernelMode::Auto).expect("nothing is required");
    assert_eq!((reached.tier, reached.why.len()), (Tier::K0, 1), "{:?}", reached.why);
}

#[test]
fn more_workers_than_can_be_steered_to_are_one_line_and_no_tier() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if OBJECT.is_none() || !caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_BPF).unwrap_or(false) {
        return say("everywhere: there are no programs in this build, or no CAP_BPF");
    }
    let listeners = listeners("127.0.0.1", acp_ebpf::steer::WORKERS_MAX as usize + 1);
    let fds: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
    let (_, reached) = open(&config(KernelMode::Auto), None, &fds).expect("nothing is required");
    assert_eq!((reached.tier, reached.why), (Tier::K0, vec!["257 listeners, of 1 to 256".to_owned()]));
}
