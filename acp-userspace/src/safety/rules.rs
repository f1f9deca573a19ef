//! What is looked for in each call, in each direction, and what is done with it.
//!
//! Everything is resolved when a configuration is loaded: rules that apply to the same calls are put together once, as
//! a [`RouteRules`], and a request finds its own by route, tool and tenant with two look-ups in tables (and one of the
//! tenant's name, where a rule names tenants). What a rule says about upstreams has become a limit to routes by then.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::detectors::Detectors;
use super::hyperscan::{CompileError, Hyperscan};
use super::tokenise::Tokens;
use crate::config::Subject;
use crate::config::resolved::{
    ContentAction, CustomDetector, Detector, Direction, Mode, Route, SafetyConfig, SafetyRule,
};

/// Combinations of route or tool and group of tenants that the tables of one direction may have: 4 MiB.
const CELLS_MAX: usize = 1 << 20;

/// Id of `safety.block_score` where records name the rule that blocks.
pub const BLOCK_SCORE_RULE: &str = "safety.block_score";

/// The rule that every search has beside those of the configuration: what was not read is recorded (THREATS A14).
const MEDIA_RULE: &str = "safety.unscannable_media";

/// The id, where values that a call carried in clear become tokens again in its answer.
const DETOKENIZE_RULE: &str = "safety.detokenize";

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
    /// Rules name too many tools and tenants to be resolved for each pair.
    #[error("the rules tell apart more than {CELLS_MAX} combinations of tools and tenants")]
    TooManyScopes,
}

impl RuleError {
    /// What of the configuration it is about; the engine is nobody's.
    #[must_use]
    pub fn subject(&self) -> Option<Subject<'_>> {
        match self {
            Self::Engine(_) | Self::TooManyScopes => None,
            Self::UnknownRoute { rule, .. } => Some(Subject::Rule(rule)),
        }
    }
}

/// What rules tell one call from another by.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// Index of its route.
    pub route: usize,
    /// Index of its tool over all tools; `None` for a message of the protocol itself.
    pub tool: Option<usize>,
    /// The caller's tenant claim.
    pub tenant: &'a str,
}

/// The same in names, for those who have no table.
#[derive(Debug, Clone, Copy)]
pub struct ScopeNames<'a> {
    /// Name of the route.
    pub route: &'a str,
    /// Id of the tool.
    pub tool: Option<&'a str>,
    /// The tenant.
    pub tenant: &'a str,
}

/// The rules of one configuration, resolved.
#[derive(Debug)]
pub struct RuleSet {
    requests: Table,
    responses: Table,
}

/// One direction's rules: a row for each route and for each tool that some rule names, a column for each group of
/// tenants that the same rules name; column 0 is everybody else's.
#[derive(Debug)]
struct Table {
    /// By route: its row.
    routes: Vec<u32>,
    /// By tool: its row, if it has one of its own.
    tools: HashMap<usize, u32>,
    /// By tenant that some rule names: its column.
    tenants: HashMap<Box<str>, u32>,
    columns: usize,
    /// Row by row: which of `sets`.
    cells: Vec<u32>,
    sets: Vec<RouteRules>,
}

/// What is done with one kind of call in one direction.
#[derive(Debug, Clone)]
pub struct RouteRules {
    /// No other rules of this process have it; 0 for those that are of one request.
    id: u64,
    wanted: Detectors,
    /// By detector; empty when nothing is wanted.
    chosen: Box<[Chosen]>,
    /// Score from which on content is refused, or would be.
    block_score: Option<(u8, Mode)>,
    /// Present when any call's rules want anything.
    scanner: Option<Arc<Hyperscan>>,
    /// Present when there are keys to make tokens with.
    tokens: Option<Arc<Tokens>>,
    /// Forms of the operator's own that are wanted, and all of them.
    custom: Box<[CustomDetector]>,
    forms: Arc<[CustomDetector]>,
    /// Whether what cannot be searched passes.
    fails_open: bool,
}

/// What all calls share.
#[derive(Debug)]
struct Tools {
    scanner: Option<Arc<Hyperscan>>,
    tokens: Option<Arc<Tokens>>,
    forms: Arc<[CustomDetector]>,
}

impl Tools {
    fn of(config: &SafetyConfig) -> Result<Self, CompileError> {
        let tokens = Tokens::new(&config.tokens, &config.detokenize).map(Arc::new);
        let needed = !config.rules.is_empty() || (tokens.is_some() && !config.detokenize.is_empty());
        let scanner = if needed { Some(Arc::new(Hyperscan::compile()?)) } else { None };
        Ok(Self { scanner, tokens, forms: config.detectors.as_slice().into() })
    }
}

/// What the rules of each mode say of one detector.
#[derive(Debug, Clone, Default)]
struct Chosen {
    enforced: Steps,
    observed: Steps,
}

/// By rising confidence, with rising strictness: the last that a finding reaches acts.
#[derive(Debug, Clone, Default)]
struct Steps(Vec<Step>);

#[derive(Debug, Clone)]
struct Step {
    min_confidence: u8,
    action: ContentAction,
    rule: Arc<str>,
}

impl Steps {
    /// Adds a rule unless one that acts as strictly is reached sooner; of equal rules the first counts.
    fn add(&mut self, rule: &SafetyRule) {
        let SafetyRule { min_confidence, action, id, .. } = rule;
        if self.0.iter().any(|step| step.min_confidence <= *min_confidence && step.action >= *action) {
            return;
        }
        self.0.retain(|step| step.min_confidence < *min_confidence || step.action > *action);
        let at = self.0.partition_point(|step| step.min_confidence < *min_confidence);
        self.0.insert(at, Step { min_confidence: *min_confidence, action: *action, rule: id.clone() });
    }

    fn of(&self, confidence: u8) -> Option<(ContentAction, &Arc<str>)> {
        let step = self.0.iter().rfind(|step| step.min_confidence <= confidence)?;
        Some((step.action, &step.rule))
    }
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
        let tools = Tools::of(config)?;
        Ok(Self {
            requests: Table::resolve(config, routes, Direction::Request, &tools)?,
            responses: Table::resolve(config, routes, Direction::Response, &tools)?,
        })
    }

    /// What is done with the request of a call; a route beyond the configuration's has no rules.
    #[must_use]
    pub fn request<'a>(&self, scope: impl Into<Scope<'a>>) -> Option<&RouteRules> {
        self.requests.find(&scope.into())
    }

    /// What is done with its answer.
    #[must_use]
    pub fn response<'a>(&self, scope: impl Into<Scope<'a>>) -> Option<&RouteRules> {
        self.responses.find(&scope.into())
    }
}

impl Table {
    fn resolve(
        config: &SafetyConfig,
        routes: &[Arc<Route>],
        direction: Direction,
        tools: &Tools,
    ) -> Result<Self, RuleError> {
        let groups = Groups::of(&config.rules);
        let columns = groups.names.len();
        let mut table = Self {
            routes: Vec::new(),
            tools: HashMap::new(),
            tenants: groups.columns,
            columns,
            cells: Vec::new(),
            sets: Vec::new(),
        };
        let mut known: HashMap<(Vec<usize>, bool), u32> = HashMap::new();
        let mut row = |table: &mut Self, route: &Route, tool: Option<&str>| {
            let at = (table.cells.len() / columns) as u32;
            for tenant in &groups.names {
                let names = ScopeNames { route: &route.name, tool, tenant: tenant.as_deref().unwrap_or_default() };
                let apply = applicable(&config.rules, &names, tenant.is_some(), direction);
                let next = known.len() as u32;
                let set = *known.entry((apply, route.fails_open)).or_insert_with_key(|(apply, fails_open)| {
                    let rules = apply.iter().map(|rule| &config.rules[*rule]);
                    table
                        .sets
                        .push(RouteRules { fails_open: *fails_open, ..RouteRules::resolve(config, rules, tools) });
                    next
                });
                table.cells.push(set);
            }
            if table.cells.len() > CELLS_MAX { Err(RuleError::TooManyScopes) } else { Ok(at) }
        };
        for route in routes {
            let at = row(&mut table, route, None)?;
            table.routes.push(at);
            let named = |name: &str| config.rules.iter().any(|rule| rule.tools.iter().any(|tool| tool == name));
            for tool in route.tools.iter().filter(|tool| named(&tool.name)) {
                let at = row(&mut table, route, Some(&tool.name))?;
                table.tools.insert(tool.index, at);
            }
        }
        Ok(table)
    }

    fn find(&self, scope: &Scope<'_>) -> Option<&RouteRules> {
        let own = scope.tool.filter(|_| !self.tools.is_empty()).and_then(|tool| self.tools.get(&tool));
        let row = *own.or_else(|| self.routes.get(scope.route))? as usize;
        let column = if self.columns == 1 { 0 } else { self.tenants.get(scope.tenant).map_or(0, |at| *at as usize) };
        self.sets.get(*self.cells.get(row * self.columns + column)? as usize)
    }
}

/// The tenants that rules name, those together that the same rules name.
struct Groups {
    /// By column, one of its tenants; `None` for everybody else.
    names: Vec<Option<String>>,
    columns: HashMap<Box<str>, u32>,
}

impl Groups {
    fn of(rules: &[SafetyRule]) -> Self {
        let mut groups = Self { names: vec![None], columns: HashMap::new() };
        let mut alike: HashMap<Vec<bool>, u32> = HashMap::new();
        for tenant in rules.iter().flat_map(|rule| &rule.tenants) {
            let named_by = rules.iter().map(|rule| rule.tenants.contains(tenant)).collect();
            let column = *alike.entry(named_by).or_insert_with(|| {
                groups.names.push(Some(tenant.clone()));
                groups.names.len() as u32 - 1
            });
            groups.columns.insert(tenant.as_str().into(), column);
        }
        groups
    }
}

/// The rules that apply to a call, by position; `named` says whether its tenant is one that rules may name.
fn applicable(rules: &[SafetyRule], call: &ScopeNames<'_>, named: bool, direction: Direction) -> Vec<usize> {
    let applies = |rule: &SafetyRule| {
        let any = |list: &[String], name: &str| list.iter().any(|listed| listed == name);
        (rule.direction == Direction::Both || rule.direction == direction)
            && (rule.routes.is_empty() || any(&rule.routes, call.route))
            && (rule.tools.is_empty() || call.tool.is_some_and(|tool| any(&rule.tools, tool)))
            && (rule.tenants.is_empty() || (named && any(&rule.tenants, call.tenant)))
    };
    rules.iter().enumerate().filter(|(_, rule)| applies(rule)).map(|(at, _)| at).collect()
}

fn wanted_of(forms: &[CustomDetector], wanted: Detectors) -> Box<[CustomDetector]> {
    forms.iter().filter(|form| wanted.contains(form.detector)).cloned().collect()
}

impl RouteRules {
    /// What is done with a call of these names in one direction, whether they exist or not; compiles the engine.
    ///
    /// # Errors
    /// An engine that does not compile.
    pub fn compile(config: &SafetyConfig, call: &ScopeNames<'_>, direction: Direction) -> Result<Self, CompileError> {
        let apply = applicable(&config.rules, call, true, direction);
        let rules = apply.iter().map(|rule| &config.rules[*rule]);
        Ok(Self::resolve(config, rules, &Tools::of(config)?))
    }

    fn resolve<'r>(config: &SafetyConfig, rules: impl Iterator<Item = &'r SafetyRule>, tools: &Tools) -> Self {
        let mut chosen = vec![Chosen::default(); Detector::ALL.len()];
        let mut wanted = Vec::new();
        for rule in rules {
            for detector in &rule.detect {
                let chosen = &mut chosen[*detector as usize];
                if rule.mode == Mode::Enforce { &mut chosen.enforced } else { &mut chosen.observed }.add(rule);
                wanted.push(*detector);
            }
        }
        let nothing = wanted.is_empty();
        if !nothing {
            let rule = SafetyRule::new(MEDIA_RULE, &[Detector::UnscannableMedia], ContentAction::Flag);
            chosen[Detector::UnscannableMedia as usize].enforced.add(&rule);
            wanted.push(Detector::UnscannableMedia);
        }
        let wanted: Detectors = wanted.into_iter().collect();
        static IDS: AtomicU64 = AtomicU64::new(1);
        Self {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            wanted,
            chosen: if nothing { Box::default() } else { chosen.into() },
            block_score: config.block_score.map(|score| (score, config.score_mode)),
            scanner: tools.scanner.clone(),
            tokens: tools.tokens.clone(),
            custom: wanted_of(&tools.forms, wanted),
            forms: Arc::clone(&tools.forms),
            fails_open: false,
        }
    }

    /// These rules, and one more that makes tokens of everything of these types: for answers to calls that carried such
    /// values in clear. What cannot be searched for those never passes.
    pub(super) fn with_tokens_of(&self, types: &[Detector]) -> Self {
        let mut rules = Self { id: 0, ..self.clone() };
        let mut chosen = std::mem::take(&mut rules.chosen).into_vec();
        chosen.resize_with(Detector::ALL.len(), Chosen::default);
        let rule = SafetyRule::new(DETOKENIZE_RULE, types, ContentAction::Tokenize);
        types.iter().for_each(|detector| chosen[*detector as usize].enforced.add(&rule));
        let looked_for = |detector: &Detector| self.wanted.contains(*detector) || types.contains(detector);
        rules.wanted = Detector::ALL.into_iter().filter(looked_for).collect();
        rules.chosen = chosen.into();
        rules.custom = wanted_of(&rules.forms, rules.wanted);
        rules.fails_open = false;
        rules
    }

    /// What names these rules among all of the process, those of before a reload included; `None` for those of one request.
    pub(super) fn id(&self) -> Option<u64> {
        (self.id != 0).then_some(self.id)
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

    /// Forms of the operator's own.
    pub(super) fn custom(&self) -> &[CustomDetector] {
        &self.custom
    }

    /// What makes tokens and turns them back.
    pub(super) fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_deref()
    }

    /// Whether what is found may be changed or blocked.
    pub(super) fn alters(&self) -> bool {
        let acts = |chosen: &Chosen| chosen.enforced.0.iter().any(|step| step.action > ContentAction::Flag);
        self.block_score.is_some_and(|(_, mode)| mode == Mode::Enforce) || self.chosen.iter().any(acts)
    }

    /// Whether what cannot be searched passes as it is, and the record says so.
    #[must_use]
    pub fn fails_open(&self) -> bool {
        self.fails_open
    }

    /// The engine, unless nothing is looked for.
    pub(super) fn scanner(&self) -> Option<&Arc<Hyperscan>> {
        self.scanner.as_ref()
    }

    /// What is done in `mode` with a finding of `detector` that is this sure, and the id of the rule that says so.
    pub(super) fn action(&self, detector: Detector, confidence: u8, mode: Mode) -> Option<(ContentAction, &Arc<str>)> {
        let chosen = self.chosen.get(detector as usize)?;
        if mode == Mode::Enforce { &chosen.enforced } else { &chosen.observed }.of(confidence)
    }

    /// Whether any rule has something to say about it.
    pub(super) fn heeds(&self, detector: Detector, confidence: u8) -> bool {
        [Mode::Enforce, Mode::Observe].into_iter().any(|mode| self.action(detector, confidence, mode).is_some())
    }

    /// The score from which on content is refused, or would be.
    pub(super) fn block_score(&self) -> Option<(u8, Mode)> {
        self.block_score
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::resolved::{Protocol, Tool, ToolMatch};

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
            content_codings: Vec::new(),
            response_headers: Vec::new(),
            cookies: false,
            half_close: false,
            fails_open: false,
            streaming: false,
        })
    }

    /// A call to a route, of no tool, by a tenant that nobody names.
    impl From<usize> for Scope<'static> {
        fn from(route: usize) -> Self {
            Self { route, tool: None, tenant: "somebody" }
        }
    }

    fn rule(id: &str, action: ContentAction, direction: Direction, routes: &[&str], mode: Mode) -> SafetyRule {
        let routes = routes.iter().map(|name| (*name).to_owned()).collect();
        SafetyRule { direction, routes, mode, ..SafetyRule::new(id, &[Detector::Email], action) }
    }

    fn compiled(rules: Vec<SafetyRule>, routes: &[Arc<Route>]) -> RuleSet {
        RuleSet::compile(&SafetyConfig { rules, ..SafetyConfig::default() }, routes).unwrap()
    }

    /// A route with one tool, whose index is the route's.
    fn with_tool(index: usize, name: &str) -> Arc<Route> {
        let tool = Tool {
            index,
            name: format!("{name}/tool").into(),
            matcher: ToolMatch::Mcp { name: "tool".into() },
            verb: "read".into(),
            price_picousd: 0,
            labels: Vec::new(),
        };
        let mut route = Arc::try_unwrap(route(index, name)).expect("nobody else has it");
        route.tools.push(Arc::new(tool));
        Arc::new(route)
    }

    #[test]
    fn the_strictest_matching_rule_of_each_mode_acts() {
        let rules = vec![
            rule("flag", ContentAction::Flag, Direction::Both, &[], Mode::Enforce),
            rule("mask", ContentAction::Mask, Direction::Request, &["a"], Mode::Enforce),
            rule("block", ContentAction::Block, Direction::Both, &["b"], Mode::Observe),
        ];
        let set = compiled(rules, &[route(0, "a"), route(1, "b")]);
        let action =
            |rules: Option<&RouteRules>, mode| rules.unwrap().action(Detector::Email, 50, mode).map(|(a, _)| a);
        assert_eq!(action(set.request(0), Mode::Enforce), Some(ContentAction::Mask));
        assert_eq!(action(set.response(0), Mode::Enforce), Some(ContentAction::Flag));
        assert_eq!(action(set.request(0), Mode::Observe), None);
        assert_eq!(action(set.request(1), Mode::Observe), Some(ContentAction::Block));
        assert_eq!(action(set.request(1), Mode::Enforce), Some(ContentAction::Flag));
        assert!(!set.request(0).unwrap().wanted().contains(Detector::Phone));
        assert!(set.request(2).is_none());
    }

    #[test]
    fn routes_with_the_same_rules_fail_open_each_by_itself() {
        let opened = |index, name| {
            let mut route = Arc::try_unwrap(route(index, name)).expect("nobody else has it");
            route.fails_open = true;
            Arc::new(route)
        };
        let rules = vec![rule("r", ContentAction::Flag, Direction::Both, &[], Mode::Enforce)];
        let set = compiled(rules, &[route(0, "a"), opened(1, "b"), route(2, "c"), opened(3, "d")]);
        for index in 0..4 {
            let open = index % 2 == 1;
            let found = [set.request(index), set.response(index)].map(|rules| rules.unwrap().fails_open());
            assert_eq!(found, [open; 2], "{index}");
        }
    }

    #[test]
    fn a_rule_for_a_route_that_does_not_exist_is_an_error() {
        let rules = vec![rule("r", ContentAction::Flag, Direction::Both, &["c"], Mode::Enforce)];
        let config = SafetyConfig { rules, ..SafetyConfig::default() };
        let error = RuleSet::compile(&config, &[route(0, "a")]).unwrap_err();
        assert_eq!(error.to_string(), "r names the unknown route \"c\"");
    }

    #[test]
    fn of_rules_with_thresholds_the_strictest_that_a_finding_reaches_acts() {
        let rule = |id: &str, action, min_confidence| SafetyRule {
            min_confidence,
            ..SafetyRule::new(id, &[Detector::Email], action)
        };
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let rules = [
                rule("flag", ContentAction::Flag, 20),
                rule("block", ContentAction::Block, 90),
                rule("late", ContentAction::Mask, 95),
                rule("redact", ContentAction::Redact, 60),
            ];
            let set = compiled(order.map(|at| rules[at].clone()).to_vec(), &[route(0, "a")]);
            let rules = set.request(0).unwrap();
            let acts = |confidence| rules.action(Detector::Email, confidence, Mode::Enforce).map(|(_, rule)| &**rule);
            let expected = [(19, None), (20, Some("flag")), (59, Some("flag")), (60, Some("redact"))];
            for (confidence, rule) in
                expected.into_iter().chain([(89, Some("redact")), (90, Some("block")), (100, Some("block"))])
            {
                assert_eq!(acts(confidence), rule, "{confidence} {order:?}");
            }
            assert!(!rules.heeds(Detector::Email, 19) && !rules.heeds(Detector::Phone, 100));
        }
    }

    #[test]
    fn rules_reach_exactly_the_tools_and_tenants_they_name() {
        let limited = |id: &str, action, tools: &[&str], tenants: &[&str]| SafetyRule {
            tools: tools.iter().map(|name| (*name).to_owned()).collect(),
            tenants: tenants.iter().map(|name| (*name).to_owned()).collect(),
            ..SafetyRule::new(id, &[Detector::Email], action)
        };
        let rules = vec![
            limited("all", ContentAction::Flag, &[], &[]),
            limited("tool", ContentAction::Mask, &["a/tool"], &[]),
            limited("tenant", ContentAction::Redact, &[], &["acme", "globex"]),
            limited("both", ContentAction::Block, &["a/tool"], &["acme"]),
        ];
        let set = compiled(rules, &[with_tool(0, "a"), with_tool(1, "b")]);
        let acts = |route, tool, tenant| {
            let rules = set.request(Scope { route, tool, tenant }).unwrap();
            rules.action(Detector::Email, 50, Mode::Enforce).map(|(_, rule)| rule.to_string()).unwrap()
        };
        assert_eq!(acts(0, Some(0), "acme"), "both");
        assert_eq!(acts(0, Some(0), "globex"), "tenant");
        assert_eq!(acts(0, Some(0), "other"), "tool");
        assert_eq!(acts(0, None, "acme"), "tenant");
        assert_eq!(acts(0, None, ""), "all");
        assert_eq!(acts(1, Some(1), "acme"), "tenant");
        assert_eq!(acts(1, Some(1), "other"), "all");
        assert!(set.requests.sets.len() <= 5, "calls that the same rules apply to share them");
    }
}
