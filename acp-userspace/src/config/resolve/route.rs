//! `[[route]]`.

use std::sync::Arc;

use super::super::mistake::Collector;
use super::super::raw::{self, CredentialMode};
use super::super::read::Key;
use super::super::resolved::{Listen, Protocol, Route};
use super::super::url::is_plain_path;
use super::{check_name, check_scope, texts, tool, unique, usize_of, within_size};
use crate::http::head::is_field_name;

/// Response headers that a route cannot pass on: framing and connection are ours, `x-acp-*` and `x-user-*` too.
const NEVER_PASSED: [&str; 13] = [
    "connection",
    "content-encoding",
    "content-length",
    "date",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
];

/// All routes, longest path first, as [`super::super::Config`] has them.
pub(super) fn routes(file: &raw::File, listen: &Listen, found: &mut Collector) -> Vec<Arc<Route>> {
    let list = &file.route;
    found.expect(!list.is_empty(), &list.at, || {
        "has no entry, so every request would be 404; add a [[route]]".to_owned()
    });
    unique(list.iter().map(|raw| (raw.path.as_str(), &raw.path.at)), "the route path", found);
    // Of routes that share a path, which is noted already, the first stands for the others.
    let first = |index: usize| list[..index].iter().all(|before| *before.path != *list[index].path);
    let named = list.iter().enumerate().filter(|(index, _)| first(*index)).map(|(_, raw)| (name(raw), &raw.name.at));
    unique(named, "the route name", found);
    tool::check_names(list, found);
    tool::check_reachable(list, found);
    // Stable: of two equal paths, a mistake noted above, the first stays first.
    let mut order: Vec<&raw::Route> = list.iter().map(|key| &key.value).collect();
    order.sort_by_key(|raw| std::cmp::Reverse(raw.path.len()));
    let mut tools_before = 0;
    let mut routes = Vec::with_capacity(order.len());
    for (index, raw) in order.into_iter().enumerate() {
        routes.push(Arc::new(route(raw, index, tools_before, file, listen, found)));
        tools_before += raw.tool.len();
    }
    routes
}

fn name(raw: &raw::Route) -> &str {
    raw.name.as_deref().unwrap_or(&raw.path)
}

fn route(
    raw: &raw::Route,
    index: usize,
    tools_before: usize,
    file: &raw::File,
    listen: &Listen,
    found: &mut Collector,
) -> Route {
    check_name(name(raw), &raw.name.at, found);
    let plain = raw.path.as_str() == "/" || (is_plain_path(&raw.path) && !raw.path.is_empty());
    found.expect(plain, &raw.path.at, || {
        "is no plain path; write it as in \"/tools/crm\", without trailing or double slashes, dots alone, escapes"
            .to_owned()
    });
    for scope in raw.scopes.iter() {
        check_scope(scope, &scope.at, found);
    }
    found.expect(!raw.tool.is_empty(), &raw.tool.at, || {
        "has no entry, so nothing on this route could be called; add a [[route.tool]]".to_owned()
    });
    Route {
        index,
        name: name(raw).into(),
        path: raw.path.value.clone(),
        upstream: upstream(raw, file, found),
        protocol: *raw.protocol,
        scopes: texts(&raw.scopes),
        audience: texts(&raw.audience),
        streaming: *raw.streaming,
        fails_open: *raw.fail == raw::Fail::Open,
        tools: tool::tools(raw, tools_before, found),
        body_bytes_max: body_bytes_max(raw, listen, found),
        content_types: content_types(&raw.content_types, found),
        content_codings: raw.content_codings.iter().map(|coding| coding.value).collect(),
        response_headers: response_headers(&raw.response_headers, found),
        cookies: *raw.cookies,
        half_close: *raw.half_close,
    }
}

fn upstream(raw: &raw::Route, file: &raw::File, found: &mut Collector) -> usize {
    let Some(index) = file.upstream.iter().position(|upstream| *upstream.name == *raw.upstream) else {
        let names: Vec<_> = file.upstream.iter().map(|upstream| upstream.name.as_str()).collect();
        found
            .add(&raw.upstream.at, format!("{:?} is no upstream; there are: {}", raw.upstream.value, names.join(", ")));
        return 0;
    };
    let forwards = *file.upstream[index].credentials.mode == CredentialMode::Forward;
    found.expect(*raw.protocol != Protocol::Mcp || !forwards, &raw.upstream.at, || {
        "gets the client's own token (credentials.mode = \"forward\"), which MCP forbids; use none or service"
            .to_owned()
    });
    index
}

fn body_bytes_max(raw: &raw::Route, listen: &Listen, found: &mut Collector) -> usize {
    let Some(size) = raw.body_bytes_max.value else { return listen.body_bytes_max };
    within_size(&Key { value: size, at: raw.body_bytes_max.at.clone() }, 1, 1 << 30, found);
    found.expect(usize_of(size) <= listen.buffered_bytes_per_tenant_max, &raw.body_bytes_max.at, || {
        "is more than listen.buffered_bytes_per_tenant_max, so such a body could never be buffered".to_owned()
    });
    usize_of(size)
}

/// Media types, lower case, without parameters.
fn content_types(list: &[Key<String>], found: &mut Collector) -> Vec<String> {
    for media in list {
        let plain = media.split_once('/').is_some_and(|(kind, subtype)| is_field_name(kind) && is_field_name(subtype));
        found.expect(plain, &media.at, || {
            "is no media type; write it as in \"text/csv\", without parameters".to_owned()
        });
        let json = media.eq_ignore_ascii_case("application/json");
        found.expect(!json, &media.at, || "is taken already; remove it".to_owned());
    }
    list.iter().map(|media| media.to_ascii_lowercase()).collect()
}

fn response_headers(list: &[Key<String>], found: &mut Collector) -> Vec<String> {
    let lower: Vec<String> = list.iter().map(|name| name.to_ascii_lowercase()).collect();
    for (key, name) in list.iter().zip(&lower) {
        found.expect(is_field_name(name), &key.at, || "is no header name".to_owned());
        let ours = NEVER_PASSED.contains(&name.as_str()) || name.starts_with("x-acp-") || name.starts_with("x-user-");
        found.expect(!ours, &key.at, || "is the gateway's own and is never passed on".to_owned());
    }
    lower
}
