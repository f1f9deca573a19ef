//! Envoy: `envoy-jwt` verifies RS256 tokens with a cache that holds every user's, authorises by role-based access
//! control on path, method and claims, limits locally, sends identity headers and writes an access log.

use std::net::SocketAddrV4;
use std::process::Command;

use anyhow::Result;
use serde_json::{Value, json};

use super::super::http::PATH;
use super::super::keys::{AUDIENCE, ISSUER, SCOPE, USERS};
use super::super::lab::Lab;
use super::super::server::{Server, free_address};

/// Starts the row.
///
/// # Errors
/// When Envoy is missing or does not start.
pub(in crate::bench) fn start_jwt(lab: &Lab, backend: SocketAddrV4) -> Result<(Server, SocketAddrV4)> {
    let address = free_address()?;
    let binary = lab.peers.envoy()?;
    // JSON is YAML, which is what Envoy reads.
    let config = config(lab, address, backend).to_string();
    let server = super::start_listening(lab, "envoy-jwt", "envoy.json", &config, address, |file| {
        let mut command = Command::new(binary);
        command.arg("--config-path").arg(file).args(["--concurrency", &lab.workers.to_string()]);
        command.args(["--log-level", "warn", "--use-dynamic-base-id"]);
        command
    })?;
    Ok((server, address))
}

fn config(lab: &Lab, address: SocketAddrV4, backend: SocketAddrV4) -> Value {
    let manager = json!({
        "@type": kind("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "access_log": [{
            "name": "envoy.access_loggers.file",
            "typed_config": {"@type": kind("access_loggers.file.v3.FileAccessLog"), "path": "access.log"},
        }],
        "generate_request_id": true,
        "route_config": {
            "virtual_hosts": [{
                "name": "all", "domains": ["*"],
                "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "backend"}}],
            }],
        },
        "http_filters": [jwt(&lab.keys.jwks().display().to_string()), access_control(), rate_limit(), router()],
    });
    json!({
        "static_resources": {
            "listeners": [{
                "address": socket(address),
                "filter_chains": [{
                    "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
                }],
            }],
            "clusters": [{
                "name": "backend", "type": "STATIC", "connect_timeout": "5s",
                "load_assignment": {
                    "cluster_name": "backend",
                    "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(backend)}}]}],
                },
            }],
        },
    })
}

fn jwt(jwks: &str) -> Value {
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": kind("filters.http.jwt_authn.v3.JwtAuthentication"),
            "providers": {
                "issuer": {
                    "issuer": ISSUER, "audiences": [AUDIENCE],
                    "local_jwks": {"filename": jwks},
                    "jwt_cache_config": {"jwt_cache_size": USERS * 2},
                    "payload_in_metadata": "claims",
                    "claim_to_headers": [
                        {"header_name": "x-user-uid", "claim_name": "sub"},
                        {"header_name": "x-user-org", "claim_name": "org_id"},
                        {"header_name": "x-user-scope", "claim_name": "scope"},
                    ],
                },
            },
            "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}],
        },
    })
}

fn access_control() -> Value {
    let scope = json!({
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "claims"}, {"key": "scope"}],
        "value": {"string_match": {"contains": SCOPE}},
    });
    let tenant = json!({
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "claims"}, {"key": "org_id"}],
        "value": {"string_match": {"prefix": "tenant-"}},
    });
    let metadata = "sourced_metadata";
    let source = |matcher: Value| json!({metadata: {"metadata_matcher": matcher, "metadata_source": "DYNAMIC"}});
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": kind("filters.http.rbac.v3.RBAC"),
            "rules": {
                "action": "ALLOW",
                "policies": {
                    "contacts": {
                        "permissions": [{"and_rules": {"rules": [
                            {"url_path": {"path": {"exact": PATH}}},
                            {"header": {"name": ":method", "string_match": {"exact": "POST"}}},
                        ]}}],
                        "principals": [{"and_ids": {"ids": [source(scope), source(tenant)]}}],
                    },
                },
            },
        },
    })
}

fn rate_limit() -> Value {
    let always = |runtime_key: &str| json!({"runtime_key": runtime_key, "default_value": {"numerator": 100}});
    json!({
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": kind("filters.http.local_ratelimit.v3.LocalRateLimit"),
            "stat_prefix": "limit",
            "token_bucket": {"max_tokens": 1_000_000_000, "tokens_per_fill": 1_000_000_000, "fill_interval": "60s"},
            "filter_enabled": always("limit_enabled"),
            "filter_enforced": always("limit_enforced"),
        },
    })
}

fn router() -> Value {
    json!({"name": "envoy.filters.http.router", "typed_config": {"@type": kind("filters.http.router.v3.Router")}})
}

fn kind(name: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{name}")
}

fn socket(address: SocketAddrV4) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
