//! `[safety]`: which rules there are, and whether each can act.

use super::super::files::Files;
use super::super::mistake::Collector;
use super::super::raw;
use super::super::read::Key;
use super::super::resolved::{
    Detector, Direction, Group, Issuer, Mode, Route, SafetyConfig, SafetyRule, Tenants, Upstream,
};
use super::{check_name, custom, texts, tokens, unique, within};
use std::sync::Arc;

/// What rules may name.
pub(super) struct World<'a> {
    pub(super) routes: &'a [Arc<Route>],
    pub(super) upstreams: &'a [Arc<Upstream>],
    pub(super) issuers: &'a [Arc<Issuer>],
}

impl World<'_> {
    /// Whether `rule` applies to any call of `route`.
    fn meets(&self, rule: &raw::SafetyRule, route: &Route) -> bool {
        let listed = |list: &[Key<String>], name: &str| list.is_empty() || list.iter().any(|key| key.value == name);
        let upstream = self.upstreams.get(route.upstream).map_or("", |upstream| &*upstream.name);
        listed(&rule.routes, &route.name)
            && listed(&rule.upstreams, upstream)
            && (rule.tools.is_empty() || route.tools.iter().any(|tool| listed(&rule.tools, &tool.name)))
    }
}

pub(super) fn safety(
    raw: &raw::Safety,
    world: &World<'_>,
    files: &mut Files<'_>,
    found: &mut Collector,
) -> SafetyConfig {
    let ids: Vec<String> = raw.rule.iter().enumerate().map(|(i, rule)| id(rule, i)).collect();
    unique(ids.iter().map(String::as_str).zip(raw.rule.iter().map(|rule| &rule.id.at)), "the rule id", found);
    let rules: Vec<SafetyRule> = raw.rule.iter().zip(&ids).map(|(raw, id)| rule(raw, id, world, found)).collect();
    for (index, raw) in raw.rule.iter().enumerate() {
        if let Some(other) = (0..rules.len()).find(|&other| outdoes(&rules, other, index)) {
            let message = format!("never acts: {} is as strict and applies wherever this does", rules[other].id);
            found.add(&raw.detect.at, message);
        }
    }
    let block_score = raw.block_score.value.map(|score| {
        let key = Key { value: score, at: raw.block_score.at.clone() };
        within(&key, 1, 100, found) as u8
    });
    found.expect(block_score.is_none() || !rules.is_empty(), &raw.block_score.at, || {
        "never acts: without a [[safety.rule]] nothing is looked for".to_owned()
    });
    let detectors = custom::detectors(raw, found);
    check_custom(raw, found);
    let tokens = tokens::tokens(raw, &rules, files, found);
    let detokenize = tokens::permits(raw, world, found);
    SafetyConfig { rules, block_score, score_mode: *raw.score_mode, detectors, tokens, detokenize }
}

fn id(raw: &raw::SafetyRule, index: usize) -> String {
    raw.id.value.clone().unwrap_or_else(|| format!("safety.rule.{index}"))
}

fn rule(raw: &raw::SafetyRule, id: &str, world: &World<'_>, found: &mut Collector) -> SafetyRule {
    check_name(id, &raw.id.at, found);
    found.expect(!raw.detect.is_empty(), &raw.detect.at, || "is empty, so the rule would never act".to_owned());
    check_scopes(raw, world, found);
    SafetyRule {
        id: id.into(),
        detect: detectors(&raw.detect, found),
        action: *raw.action,
        min_confidence: within(&raw.min_confidence, 0, 100, found) as u8,
        direction: *raw.direction,
        routes: routes(raw, world),
        tools: texts(&raw.tools),
        tenants: texts(&raw.tenants),
        mode: *raw.mode,
    }
}

/// The routes a rule is limited to; a route has one upstream, so that limits to upstreams are limits to routes.
fn routes(raw: &raw::SafetyRule, world: &World<'_>) -> Vec<String> {
    if raw.upstreams.is_empty() {
        return texts(&raw.routes);
    }
    world.routes.iter().filter(|route| world.meets(raw, route)).map(|route| route.name.to_string()).collect()
}

/// Types and groups of types, each type once.
pub(super) fn detectors(list: &[Key<String>], found: &mut Collector) -> Vec<Detector> {
    let mut detectors = Vec::new();
    for name in list {
        let one = Detector::ALL.into_iter().find(|detector| detector.name() == **name);
        match (one, Group::named(name)) {
            (Some(detector), _) => detectors.push(detector),
            (None, Some(group)) => detectors.extend(group.detectors()),
            (None, None) => {
                let names = Group::ALL.map(Group::name).into_iter().chain(Detector::ALL.map(Detector::name));
                let names: Vec<_> = names.collect();
                found.add(
                    &name.at,
                    format!("{:?} is no type and no group; there are: {}", name.value, names.join(", ")),
                );
            }
        }
    }
    detectors.sort_unstable();
    detectors.dedup();
    detectors
}

/// Custom types that have no form.
fn check_custom(raw: &raw::Safety, found: &mut Collector) {
    let custom = |name: &&Key<String>| Detector::CUSTOM.iter().any(|custom| custom.name() == name.value);
    for name in raw.rule.iter().flat_map(|rule| rule.detect.iter()).filter(custom) {
        found.expect(raw.detector.iter().any(|form| form.r#type.value == name.value), &name.at, || {
            "is never found: no [[safety.detector]] has this type".to_owned()
        });
    }
}

/// Names that nothing has, and names that never come together.
fn check_scopes(raw: &raw::SafetyRule, world: &World<'_>, found: &mut Collector) {
    let routes: Vec<_> = world.routes.iter().map(|route| &*route.name).collect();
    let tools: Vec<_> = world.routes.iter().flat_map(|route| &route.tools).map(|tool| &*tool.name).collect();
    let upstreams: Vec<_> = world.upstreams.iter().map(|upstream| &*upstream.name).collect();
    let mut known = true;
    for (list, what, names) in
        [(&raw.routes, "route", routes), (&raw.tools, "tool", tools), (&raw.upstreams, "upstream", upstreams)]
    {
        for name in list.iter().filter(|name| !names.contains(&&*name.value)) {
            known = false;
            found.add(&name.at, format!("{:?} is no {what}; there are: {}", name.value, names.join(", ")));
        }
    }
    for tenant in raw.tenants.iter() {
        found.expect(world.issuers.iter().any(|issuer| may_assert(issuer, tenant)), &tenant.at, || {
            "is no tenant that an issuer may assert, so the rule would never act".to_owned()
        });
    }
    let meets = !known || world.routes.iter().any(|route| world.meets(raw, route));
    found.expect(meets, &raw.detect.at, || "never acts: no route has all that it is limited to".to_owned());
}

pub(super) fn may_assert(issuer: &Issuer, tenant: &str) -> bool {
    match &issuer.tenants {
        Tenants::Any => true,
        Tenants::Listed(tenants) => tenants.iter().any(|listed| listed == tenant),
        Tenants::Fixed(only) => **only == *tenant,
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
    let covers = |a: &[String], b: &[String]| a.is_empty() || (!b.is_empty() && b.iter().all(|name| a.contains(name)));
    let everywhere = covers(&a.routes, &b.routes) && covers(&a.tools, &b.tools) && covers(&a.tenants, &b.tenants);
    let ways = a.direction == Direction::Both || a.direction == b.direction;
    let detects = !b.detect.is_empty() && b.detect.iter().all(|detector| a.detect.contains(detector));
    everywhere && ways && detects && a.min_confidence <= b.min_confidence
}
