//! `[[route.tool]]`: names, patterns, and whether a pattern can ever match.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::mistake::{At, Collector};
use super::super::raw;
use super::super::read::Key;
use super::super::resolved::{FORWARDED_METHODS, Protocol, Segment, Tool, ToolMatch};
use super::super::url::is_plain_segment;
use super::{check_name, texts};

/// Every tool name once, over all routes, and none that differs from another in case or marks only (THREATS A15).
pub(super) fn check_names(routes: &[Key<raw::Route>], found: &mut Collector) {
    let mut first: HashMap<String, (&str, &At)> = HashMap::new();
    for tool in routes.iter().flat_map(|route| route.tool.iter()) {
        let folded: String = tool.name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
        match first.get(&folded) {
            Some((name, at)) if *name == tool.name.as_str() => {
                found.add(&tool.name.at, format!("is used before, at {}; a tool has one name", at.key));
            }
            Some((name, at)) => {
                found.add(&tool.name.at, format!("reads like {name:?} at {}; choose a name that differs more", at.key))
            }
            None => drop(first.insert(folded, (&tool.name, &tool.name.at))),
        }
    }
}

/// Tools of one route; `before` tools stand in routes before it.
pub(super) fn tools(route: &raw::Route, before: usize, found: &mut Collector) -> Vec<Arc<Tool>> {
    let tools: Vec<Tool> =
        route.tool.iter().enumerate().map(|(i, raw)| tool(raw, before + i, *route.protocol, found)).collect();
    for (later, raw) in route.tool.iter().enumerate() {
        let shadow = (0..later).find(|&earlier| covers(&tools[earlier].matcher, &tools[later].matcher));
        if let Some(earlier) = shadow {
            found.add(&raw.r#match.at, format!("never matches: {:?} before it takes everything", tools[earlier].name));
        }
    }
    tools.into_iter().map(Arc::new).collect()
}

fn tool(raw: &raw::Tool, index: usize, protocol: Protocol, found: &mut Collector) -> Tool {
    // MCP's tool-name characters; no colon, which separates the parts of a scope.
    let plain = |name: &str| {
        matches!(name.len(), 1..=128) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b))
    };
    found.expect(plain(&raw.name), &raw.name.at, || {
        "has to be 1 to 128 of: letters, digits, `_`, `-`, `.`, `/`".to_owned()
    });
    found.expect(plain(&raw.verb), &raw.verb.at, || "has to be one word, such as read or write".to_owned());
    for label in raw.labels.iter() {
        check_name(label, &label.at, found);
    }
    let price = u64::try_from(raw.price.0).unwrap_or_else(|_| {
        found.add(&raw.price.at, "is more than 18 million dollars a call");
        0
    });
    Tool {
        index,
        name: raw.name.as_str().into(),
        matcher: matcher(raw, protocol, found),
        verb: raw.verb.as_str().into(),
        price_picousd: price,
        labels: texts(&raw.labels).into_iter().map(Into::into).collect(),
    }
}

fn matcher(raw: &raw::Tool, protocol: Protocol, found: &mut Collector) -> ToolMatch {
    let of = &raw.r#match;
    match protocol {
        Protocol::Http => {
            found.expect(of.tool.is_none(), &of.tool.at, || {
                "is for MCP routes; this one is recognised by method and path".to_owned()
            });
            match of.method.as_deref() {
                Some(method) => check_method(method, &of.method.at, found),
                None => found.add(&of.method.at, "is missing; write match = { method = \"POST\", path = \"…\" }"),
            }
            let method = of.method.as_deref().unwrap_or_default();
            ToolMatch::Http { method: method.to_owned(), segments: segments(of, found) }
        }
        Protocol::Mcp => {
            for key in [&of.method, &of.path] {
                found.expect(key.is_none(), &key.at, || {
                    "is for HTTP routes; an MCP tool is recognised by its name".to_owned()
                });
            }
            let own = raw.name.rsplit('/').next().unwrap_or_default();
            ToolMatch::Mcp { name: of.tool.as_deref().unwrap_or(own).to_owned() }
        }
    }
}

fn check_method(method: &str, at: &At, found: &mut Collector) {
    found.expect(FORWARDED_METHODS.split(", ").any(|forwarded| forwarded == method), at, || {
        format!("has to be a method that is forwarded, in upper case: {FORWARDED_METHODS}")
    });
}

fn segments(of: &raw::Match, found: &mut Collector) -> Vec<Segment> {
    let Some(path) = of.path.as_deref().filter(|path| !path.is_empty()) else { return Vec::new() };
    path.strip_prefix('/')
        .unwrap_or(path)
        .split('/')
        .map(|segment| match segment {
            "*" => Segment::Any,
            _ => {
                found.expect(is_plain_segment(segment), &of.path.at, || {
                    format!("{segment:?} is no plain segment; write text, or * for exactly one segment")
                });
                Segment::Literal(segment.to_owned())
            }
        })
        .collect()
}

/// Whether everything that `later` matches is matched by `earlier` too.
fn covers(earlier: &ToolMatch, later: &ToolMatch) -> bool {
    match (earlier, later) {
        (ToolMatch::Http { method: a, segments: earlier }, ToolMatch::Http { method: b, segments: later }) => {
            a == b
                && earlier.len() == later.len()
                && earlier.iter().zip(later).all(|(earlier, later)| *earlier == Segment::Any || earlier == later)
        }
        (ToolMatch::Mcp { name: earlier }, ToolMatch::Mcp { name: later }) => earlier == later,
        _ => false,
    }
}

/// Notes tools whose requests another route, with a longer path, takes away.
pub(super) fn check_reachable(routes: &[Key<raw::Route>], found: &mut Collector) {
    for route in routes {
        let longer = routes.iter().filter(|other| other.path.len() > route.path.len());
        let below: Vec<(&str, &str)> = longer
            .filter_map(|other| {
                let rest = other.path.strip_prefix(route.path.trim_end_matches('/'))?;
                Some((rest.strip_prefix('/')?, other.path.as_str()))
            })
            .collect();
        for tool in route.tool.iter() {
            let Some(path) = tool.r#match.path.as_deref() else { continue };
            let path = path.trim_start_matches('/');
            let taken = below
                .iter()
                .find(|(rest, _)| path == *rest || path.strip_prefix(rest).is_some_and(|p| p.starts_with('/')));
            if let Some((_, other)) = taken {
                found.add(
                    &tool.r#match.path.at,
                    format!("never matches: the route {other:?} is longer and takes these requests"),
                );
            }
        }
    }
}
