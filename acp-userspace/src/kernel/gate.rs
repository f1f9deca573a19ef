//! The penalties as user space keeps them: what the kernel refuses by, and what is asked once more at accept.
//!
//! The control thread writes, every worker reads. Under tier K0 this is all there is; above it the kernel has refused
//! nearly everything already, and the gate makes the open window exact: the kernel counts at ESTABLISHED, so
//! handshakes under way at the same moment can slip past its count, but none slips past this one.
//!
//! A worker with much to do accepts late. Whoever the kernel let through in an open window is not refused for that:
//! where it decides on a source, an open window lasts for [`LATE_NS`] longer here.
//!
//! **Invariant:** without a penalty anywhere, [`Gate::admit`] is one relaxed load and a comparison.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use acp_ebpf::penalty::{self, CYCLE_NS};
use acp_ebpf::table::SLOTS;
use acp_ebpf::{Penalty, SourceKey, Verdict, penalty_decide};
use arc_swap::ArcSwap;
use hashbrown::HashMap;

/// Penalties held at once: a quarter of the kernel's table, so that as good as all of them find a slot.
pub(super) const HELD_MAX: usize = SLOTS as usize / 4;

/// A connection that waits longer to be accepted may be refused.
pub(super) const LATE_NS: u64 = 1_000_000_000;

/// What to do with an accepted connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Serve it.
    Accept,
    /// Close it with a reset.
    Refuse,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// The latest deadline of any penalty, 0 for none.
    until_ns: AtomicU64,
    held: ArcSwap<HashMap<SourceKey, Arc<Held>>>,
    /// Connections refused at accept.
    pub(super) refused: AtomicU64,
    /// Connections let through an open window.
    pub(super) trickled: AtomicU64,
    /// Connections served that a penalty would have refused, were it not only observed.
    pub(super) observed: AtomicU64,
}

/// One penalty; only the trickle word changes.
#[derive(Debug)]
struct Held {
    penalty: Penalty,
    trickle: AtomicU64,
    /// How much longer its open windows last here.
    late_ns: u64,
}

impl Held {
    fn new(penalty: Penalty, late_ns: u64) -> Arc<Self> {
        Arc::new(Self { penalty, trickle: penalty.trickle.into(), late_ns })
    }

    fn read(&self) -> Penalty {
        Penalty { trickle: self.trickle.load(Ordering::Relaxed), ..self.penalty }
    }

    /// Decides on one connection, and spends one of an open window's if that is how it passes.
    fn decide(&self, now_ns: u64) -> Verdict {
        let now_ns = self.arrived_ns(now_ns);
        loop {
            let penalty = self.read();
            let verdict = penalty_decide(&penalty, now_ns);
            let cycle = penalty::cycle(penalty.since_ns, now_ns);
            let (Verdict::Trickle, Some(spent)) = (verdict, penalty::spend(penalty.trickle, cycle, penalty.open_max))
            else {
                return verdict;
            };
            let swap = self.trickle.compare_exchange_weak(penalty.trickle, spent, Ordering::Relaxed, Ordering::Relaxed);
            if swap.is_ok() {
                return verdict;
            }
        }
    }

    /// The instant that decides on a connection accepted at `now_ns`: the end of the open window that it may have come in,
    /// or that one.
    fn arrived_ns(&self, now_ns: u64) -> u64 {
        let elapsed_ns = now_ns.saturating_sub(self.penalty.since_ns);
        let into_ns = elapsed_ns % CYCLE_NS;
        let is_late = elapsed_ns >= CYCLE_NS && into_ns < self.late_ns && now_ns < self.penalty.until_ns;
        if is_late { now_ns - into_ns - 1 } else { now_ns }
    }
}

impl Gate {
    /// Decides on one accepted connection.
    pub(super) fn admit(&self, peer: IpAddr, now_ns: u64) -> Admission {
        if now_ns >= self.until_ns.load(Ordering::Relaxed) {
            return Admission::Accept;
        }
        let held = self.held.load();
        match held.get(&SourceKey::of_ip(peer)).map_or(Verdict::Pass, |held| held.decide(now_ns)) {
            Verdict::Pass => Admission::Accept,
            Verdict::Trickle => {
                self.trickled.fetch_add(1, Ordering::Relaxed);
                Admission::Accept
            }
            Verdict::Observe => {
                self.observed.fetch_add(1, Ordering::Relaxed);
                Admission::Accept
            }
            Verdict::Refuse | Verdict::Drop => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Admission::Refuse
            }
        }
    }

    /// Holds `penalty` against `source`, in place of any other; `false` if [`HELD_MAX`] others are in force. `late_ns`
    /// is how much longer an open window lasts: [`LATE_NS`] where the kernel decided before, else 0.
    pub(super) fn hold(&self, source: SourceKey, penalty: Penalty, late_ns: u64) -> bool {
        let mut held = self.in_force(penalty.since_ns);
        if held.len() >= HELD_MAX && !held.contains_key(&source) {
            return false;
        }
        held.insert(source, Held::new(penalty, late_ns));
        self.publish(held);
        true
    }

    /// Lets `source` go; whether it was held.
    pub(super) fn release(&self, source: SourceKey) -> bool {
        let mut held = HashMap::clone(&self.held.load());
        let was_held = held.remove(&source).is_some();
        self.publish(held);
        was_held
    }

    /// The penalties in force at `now_ns`.
    pub(super) fn penalties(&self, now_ns: u64) -> Vec<(IpAddr, Penalty)> {
        self.in_force(now_ns).iter().map(|(source, held)| (source.ip(), held.read())).collect()
    }

    fn in_force(&self, now_ns: u64) -> HashMap<SourceKey, Arc<Held>> {
        let held = self.held.load();
        held.iter().filter(|(_, held)| now_ns < held.penalty.until_ns).map(|(k, v)| (*k, Arc::clone(v))).collect()
    }

    fn publish(&self, held: HashMap<SourceKey, Arc<Held>>) {
        let until_ns = held.values().map(|held| held.penalty.until_ns).max().unwrap_or(0);
        self.held.store(Arc::new(held));
        self.until_ns.store(until_ns, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use acp_ebpf::penalty::{CLOSED_NS, TRICKLE_MAX, mode};

    use super::*;

    const S: u64 = 1_000_000_000;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("a test address")
    }

    fn key(text: &str) -> SourceKey {
        SourceKey::of_ip(ip(text))
    }

    #[test]
    fn refuses_the_penalised_source_alone_and_only_until_its_deadline() {
        let gate = Gate::default();
        assert!(gate.hold(key("192.0.2.1"), Penalty::new(0, 5 * S), 0));
        assert_eq!(gate.admit(ip("192.0.2.1"), S), Admission::Refuse);
        assert_eq!(gate.admit(ip("::ffff:192.0.2.1"), S), Admission::Refuse);
        assert_eq!(gate.admit(ip("192.0.2.2"), S), Admission::Accept);
        assert_eq!(gate.admit(ip("192.0.2.1"), 5 * S), Admission::Accept);
        assert_eq!(gate.refused.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn need_b01_what_an_observed_penalty_would_refuse_is_served_and_counted() {
        let gate = Gate::default();
        assert!(gate.hold(key("192.0.2.1"), Penalty::new(0, 60 * S).with_mode(mode::OBSERVE), 0));
        for _ in 0..3 {
            assert_eq!(gate.admit(ip("192.0.2.1"), S), Admission::Accept);
        }
        assert_eq!(gate.admit(ip("192.0.2.1"), CLOSED_NS), Admission::Accept, "would not have been refused");
        assert_eq!(gate.admit(ip("192.0.2.2"), S), Admission::Accept);
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        assert_eq!((read(&gate.observed), read(&gate.refused)), (3, 0));
    }

    #[test]
    fn an_open_window_is_exact_across_threads() {
        let gate = Gate::default();
        assert!(gate.hold(key("192.0.2.1"), Penalty::new(0, 60 * S).with_open_max(TRICKLE_MAX), 0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        gate.admit(ip("192.0.2.1"), CLOSED_NS);
                    }
                });
            }
        });
        assert_eq!(gate.trickled.load(Ordering::Relaxed), u64::from(TRICKLE_MAX));
        assert_eq!(gate.refused.load(Ordering::Relaxed), 400 - u64::from(TRICKLE_MAX));
    }

    #[test]
    fn whoever_the_kernel_let_through_may_be_accepted_late() {
        for (late_ns, late) in [(LATE_NS, Admission::Accept), (0, Admission::Refuse)] {
            let gate = Gate::default();
            assert!(gate.hold(key("192.0.2.1"), Penalty::new(S, 60 * S).with_open_max(2), late_ns));
            let admit = |now_ns| gate.admit(ip("192.0.2.1"), now_ns);
            assert_eq!(admit(S), Admission::Refuse, "no window has been");
            assert_eq!(admit(S + CYCLE_NS - 1), Admission::Accept);
            assert_eq!(admit(S + CYCLE_NS + LATE_NS - 1), late, "of two");
            assert_eq!(admit(S + CYCLE_NS), Admission::Refuse, "spent, or over");
            assert_eq!(admit(S + 2 * CYCLE_NS + LATE_NS), Admission::Refuse, "too late");
            assert_eq!(admit(S + 2 * CYCLE_NS), late);
            assert_eq!(admit(60 * S), Admission::Accept);
            assert_eq!(gate.trickled.load(Ordering::Relaxed), if late_ns == 0 { 1 } else { 3 });
        }
    }

    #[test]
    fn releasing_restores_the_quick_path() {
        let gate = Gate::default();
        assert!(gate.hold(key("2001:db8::1"), Penalty::new(0, 60 * S), 0));
        assert_eq!(gate.admit(ip("2001:db8::2"), S), Admission::Refuse, "the same /64");
        assert!(gate.release(key("2001:db8::3")));
        assert!(!gate.release(key("2001:db8::3")));
        assert_eq!(gate.admit(ip("2001:db8::2"), S), Admission::Accept);
        assert_eq!(gate.until_ns.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_full_gate_holds_no_more_until_one_has_ended() {
        let gate = Gate::default();
        let source = |i: usize| SourceKey::of_ip(IpAddr::from((i as u32).to_be_bytes()));
        let held = (0..HELD_MAX).map(|i| (source(i), Held::new(Penalty::new(0, S), 0)));
        gate.publish(held.collect());
        assert!(!gate.hold(source(HELD_MAX), Penalty::new(0, 5 * S), 0));
        assert!(gate.hold(source(0), Penalty::new(0, 5 * S), 0), "renewing takes no new place");
        assert!(gate.hold(source(HELD_MAX), Penalty::new(S, 5 * S), 0), "the others have ended");
        assert_eq!(gate.penalties(S).len(), 2);
    }
}
