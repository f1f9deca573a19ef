//! What each route looks for in each direction, and what it does with it.

use std::sync::Arc;

use super::detectors::Detectors;
use super::hyperscan::{CompileError, Hyperscan};
use crate::config::Subject;
use crate::config::resolved::{ContentAction, Detector, Direction, Mode, Route, SafetyConfig, SafetyRule};

/// Why rules cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The engine does not take the anchors.
    #[error(transparent)]
    Engine(#[from] CompileError),
    /// A rule is limited to a route that does not exist, so it would never act.
    #[error("{rule} names the unknown route \"{route}\"")]
    UnknownRoute {
        /// The rule.
        rule: Arc<str>,
        /// The name.
        route: String,
    },
}

impl RuleError {
    /// What of the configuration it is about; the engine is nobody's.
    #[must_use]
    pub fn subject(&self) -> Option<Subject<'_>> {
        match self {
            Self::Engine(_) => None,
            Self::UnknownRoute { rule, .. } => Some(Subject::Rule(rule)),
        }
    }
}

/// The rules of one configuration, resolved per route and direction.
#[derive(Debug)]
pub struct RuleSet {
    requests: Vec<RouteRules>,
    responses: Vec<RouteRules>,
}

/// What one route does in one direction.
#[derive(Debug, Clone)]
pub struct RouteRules {
    wanted: Detectors,
    chosen: [Chosen; Detector::ALL.len()],
    /// Present when anything is wanted.
    scanner: Option<Arc<Hyperscan>>,
}

/// The strictest rule of each mode for one detector.
#[derive(Debug, Clone, Default)]
struct Chosen {
    enforced: Option<(ContentAction, Arc<str>)>,
    observed: Option<(ContentAction, Arc<str>)>,
}

impl RuleSet {
    /// Resolves `config` for `routes`, which are in index order, and compiles the engine if any rule needs it: tens of
    /// milliseconds, off the request path.
    ///
    /// # Errors
    /// A rule that could never act, or an engine that does not compile.
    pub fn compile(config: &SafetyConfig, routes: &[Arc<Route>]) -> Result<Self, RuleError> {
        for rule in &config.rules {
            if let Some(route) = rule.routes.iter().find(|name| !routes.iter().any(|route| *route.name == ***name)) {
                return Err(RuleError::UnknownRoute { rule: rule.id.clone(), route: route.clone() });
            }
        }
        let scanner = if config.rules.is_empty() { None } else { Some(Arc::new(Hyperscan::compile()?)) };
        let resolve = |direction| {
            let of_route =
                |route: &Arc<Route>| RouteRules::resolve(&config.rules, &route.name, direction, scanner.as_ref());
            routes.iter().map(of_route).collect()
        };
        Ok(Self { requests: resolve(Direction::Request), responses: resolve(Direction::Response) })
    }

    /// What route `index` does with requests; a route beyond the configuration's has no rules.
    #[must_use]
    pub fn request(&self, index: usize) -> Option<&RouteRules> {
        self.requests.get(index)
    }

    /// What route `index` does with answers.
    #[must_use]
    pub fn response(&self, index: usize) -> Option<&RouteRules> {
        self.responses.get(index)
    }
}

impl RouteRules {
    /// What the route of this name does in one direction, whether it exists or not; compiles the engine.
    ///
    /// # Errors
    /// An engine that does not compile.
    pub fn compile(config: &SafetyConfig, route: &str, direction: Direction) -> Result<Self, CompileError> {
        Ok(Self::resolve(&config.rules, route, direction, Some(&Arc::new(Hyperscan::compile()?))))
    }

    fn resolve(rules: &[SafetyRule], route: &str, direction: Direction, scanner: Option<&Arc<Hyperscan>>) -> Self {
        let mut chosen: [Chosen; Detector::ALL.len()] = std::array::from_fn(|_| Chosen::default());
        let applies = |rule: &&SafetyRule| {
            (rule.direction == Direction::Both || rule.direction == direction)
                && (rule.routes.is_empty() || rule.routes.iter().any(|name| **name == *route))
        };
        for rule in rules.iter().filter(applies) {
            for detector in &rule.detect {
                let chosen = &mut chosen[*detector as usize];
                let slot = if rule.mode == Mode::Enforce { &mut chosen.enforced } else { &mut chosen.observed };
                if slot.as_ref().is_none_or(|(action, _)| rule.action > *action) {
                    *slot = Some((rule.action, rule.id.clone()));
                }
            }
        }
        let some = |detector: &Detector| {
            chosen[*detector as usize].enforced.is_some() || chosen[*detector as usize].observed.is_some()
        };
        let wanted: Detectors = Detector::ALL.into_iter().filter(some).collect();
        let scanner = if wanted.is_empty() { None } else { scanner.cloned() };
        Self { wanted, chosen, scanner }
    }

    /// Whether nothing is looked for, so that content passes unread.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// What is looked for.
    #[must_use]
    pub fn wanted(&self) -> Detectors {
        self.wanted
    }

    /// The engine, unless nothing is looked for.
    pub(super) fn scanner(&self) -> Option<&Arc<Hyperscan>> {
        self.scanner.as_ref()
    }

    /// What is done with findings of `detector` in `mode`, and the id of the rule that says so.
    pub(super) fn action(&self, detector: Detector, mode: Mode) -> Option<(ContentAction, &Arc<str>)> {
        let chosen = &self.chosen[detector as usize];
        let slot = if mode == Mode::Enforce { &chosen.enforced } else { &chosen.observed };
        slot.as_ref().map(|(action, rule)| (*action, rule))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::resolved::Protocol;

    /// A bare route.
    pub(in crate::safety) fn route(index: usize, name: &str) -> Arc<Route> {
        Arc::new(Route {
            index,
            name: name.into(),
            path: format!("/{name}"),
            upstream: 0,
            protocol: Protocol::Http,
            scopes: Vec::new(),
            audience: Vec::new(),
            tools: Vec::new(),
            body_bytes_max: 1 << 20,
            content_types: Vec::new(),
            response_headers: Vec::new(),
            cookies: false,
            half_close: false,
            streaming: false,
        })
    }

    fn rule(id: &str, action: ContentAction, direction: Direction, routes: &[&str], mode: Mode) -> SafetyRule {
        let routes = routes.iter().map(|name| (*name).to_owned()).collect();
        SafetyRule { id: id.into(), detect: vec![Detector::Email], action, direction, routes, mode }
    }

    #[test]
    fn the_strictest_matching_rule_of_each_mode_acts() {
        let rules = vec![
            rule("flag", ContentAction::Flag, Direction::Both, &[], Mode::Enforce),
            rule("mask", ContentAction::Mask, Direction::Request, &["a"], Mode::Enforce),
            rule("block", ContentAction::Block, Direction::Both, &["b"], Mode::Observe),
        ];
        let set = RuleSet::compile(&SafetyConfig { rules }, &[route(0, "a"), route(1, "b")]).unwrap();
        let action = |rules: Option<&RouteRules>, mode| rules.unwrap().action(Detector::Email, mode).map(|(a, _)| a);
        assert_eq!(action(set.request(0), Mode::Enforce), Some(ContentAction::Mask));
        assert_eq!(action(set.response(0), Mode::Enforce), Some(ContentAction::Flag));
        assert_eq!(action(set.request(0), Mode::Observe), None);
        assert_eq!(action(set.request(1), Mode::Observe), Some(ContentAction::Block));
        assert_eq!(action(set.request(1), Mode::Enforce), Some(ContentAction::Flag));
        assert!(!set.request(0).unwrap().wanted().contains(Detector::Phone));
        assert!(set.request(2).is_none());
    }

    #[test]
    fn a_rule_for_a_route_that_does_not_exist_is_an_error() {
        let rules = vec![rule("r", ContentAction::Flag, Direction::Both, &["c"], Mode::Enforce)];
        let error = RuleSet::compile(&SafetyConfig { rules }, &[route(0, "a")]).unwrap_err();
        assert_eq!(error.to_string(), "r names the unknown route \"c\"");
    }
}
