//! What the programs say of their decisions: nothing until they are asked to, one line of each decision then, nothing
//! after the deadline; and what nobody reads in time is counted.

use acp::kernel::log::{Level, address, name};
use acp_ebpf::log::LINES_BYTES;

use super::*;

/// What was said since the last look: events with their addresses.
fn said(world: &mut World) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let log = world.plane.log().expect("there are programs");
    log.read(&mut |line| lines.push((name(&line), address(&line).unwrap_or_default())));
    lines
}

fn switch(world: &mut World, on: Option<(Level, u64)>) {
    world.plane.log().expect("there are programs").set(on).expect("set");
}

#[test]
fn the_programs_say_what_they_decide_from_when_they_are_asked_to_until_the_deadline() {
    on_tiers(&[Tier::K1, Tier::K2, Tier::K3], "127.0.0.1", 1, |world| {
        let now = mono_ns();
        world.penalise(OFFENDER, now, now + 60 * S);
        world.check(OFFENDER, false);
        assert_eq!(said(world), [], "it is off");
        let until = mono_ns() + 2 * S;
        switch(world, Some((Level::Refusals, until)));
        assert_eq!(world.plane.log().and_then(|log| log.on(mono_ns())), Some((Level::Refusals, until)));
        world.check(OFFENDER, false);
        world.check(OFFENDER, false);
        world.check(BYSTANDER, true);
        assert_eq!(said(world), vec![("refused", OFFENDER.to_owned()); 2], "and nothing of who is served");
        if world.tier == Tier::K3 {
            world.hold(OFFENDER, Penalty::new(now, now + 60 * S).with_mode(mode::SILENT));
            world.connect_within(OFFENDER, MOMENT).expect_err("nobody answers");
            assert_eq!(said(world).first(), Some(&("dropped", OFFENDER.to_owned())));
            world.hold(OFFENDER, Penalty::new(now, now + 60 * S));
        }
        wait_for(|| (mono_ns() >= until).then_some(()));
        world.check(OFFENDER, false);
        assert_eq!(said(world), [], "over");
        assert_eq!(world.plane.log().and_then(|log| log.on(mono_ns())), None);
        switch(world, Some((Level::Refusals, mono_ns() + 60 * S)));
        switch(world, None);
        world.check(OFFENDER, false);
        assert_eq!(said(world), [], "switched off");
    });
}

#[test]
fn what_is_let_through_and_what_listens_is_said_on_the_level_above() {
    on_tiers(&[Tier::K2, Tier::K3], "127.0.0.1", 1, |world| {
        for (level, expected) in [(Level::Refusals, 0), (Level::Decisions, 1)] {
            switch(world, Some((level, mono_ns() + 60 * S)));
            let open = Penalty::new(0, 0);
            let let_through = world.in_an_open_window(open, |world| {
                said(world);
                world.attempt(OFFENDER)
            });
            assert!(let_through.is_some());
            let other = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
            let lines = said(world);
            for (event, address) in [("let_through", OFFENDER.to_owned()), ("listening", other.to_string())] {
                let count = lines.iter().filter(|line| **line == (event, address.clone())).count();
                assert_eq!(count, expected, "{event}: {lines:?}");
            }
        }
    });
}

#[test]
fn lines_that_nobody_reads_in_time_are_counted() {
    on_tiers(&[Tier::K1], "127.0.0.1", 1, |world| {
        let now = mono_ns();
        world.penalise(OFFENDER, now, now + 60 * S);
        switch(world, Some((Level::Refusals, now + 60 * S)));
        // A line and its header in the ring.
        let room = LINES_BYTES as usize / (32 + 8);
        let made = room + 100;
        let refused = (0..made).filter(|_| world.connect(OFFENDER).is_err()).count();
        assert_eq!(refused, made);
        assert_eq!(said(world).len(), room);
        assert_eq!(world.plane.log().map(|log| log.lost()), Some(100));
    });
}

#[test]
fn where_there_are_no_programs_there_is_no_log() {
    on_tiers(&[Tier::K0], "127.0.0.1", 1, |world| assert!(world.plane.log().is_none()));
}
