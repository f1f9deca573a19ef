//! Routes and their tools.

use std::sync::Arc;

/// What a route's bodies say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Plain HTTP tools, listed one by one.
    Http,
    /// Model Context Protocol over streamable HTTP.
    Mcp,
}

/// How a body may be compressed (RFC 9110 §8.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentCoding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, zlib's format.
    Deflate,
    /// Brotli, RFC 7932.
    Br,
    /// RFC 8878.
    Zstd,
}

impl ContentCoding {
    /// Every coding.
    pub const ALL: [Self; 4] = [Self::Gzip, Self::Deflate, Self::Br, Self::Zstd];

    /// Its name in Content-Encoding.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Br => "br",
            Self::Zstd => "zstd",
        }
    }
}

/// One `[[route]]`.
#[derive(Debug)]
pub struct Route {
    /// Index into [`super::Config::routes`].
    pub index: usize,
    /// Its name: the path, unless named.
    pub name: Arc<str>,
    /// Path prefix, normalised: starts with `/`, no trailing slash; matches whole segments.
    pub path: String,
    /// Index into [`super::Config::upstreams`].
    pub upstream: usize,
    /// What its bodies say.
    pub protocol: Protocol,
    /// Scopes every call needs; also the filter of `x-user-scope`. Empty = all the token's scopes pass.
    pub scopes: Vec<String>,
    /// Audiences accepted here; empty = the issuer's.
    pub audience: Vec<String>,
    /// Whether event streams, and text without a length, are screened as they come.
    pub streaming: bool,
    /// Whether content that rules cannot see passes as it is.
    pub fails_open: bool,
    /// Tools, in file order.
    pub tools: Vec<Arc<Tool>>,
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// Request content types besides `application/json`.
    pub content_types: Vec<String>,
    /// Codings that bodies may come in, both ways; they are undone before anything reads them.
    pub content_codings: Vec<ContentCoding>,
    /// Response headers passed besides the default allow-list, lower case.
    pub response_headers: Vec<String>,
    /// Whether Cookie is passed on (default false).
    pub cookies: bool,
    /// FIN from the client is not a disconnect (default false).
    pub half_close: bool,
}

/// One `[[route.tool]]`.
#[derive(Debug)]
pub struct Tool {
    /// Index over all tools of the configuration.
    pub index: usize,
    /// Full id, e.g. `crm/contacts`; the Cedar entity `Tool::"crm/contacts"`.
    pub name: Arc<str>,
    /// How a request is recognised: HTTP method and path below the route, or the MCP tool's own name.
    pub matcher: ToolMatch,
    /// Verb, for `tool:<name>:<verb>` scopes (from configuration, never from live annotations).
    pub verb: Arc<str>,
    /// Price of one call, pico-dollars.
    pub price_picousd: u64,
    /// Data labels: policy attributes, and what the auditor asks by.
    pub labels: Vec<Arc<str>>,
}

impl Tool {
    /// Price of one call in micro-dollars, rounded up.
    #[must_use]
    pub const fn price_microusd(&self) -> u64 {
        self.price_picousd.div_ceil(1_000_000)
    }
}

/// Methods that are understood, and so may be forwarded: RFC 9110 §9.3 without CONNECT and TRACE, and PATCH.
pub const FORWARDED_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// How a tool is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolMatch {
    /// Method and path pattern below the route: segments, `*` for exactly one segment. Empty = the route itself.
    Http {
        /// Upper-case method.
        method: String,
        /// Segments.
        segments: Vec<Segment>,
    },
    /// `params.name` of `tools/call`, byte for byte.
    Mcp {
        /// The upstream's name of the tool.
        name: String,
    },
}

/// One segment of a tool's path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This text, after normalisation.
    Literal(String),
    /// Any one segment.
    Any,
}
