//! Quarantine in the kernel: what arrives on a frozen tenant's connections is dropped, and nobody else's.

use super::*;

fn acme() -> TenantId {
    TenantId { issuer: "test".into(), tenant: "acme".into() }
}

/// Whether what the client sends now reaches the server within so long.
fn arrives(connection: &mut Connection, within: Duration) -> bool {
    connection.client.write_all(b"x").expect("the socket takes it");
    connection.server.set_read_timeout(Some(within)).expect("a timeout");
    connection.server.read_exact(&mut [0]).is_ok()
}

#[test]
fn what_arrives_on_a_frozen_tenants_connections_is_dropped_until_the_deadline_and_nobody_elses() {
    on_tiers(&[Tier::K2, Tier::K3], "127.0.0.1", 1, |world| {
        let acme = acme();
        let [mut its, mut anothers, mut shared, mut nobodys] =
            std::array::from_fn(|_| world.attempt(BYSTANDER).expect("served"));
        world.bind(&its, "acme");
        world.bind(&anothers, "rival");
        world.bind(&shared, "rival");
        world.bind(&shared, "acme");
        assert!(arrives(&mut its, PATIENCE));
        let until = mono_ns() + S;
        assert!(world.plane.freeze(&acme, until).expect("frozen"));
        assert!(!arrives(&mut its, MOMENT));
        for connection in [&mut anothers, &mut shared, &mut nobodys] {
            assert!(arrives(connection, MOMENT));
        }
        assert!(world.plane.frozen() > 0);
        // TCP sends it again, and nobody has to do anything for it to arrive.
        its.server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        its.server.read_exact(&mut [0]).expect("it arrives after the deadline");
        assert!(mono_ns() >= until);

        assert!(world.plane.freeze(&acme, mono_ns() + 60 * S).expect("frozen again"));
        assert!(!arrives(&mut its, MOMENT));
        world.plane.freeze(&acme, 0).expect("lifted");
        its.server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        its.server.read_exact(&mut [0]).expect("it arrives once it is lifted");
    });
}

#[test]
fn where_the_kernel_cannot_freeze_it_says_so() {
    on_tiers(&[Tier::K0, Tier::K1], "127.0.0.1", 1, |world| {
        let acme = acme();
        assert!(!world.plane.freeze(&acme, mono_ns() + S).expect("not an error"));
        assert_eq!(world.plane.frozen(), 0);
    });
}

#[test]
fn a_worker_finds_the_connections_that_are_a_tenants_alone() {
    on_every_tier(|world| {
        let (its, shared) = (world.attempt(BYSTANDER).expect("served"), world.attempt(BYSTANDER).expect("served"));
        let slot = world.bind(&its, "acme");
        world.bind(&shared, "acme");
        world.bind(&shared, "rival");
        let bound: Vec<_> = world.workers.iter().flat_map(|worker| worker.bound_to(slot)).collect();
        assert_eq!(bound, [its.server.as_raw_fd()]);
        let nobodys: Vec<_> =
            world.workers.iter().flat_map(|worker| worker.bound_to(TenantSlot::UNATTRIBUTED)).collect();
        assert!(nobodys.is_empty());
    });
}

#[test]
fn threat_a32_a_tenant_without_a_slot_is_never_frozen_with_all_who_have_none() {
    on_tiers(&[Tier::K2, Tier::K3], "127.0.0.1", 1, |world| {
        let mut nobodys = world.attempt(BYSTANDER).expect("served");
        for n in 0..SLOTS_MAX {
            world.workers[0].slot(&TenantId { issuer: "test".into(), tenant: format!("t{n}").into() });
        }
        let mut its = world.attempt(BYSTANDER).expect("served");
        assert_eq!(world.workers[its.worker].slot(&acme()), TenantSlot::UNATTRIBUTED);
        assert!(!world.plane.freeze(&acme(), mono_ns() + 60 * S).expect("not an error"), "and the operator is told");
        for connection in [&mut its, &mut nobodys] {
            assert!(arrives(connection, PATIENCE));
        }
        assert_eq!(world.plane.frozen(), 0);
    });
}
