//! How many of a worker's connections one source may hold (THREATS A3).
//!
//! Dynamic thresholds, as switches divide a shared buffer (Choudhury and Hahne, 1998): a source may hold a quarter as many
//! places as are free, and one in any case. Alone it gets a fifth of all; *n* sources that take all they can come to hold
//! 1/(n + 4) each and leave four times that for whoever comes next. Nothing has to be configured, and who comes in small
//! numbers never notices.
//!
//! A source is an IPv4 address or an IPv6 /48, which is what one customer can be expected to hold at most. Trusted
//! proxies speak for many and are not counted.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;

use hashbrown::HashMap;

/// Where connections come from: an IPv4 address, or an IPv6 /48.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Source(u64);

impl Source {
    /// IPv4-mapped addresses are IPv4.
    #[must_use]
    pub(super) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(1 << 63 | u64::from(ip.to_bits())),
            IpAddr::V6(ip) => Self((ip.to_bits() >> 80) as u64),
        }
    }
}

/// A source may hold the free places divided by this.
const FREE_PER_SOURCE: usize = 4;

/// A worker's places.
#[derive(Debug, Default)]
pub(super) struct Places {
    held: Cell<usize>,
    /// Those of sources that are counted; bounded by the number held.
    by_source: RefCell<HashMap<Source, u32>>,
}

impl Places {
    /// A place of `max`, for a connection from `source`, or from one that is not counted; `None` if there is none, or
    /// none for this source.
    #[must_use]
    pub(super) fn take(self: &Rc<Self>, source: Option<Source>, max: usize) -> Option<Place> {
        let free = max.saturating_sub(self.held.get());
        if free == 0 {
            return None;
        }
        if let Some(source) = source {
            let mut by_source = self.by_source.borrow_mut();
            let held = by_source.get(&source).copied().unwrap_or(0);
            if held as usize >= (free / FREE_PER_SOURCE).max(1) {
                return None;
            }
            by_source.insert(source, held + 1);
        }
        self.held.set(self.held.get() + 1);
        Some(Place { places: Rc::clone(self), source })
    }
}

/// A place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Rc<Places>,
    source: Option<Source>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.held.set(self.places.held.get() - 1);
        let Some(source) = self.source else { return };
        let mut by_source = self.places.by_source.borrow_mut();
        if let Some(held) = by_source.get_mut(&source) {
            *held -= 1;
            if *held == 0 {
                by_source.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source::of(text.parse().unwrap())
    }

    /// Takes all that `source` can get of `max`.
    fn fill(places: &Rc<Places>, taken: &mut Vec<Place>, source: Source, max: usize) -> usize {
        let before = taken.len();
        taken.extend(std::iter::from_fn(|| places.take(Some(source), max)));
        taken.len() - before
    }

    #[test]
    fn threat_a03_sources_that_take_all_they_can_leave_room_for_the_next() {
        let (places, mut taken) = (Rc::new(Places::default()), Vec::new());
        assert_eq!(fill(&places, &mut taken, source("192.0.2.0"), 10_000), 2_000, "one alone gets a fifth");
        for other in 1..16 {
            fill(&places, &mut taken, source(&format!("192.0.2.{other}")), 10_000);
        }
        let left = 10_000 - taken.len();
        assert!(left >= 250, "{left}");
        assert!(fill(&places, &mut taken, source("198.51.100.1"), 10_000) >= left / 5, "a newcomer's share");
    }

    #[test]
    fn the_last_places_go_to_those_who_hold_none_and_to_trusted_proxies() {
        let places = Rc::new(Places::default());
        let mut taken = vec![places.take(Some(source("192.0.2.1")), 3).unwrap()];
        assert!(places.take(Some(source("192.0.2.1")), 3).is_none());
        taken.push(places.take(Some(source("192.0.2.2")), 3).unwrap());
        taken.push(places.take(None, 3).unwrap());
        assert!(places.take(None, 3).is_none() && places.take(Some(source("192.0.2.3")), 3).is_none(), "there is none");
    }

    #[test]
    fn an_ipv6_customer_is_one_source_and_a_mapped_address_is_ipv4() {
        assert_eq!(source("2001:db8:1:2::3"), source("2001:db8:1:ffff::4"));
        assert_ne!(source("2001:db8:1::1"), source("2001:db8:2::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
    }

    #[test]
    fn what_is_given_back_is_forgotten() {
        let (places, mut taken) = (Rc::new(Places::default()), Vec::new());
        assert_eq!(fill(&places, &mut taken, source("192.0.2.1"), 15), 3);
        drop(taken);
        assert!(places.by_source.borrow().is_empty());
        assert_eq!(places.held.get(), 0);
    }
}
