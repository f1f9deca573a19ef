//! `[[safety.rule]]`: which rules there are, and whether each can act.

use super::super::mistake::Collector;
use super::super::raw;
use super::super::resolved::{Direction, Mode, Route, SafetyConfig, SafetyRule};
use super::{check_name, texts, unique};
use std::sync::Arc;

pub(super) fn safety(raw: &raw::Safety, routes: &[Arc<Route>], found: &mut Collector) -> SafetyConfig {
    let ids: Vec<String> = raw.rule.iter().enumerate().map(|(i, rule)| id(rule, i)).collect();
    unique(ids.iter().map(String::as_str).zip(raw.rule.iter().map(|rule| &rule.id.at)), "the rule id", found);
    let rules: Vec<SafetyRule> = raw.rule.iter().zip(&ids).map(|(raw, id)| rule(raw, id, routes, found)).collect();
    for (index, raw) in raw.rule.iter().enumerate() {
        if let Some(other) = (0..rules.len()).find(|&other| outdoes(&rules, other, index)) {
            let message = format!("never acts: {} is as strict and applies wherever this does", rules[other].id);
            found.add(&raw.detect.at, message);
        }
    }
    SafetyConfig { rules }
}

fn id(raw: &raw::SafetyRule, index: usize) -> String {
    raw.id.value.clone().unwrap_or_else(|| format!("safety.rule.{index}"))
}

fn rule(raw: &raw::SafetyRule, id: &str, routes: &[Arc<Route>], found: &mut Collector) -> SafetyRule {
    check_name(id, &raw.id.at, found);
    found.expect(!raw.detect.is_empty(), &raw.detect.at, || "is empty, so the rule would never act".to_owned());
    for name in raw.routes.iter() {
        found.expect(routes.iter().any(|route| *route.name == **name), &name.at, || {
            let names: Vec<_> = routes.iter().map(|route| &*route.name).collect();
            format!("{:?} is no route; there are: {}", name.value, names.join(", "))
        });
    }
    if *raw.direction != Direction::Request {
        let applies = |route: &Route| raw.routes.is_empty() || raw.routes.iter().any(|name| **name == *route.name);
        for route in routes.iter().filter(|route| route.streaming && applies(route)) {
            let message = format!(
                "would have to read the event streams of route {:?}, which is not available yet; \
                 write direction = \"request\", or name other routes",
                route.name
            );
            found.add(&raw.direction.at, message);
        }
    }
    SafetyRule {
        id: id.into(),
        detect: raw.detect.iter().map(|detector| detector.value).collect(),
        action: *raw.action,
        direction: *raw.direction,
        routes: texts(&raw.routes),
        mode: *raw.mode,
    }
}

/// Whether rule `other` makes rule `index` pointless: wherever the latter applies the former does too, and acts at
/// least as strictly. Of two equal rules the first counts. Observing rules are left alone: they are there to compare.
fn outdoes(rules: &[SafetyRule], other: usize, index: usize) -> bool {
    let (a, b) = (&rules[other], &rules[index]);
    let stricter = a.action > b.action || (a.action == b.action && (other < index || !equal_reach(a, b)));
    other != index && a.mode == Mode::Enforce && b.mode == Mode::Enforce && stricter && reaches(a, b)
}

fn equal_reach(a: &SafetyRule, b: &SafetyRule) -> bool {
    reaches(a, b) && reaches(b, a)
}

/// Whether `a` applies wherever `b` does.
fn reaches(a: &SafetyRule, b: &SafetyRule) -> bool {
    let everywhere =
        a.routes.is_empty() || (!b.routes.is_empty() && b.routes.iter().all(|route| a.routes.contains(route)));
    let ways = a.direction == Direction::Both || a.direction == b.direction;
    everywhere && ways && !b.detect.is_empty() && b.detect.iter().all(|detector| a.detect.contains(detector))
}
