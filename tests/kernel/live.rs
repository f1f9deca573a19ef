//! The list of open connections while they come and go: descriptors are used again at once, so what is listed under one
//! must be whose it is now.

use std::collections::HashMap;

use super::*;

const STEPS: u32 = 400;
/// Between looks at the whole list.
const LOOK: u32 = 25;

/// A connection and what its client has sent over it.
struct Open {
    connection: Connection,
    sent: u64,
    tenant: TenantSlot,
}

#[test]
fn the_list_stays_right_while_connections_come_and_go() {
    on_every_tier(|world| {
        let (mut open, mut random) = (Vec::new(), 1_u32);
        let mut next = |bound: usize| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 8) as usize % bound
        };
        for step in 1..=STEPS {
            if open.len() < 4 || (open.len() < 40 && next(2) == 0) {
                open.push(begin(world, next(3)));
            } else if next(2) == 0 {
                let Open { connection, sent, tenant } = open.swap_remove(next(open.len()));
                let record = world.close(connection, false);
                assert_eq!((record.bytes_in, record.tenant), (sent, tenant), "{record:?}");
            } else {
                let (chosen, more) = (next(open.len()), 1 + next(500));
                exchange(&mut open[chosen].connection, more, 1);
                open[chosen].sent += more as u64;
            }
            if step % LOOK == 0 {
                compare(world, &open);
            }
        }
    });
}

/// A new connection, of one of two tenants or of nobody.
fn begin(world: &mut World, tenant: usize) -> Open {
    let connection = world.attempt(BYSTANDER).expect("served");
    let tenant = match tenant {
        0 => TenantSlot::UNATTRIBUTED,
        1 => world.bind(&connection, "acme"),
        _ => world.bind(&connection, "rival"),
    };
    Open { connection, sent: 0, tenant }
}

#[track_caller]
fn compare(world: &World, open: &[Open]) {
    open.iter().for_each(|it| all_acknowledged(&it.connection.server));
    let rows = world.workers.iter().flat_map(|worker| worker.live(mono_ns()));
    let mut listed: HashMap<u64, _> = rows.map(|row| (row.cookie, row)).collect();
    assert_eq!(listed.len(), open.len(), "at {}", world.tier);
    for Open { connection, sent, tenant } in open {
        let cookie = socket::cookie(connection.server.as_raw_fd()).expect("a socket");
        let row = listed.remove(&cookie).expect("it is open, and listed once");
        let peer = connection.client.local_addr().expect("an address");
        assert_eq!((row.peer, row.bytes_in, row.tenant), (peer, *sent, *tenant), "at {}", world.tier);
    }
}
