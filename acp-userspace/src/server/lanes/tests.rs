use std::pin::pin;
use std::task::Context;

use super::*;

const A: Lane = Lane::Tenant(Key128([1; 16]));
const B: Lane = Lane::Tenant(Key128([2; 16]));

fn crowded() -> Lanes {
    let lanes = Lanes::default();
    lanes.timer(1, LATE_NS);
    assert!(lanes.crowded());
    lanes
}

/// Puts somebody into a lane.
fn wait(lanes: &Lanes, lane: Lane, since_ns: u64) -> Rc<Ticket> {
    let ticket = Rc::new(Ticket::default());
    lanes.queue.borrow_mut().push(lane, since_ns, Who::Request(Rc::clone(&ticket)));
    ticket
}

/// A round without connections.
fn round(lanes: &Lanes, turns: usize, now_ns: u64) -> usize {
    let mut arrivals = Vec::new();
    let dealt = lanes.round(turns, now_ns, &mut arrivals, |reset| assert_eq!(reset, 0));
    assert!(arrivals.is_empty());
    dealt
}

fn source(last: u8) -> Lane {
    Lane::Source(Source::of([192, 0, 2, last].into()))
}

#[test]
fn nobody_waits_while_the_worker_keeps_up() {
    let lanes = Lanes::default();
    lanes.timer(1, LATE_NS - 1);
    let turn = pin!(lanes.turn(A)).poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(turn, Poll::Ready(Turn::Now { waited: false }));
}

#[test]
fn a_tenant_with_one_request_waits_for_one_of_each_other() {
    let lanes = crowded();
    let crowd: Vec<_> = (0..1_000).map(|_| wait(&lanes, A, 0)).collect();
    let others: Vec<_> = (3..13).map(|id| wait(&lanes, Lane::Tenant(Key128([id; 16])), 0)).collect();
    let victim = wait(&lanes, B, 0);
    assert_eq!(round(&lanes, 12, 1), 12);
    assert!(victim.turn.get().is_some() && others.iter().all(|other| other.turn.get().is_some()));
    assert_eq!(crowd.iter().filter(|one| one.turn.get().is_some()).count(), 1);
    assert_eq!(lanes.len(), 999);
}

#[test]
fn a_thousand_strange_sources_take_a_third_of_the_turns() {
    let lanes = crowded();
    let strangers: Vec<_> = (0..1_000_u32)
        .map(|n| wait(&lanes, Lane::Source(Source::of(std::net::Ipv4Addr::from_bits(n).into())), 0))
        .collect();
    let mixed = wait(&lanes, Lane::Connection(7), 0);
    let tenant: Vec<_> = (0..70).map(|_| wait(&lanes, A, 0)).collect();
    assert_eq!(round(&lanes, 100, 1), 100);
    assert!(mixed.turn.get().is_some());
    let served = |all: &[Rc<Ticket>]| all.iter().filter(|one| one.turn.get().is_some()).count();
    assert_eq!((served(&tenant), served(&strangers)), (66, 33));
}

#[test]
fn the_last_to_come_is_the_first_to_be_served_and_who_waited_too_long_is_told() {
    let lanes = crowded();
    let old = wait(&lanes, A, 0);
    let (early, late) = (wait(&lanes, A, WAIT_MAX_NS), wait(&lanes, A, WAIT_MAX_NS));
    assert_eq!(round(&lanes, 1, WAIT_MAX_NS + 1), 1);
    assert_eq!((old.turn.get(), late.turn.get()), (Some(Turn::Late), Some(Turn::Now { waited: true })));
    assert_eq!((early.turn.get(), lanes.len()), (None, 1));
    assert_eq!((round(&lanes, 9, WAIT_MAX_NS + 1), lanes.len()), (1, 0));
    let queue = lanes.queue.borrow();
    assert!(queue.tenants.waiting.is_empty() && queue.tenants.order.is_empty(), "an empty lane is forgotten");
}

#[test]
fn a_turn_is_not_dealt_to_a_task_that_is_gone() {
    let lanes = crowded();
    let here = wait(&lanes, source(1), 0);
    drop(wait(&lanes, source(1), 0));
    assert_eq!(round(&lanes, 1, 1), 1);
    assert_eq!(here.turn.get(), Some(Turn::Now { waited: true }));
    assert_eq!(lanes.len(), 0);
}

#[test]
fn a_connection_waits_with_its_source_is_reset_after_its_time_and_closed_when_its_client_is_gone() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(listener.local_addr().unwrap()).unwrap()).collect();
    let [first, mut late, gone]: [TcpStream; 3] = clients.try_into().unwrap();
    let lanes = crowded();
    let places = Rc::new(super::super::places::Places::default());
    let arrive = |since_ns| {
        let (stream, peer) = listener.accept().unwrap();
        let place = places.take(None, 9).unwrap();
        let lane = Lane::Source(Source::of(peer.ip()));
        lanes.queue.borrow_mut().push(lane, since_ns, Who::Arrival(Arrival { stream, peer, place }));
        peer
    };
    let (peer, _, _) = (arrive(WAIT_MAX_NS), arrive(0), arrive(WAIT_MAX_NS));
    reset_on_close(gone.as_raw_fd()).unwrap();
    drop(gone);
    // The one that came second waits longest.
    lanes.queue.borrow_mut().sources.waiting.values_mut().for_each(|lane| lane.swap(0, 1));
    let (mut arrivals, reset) = (Vec::new(), Cell::new(0));
    assert_eq!(lanes.round(9, WAIT_MAX_NS + 1, &mut arrivals, |more| reset.set(reset.get() + more)), 1);
    assert_eq!((arrivals.len(), arrivals[0].peer, reset.get(), lanes.len()), (1, peer, 1, 0));
    assert_eq!(first.local_addr().unwrap(), peer);
    let error = std::io::Read::read(&mut late, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
fn turns_come_by_the_dealer_and_the_crowd_is_over_when_it_is_calm() {
    let served = runtime::run(runtime::Driver::Epoll, |_| async {
        let lanes = Rc::new(crowded());
        runtime::spawn(Rc::clone(&lanes).deal(|_| (), |_| ()));
        let waiting: Vec<_> = [A, B, source(1), Lane::Connection(1)]
            .map(|lane| {
                let lanes = Rc::clone(&lanes);
                runtime::spawn(async move { lanes.turn(lane).await })
            })
            .into();
        for waiting in waiting {
            assert_eq!(waiting.await, Turn::Now { waited: true });
        }
        lanes.timer(CALM_NS, 0);
        assert!(lanes.crowded(), "not yet");
        lanes.timer(CALM_NS + 1, 0);
        lanes.crowded()
    });
    assert!(!served.unwrap());
}

#[test]
fn rounds_shrink_faster_than_they_grow_and_stay_within_bounds() {
    assert_eq!(next_round(100, 100, ROUND_NS + 1), 75);
    assert_eq!(next_round(100, 100, ROUND_NS / 2 - 1), 113);
    assert_eq!(next_round(100, 99, 0), 100, "more turns than were wanted say nothing");
    assert_eq!(next_round(100, 100, ROUND_NS), 100);
    assert_eq!((next_round(TURNS_MIN, 16, u64::MAX), next_round(TURNS_MAX, TURNS_MAX, 0)), (TURNS_MIN, TURNS_MAX));
}
