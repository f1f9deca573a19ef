//! Which route a path belongs to, and which tool a request calls.
//!
//! Routes match by their longest whole-segment prefix; a tool by method and path below the route, or by its MCP name,
//! byte for byte (THREATS A15). What is not listed does not exist: there is no default route and no default tool.
//! Compiling the table also checks what would make a look-up ambiguous, and prepares what every request to an
//! upstream repeats.

use std::collections::HashSet;
use std::sync::Arc;

use hashbrown::HashMap;

use super::headers::{self, NameClass};
use super::path::NormalPath;
use crate::config::Subject;
use crate::config::resolved::{Credentials, Protocol, Route, Segment, Tool, ToolMatch, Upstream};

/// Routes, tools and upstreams of one configuration. Immutable, shared by all workers.
#[derive(Debug)]
pub struct RouteTable {
    /// By path; `/` for a route at the root.
    routes: HashMap<String, usize>,
    /// Segments of the deepest route: how far a request's path is looked at.
    depth_max: usize,
    /// By [`Route::index`].
    entries: Vec<RouteEntry>,
    /// By [`Route::upstream`].
    upstreams: Vec<UpstreamEntry>,
    /// Whether `x-user-issuer` is sent: there are several issuers.
    pub(super) names_issuer: bool,
}

#[derive(Debug)]
struct RouteEntry {
    route: Arc<Route>,
    /// Tools whose pattern is literal, by path below the route, then method.
    literal: HashMap<String, Vec<(String, Arc<Tool>)>>,
    /// Tools whose pattern has `*`, most literal first.
    patterns: Vec<(String, Vec<Segment>, Arc<Tool>)>,
    /// MCP tools by name.
    named: HashMap<String, Arc<Tool>>,
}

/// What every request to an upstream repeats.
#[derive(Debug)]
pub(super) struct UpstreamEntry {
    pub(super) upstream: Arc<Upstream>,
    /// `host: …\r\n`
    pub(super) host_line: Vec<u8>,
    /// The service credential's line, if there is one.
    pub(super) credential_line: Vec<u8>,
    /// The credential's header in lower case, `_` and the like mapped to `-`: the client's is dropped.
    pub(super) credential_name: Option<String>,
}

/// Why routes and upstreams cannot be used as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableMistake {
    /// Two routes have one path.
    #[error("route {0}: another route has this path")]
    DuplicateRoute(String),
    /// A route's or tool's path is not in normal form.
    #[error("route {0}: the path {1:?} is not in normal form")]
    Path(String, String),
    /// Two tools of a route answer to the same request, or their names differ in case only.
    #[error("route {0}: tool {1} cannot be told from another tool")]
    AmbiguousTool(String, String),
    /// A tool's method is none that the gateway forwards.
    #[error("route {0}: tool {1}: the method {2:?} is not forwarded")]
    Method(String, String, String),
    /// A tool of the other protocol.
    #[error("route {0}: tool {1} does not match by the route's protocol")]
    Protocol(String, String),
    /// The route's upstream does not exist.
    #[error("route {0}: there is no such upstream")]
    Upstream(String),
    /// The client's token may not go to MCP servers.
    #[error("route {0}: MCP routes may not forward the client's token")]
    TokenPassthrough(String),
    /// A response header that is never passed on.
    #[error("route {0}: the response header {1:?} cannot be passed on")]
    ResponseHeader(String, String),
    /// A service credential that is no header, or one that the gateway sets itself.
    #[error("upstream {0}: the credential's header name or value cannot be sent")]
    Credential(String),
    /// Base path or host that cannot stand in a request.
    #[error("upstream {0}: host or base path cannot be sent")]
    Target(String),
}

impl TableMistake {
    /// What of the configuration it is about.
    #[must_use]
    pub fn subject(&self) -> Subject<'_> {
        match self {
            Self::DuplicateRoute(route)
            | Self::Path(route, _)
            | Self::Upstream(route)
            | Self::TokenPassthrough(route)
            | Self::ResponseHeader(route, _) => Subject::Route(route),
            Self::AmbiguousTool(route, tool) | Self::Method(route, tool, _) | Self::Protocol(route, tool) => {
                Subject::Tool(route, tool)
            }
            Self::Credential(upstream) | Self::Target(upstream) => Subject::Upstream(upstream),
        }
    }
}

impl RouteTable {
    /// Compiles the table. `issuers` is how many issuer entries there are.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn compile(
        routes: &[Arc<Route>],
        upstreams: &[Arc<Upstream>],
        issuers: usize,
    ) -> Result<Self, Vec<TableMistake>> {
        let mut mistakes = Vec::new();
        let mut table = Self {
            routes: HashMap::new(),
            depth_max: 0,
            entries: Vec::with_capacity(routes.len()),
            upstreams: Vec::with_capacity(upstreams.len()),
            names_issuer: issuers > 1,
        };
        for upstream in upstreams {
            match UpstreamEntry::new(upstream) {
                Ok(entry) => table.upstreams.push(entry),
                Err(mistake) => mistakes.push(mistake),
            }
        }
        for (at, route) in routes.iter().enumerate() {
            check_route(route, upstreams, &mut mistakes);
            let path = if route.path.is_empty() { "/" } else { &*route.path };
            if table.routes.insert(path.to_owned(), at).is_some() {
                mistakes.push(TableMistake::DuplicateRoute(route.name.to_string()));
            }
            table.depth_max = table.depth_max.max(segments(path).count());
            table.entries.push(RouteEntry::new(route, &mut mistakes));
        }
        if mistakes.is_empty() { Ok(table) } else { Err(mistakes) }
    }

    /// The route of a path, and what of the path lies below it: `""`, or segments without a slash in front.
    #[must_use]
    pub fn find<'p>(&self, path: &'p NormalPath<'_>) -> Option<(&Arc<Route>, &'p str)> {
        let text = path.as_str();
        let mut ends = smallvec::SmallVec::<[usize; 16]>::new();
        ends.extend(
            text.bytes().enumerate().skip(1).filter(|(_, byte)| *byte == b'/').map(|(at, _)| at).take(self.depth_max),
        );
        if ends.len() < self.depth_max {
            ends.push(text.len());
        }
        let longest = ends.into_iter().rev().find_map(|end| Some((*self.routes.get(&text[..end])?, end)));
        let (at, end) = longest.or_else(|| Some((*self.routes.get("/")?, 0)))?;
        Some((&self.entries[at].route, text[end..].strip_prefix('/').unwrap_or(&text[end..])))
    }

    /// The tool that a request to an HTTP route calls. A literal pattern goes before one with `*`, and of two with
    /// `*` the one whose first difference is literal.
    #[must_use]
    pub fn tool(&self, route: &Route, method: &str, rest: &str) -> Option<&Arc<Tool>> {
        let entry = self.entry(route)?;
        let literal = entry.literal.get(rest).and_then(|tools| tools.iter().find(|(m, _)| m == method));
        literal.map(|(_, tool)| tool).or_else(|| {
            let mut patterns = entry.patterns.iter();
            patterns.find(|(m, pattern, _)| m == method && matches(pattern, rest)).map(|(_, _, tool)| tool)
        })
    }

    /// The tool of this name at an MCP route.
    #[must_use]
    pub fn mcp_tool(&self, route: &Route, name: &str) -> Option<&Arc<Tool>> {
        self.entry(route)?.named.get(name)
    }

    fn entry(&self, route: &Route) -> Option<&RouteEntry> {
        self.entries.get(route.index).filter(|entry| entry.route.path == route.path)
    }

    /// The upstream of a route.
    #[must_use]
    pub fn upstream(&self, route: &Route) -> Option<&Arc<Upstream>> {
        self.upstream_entry(route).map(|entry| &entry.upstream)
    }

    pub(super) fn upstream_entry(&self, route: &Route) -> Option<&UpstreamEntry> {
        self.upstreams.get(route.upstream)
    }
}

impl RouteEntry {
    fn new(route: &Arc<Route>, mistakes: &mut Vec<TableMistake>) -> Self {
        let mut entry =
            Self { route: Arc::clone(route), literal: HashMap::new(), patterns: Vec::new(), named: HashMap::new() };
        let mut folded = HashSet::new();
        for tool in &route.tools {
            let unique = folded.insert(tool.name.to_ascii_lowercase()) && entry.add(tool, mistakes);
            if !unique {
                mistakes.push(TableMistake::AmbiguousTool(route.name.to_string(), tool.name.to_string()));
            }
        }
        entry.patterns.sort_by_cached_key(|(_, pattern, _)| {
            pattern.iter().map(|segment| *segment == Segment::Any).collect::<Vec<_>>()
        });
        entry
    }

    /// Adds a tool; false if its requests are another's too.
    fn add(&mut self, tool: &Arc<Tool>, mistakes: &mut Vec<TableMistake>) -> bool {
        let names = || (self.route.name.to_string(), tool.name.to_string());
        match (&tool.matcher, self.route.protocol) {
            (ToolMatch::Mcp { name }, Protocol::Mcp) => {
                let new = !self.named.keys().any(|other| other.eq_ignore_ascii_case(name));
                self.named.insert(name.clone(), Arc::clone(tool));
                new
            }
            (ToolMatch::Http { method, segments }, Protocol::Http) => {
                if !super::is_forwarded_method(method) {
                    let (route, tool) = names();
                    mistakes.push(TableMistake::Method(route, tool, method.clone()));
                }
                check_pattern(&self.route, segments, mistakes);
                self.add_http(tool, method, segments)
            }
            _ => {
                let (route, tool) = names();
                mistakes.push(TableMistake::Protocol(route, tool));
                true
            }
        }
    }

    fn add_http(&mut self, tool: &Arc<Tool>, method: &str, segments: &[Segment]) -> bool {
        let literal: Option<Vec<&str>> = segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(text) => Some(&**text),
                Segment::Any => None,
            })
            .collect();
        if let Some(literal) = literal {
            let tools = self.literal.entry(literal.join("/")).or_default();
            let new = !tools.iter().any(|(m, _)| m == method);
            tools.push((method.to_owned(), Arc::clone(tool)));
            return new;
        }
        let new = !self.patterns.iter().any(|(m, pattern, _)| m == method && pattern == segments);
        self.patterns.push((method.to_owned(), segments.to_vec(), Arc::clone(tool)));
        new
    }
}

impl UpstreamEntry {
    fn new(upstream: &Arc<Upstream>) -> Result<Self, TableMistake> {
        let name = || upstream.name.to_string();
        let base_is_normal = upstream.base_path.is_empty() || is_normal(&upstream.base_path);
        let host_is_sound = !upstream.host.is_empty()
            && upstream.host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
        if !base_is_normal || !host_is_sound {
            return Err(TableMistake::Target(name()));
        }
        let (credential_line, credential_name) = match &upstream.credentials {
            Credentials::None | Credentials::Forward => (Vec::new(), None),
            Credentials::Service { header, value, .. } => {
                let mapped = headers::mapped(header);
                let reserved = !matches!(headers::classify(header), NameClass::Pass | NameClass::Authorization);
                let value = value.expose();
                let sound = !value.is_empty() && value.iter().all(|byte| matches!(byte, b' '..=b'~'));
                if reserved || !headers::is_token(header) || !sound {
                    return Err(TableMistake::Credential(name()));
                }
                ([header.as_bytes(), b": ", value, b"\r\n"].concat(), Some(mapped))
            }
        };
        let host_line = ["host: ", &authority(upstream), "\r\n"].concat().into_bytes();
        Ok(Self { upstream: Arc::clone(upstream), host_line, credential_line, credential_name })
    }
}

/// Host, and port unless it is HTTP's own.
pub(super) fn authority(upstream: &Upstream) -> String {
    let host = if upstream.host.contains(':') { format!("[{}]", upstream.host) } else { upstream.host.clone() };
    if upstream.port == 80 { host } else { format!("{host}:{}", upstream.port) }
}

fn check_route(route: &Route, upstreams: &[Arc<Upstream>], mistakes: &mut Vec<TableMistake>) {
    let name = || route.name.to_string();
    if !route.path.is_empty() && !is_normal(&route.path) {
        mistakes.push(TableMistake::Path(name(), route.path.clone()));
    }
    match upstreams.get(route.upstream) {
        None => mistakes.push(TableMistake::Upstream(name())),
        Some(upstream) if route.protocol == Protocol::Mcp && matches!(upstream.credentials, Credentials::Forward) => {
            mistakes.push(TableMistake::TokenPassthrough(name()));
        }
        Some(_) => {}
    }
    for header in &route.response_headers {
        if !headers::may_allow_response(header) {
            mistakes.push(TableMistake::ResponseHeader(name(), header.clone()));
        }
    }
}

fn check_pattern(route: &Route, pattern: &[Segment], mistakes: &mut Vec<TableMistake>) {
    for segment in pattern {
        if let Segment::Literal(text) = segment
            && (text.contains('/') || !is_normal(&format!("/{text}")))
        {
            mistakes.push(TableMistake::Path(route.name.to_string(), text.clone()));
        }
    }
}

/// Whether a configured path is what a request's path would normalise to.
fn is_normal(path: &str) -> bool {
    NormalPath::parse(path).is_ok_and(|normal| normal.as_str() == path)
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|segment| !segment.is_empty())
}

fn matches(pattern: &[Segment], rest: &str) -> bool {
    let mut segments = segments(rest);
    let all = pattern.iter().all(|expected| {
        segments.next().is_some_and(|segment| match expected {
            Segment::Literal(text) => text == segment,
            Segment::Any => true,
        })
    });
    all && segments.next().is_none()
}
