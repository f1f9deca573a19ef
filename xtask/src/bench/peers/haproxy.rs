//! HAProxy: `haproxy-plain` passes everything on; `haproxy-jwt` verifies an RS256 token per request (it has no cache of
//! verified tokens), checks its claims, limits each user and tenant by stick tables and sends identity headers.

use std::net::SocketAddrV4;
use std::process::Command;

use anyhow::Result;

use super::super::keys::{AUDIENCE, ISSUER, SCOPE, USERS};
use super::super::lab::Lab;
use super::super::server::{Server, free_address};

/// Starts the row `haproxy-plain`.
///
/// # Errors
/// When HAProxy is missing or does not start.
pub(in crate::bench) fn start_plain(lab: &Lab, backend: SocketAddrV4) -> Result<(Server, SocketAddrV4)> {
    start(lab, "haproxy-plain", backend, "", "")
}

/// Starts the row `haproxy-jwt`.
///
/// # Errors
/// When HAProxy is missing or does not start.
pub(in crate::bench) fn start_jwt(lab: &Lab, backend: SocketAddrV4) -> Result<(Server, SocketAddrV4)> {
    let rules = rules(&lab.keys.public_pem().display().to_string());
    let tables = format!(
        "backend users\n  stick-table type string len 64 size {} expire 2m store http_req_rate(1m)\n\
         backend tenants\n  stick-table type string len 64 size 1024 expire 2m store http_req_rate(1m)\n",
        USERS * 2
    );
    start(lab, "haproxy-jwt", backend, &rules, &tables)
}

fn start(lab: &Lab, name: &str, backend: SocketAddrV4, rules: &str, tables: &str) -> Result<(Server, SocketAddrV4)> {
    let address = free_address()?;
    let workers = lab.workers;
    let config = format!(
        "global\n  nbthread {workers}\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 300s\n  timeout server 300s\n  http-reuse always\n\
         frontend in\n  bind {address}\n{rules}  default_backend out\n\
         backend out\n  server backend {backend} pool-max-conn -1 pool-purge-delay 300s\n{tables}"
    );
    let binary = lab.peers.haproxy()?;
    let server = super::start_listening(lab, name, "haproxy.cfg", &config, address, |file| {
        let mut command = Command::new(binary);
        command.args(["-db", "-f"]).arg(file);
        command
    })?;
    Ok((server, address))
}

/// The checks of `haproxy-jwt`, cheapest first so that nothing is verified in vain.
fn rules(public_key: &str) -> String {
    format!(
        "  http-request set-var(txn.token) http_auth_bearer
  http-request deny deny_status 401 unless {{ var(txn.token) -m found }}
  http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')
  http-request set-var(txn.iss) var(txn.token),jwt_payload_query('$.iss')
  http-request set-var(txn.aud) var(txn.token),jwt_payload_query('$.aud')
  http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
  http-request set-var(txn.sub) var(txn.token),jwt_payload_query('$.sub')
  http-request set-var(txn.org) var(txn.token),jwt_payload_query('$.org_id')
  http-request set-var(txn.scope) var(txn.token),jwt_payload_query('$.scope')
  http-request set-var(txn.now) date()
  http-request deny deny_status 401 unless {{ var(txn.alg) -m str RS256 }}
  http-request deny deny_status 401 unless {{ var(txn.iss) -m str {ISSUER} }}
  http-request deny deny_status 401 unless {{ var(txn.aud) -m str {AUDIENCE} }}
  http-request deny deny_status 401 if {{ var(txn.exp),sub(txn.now) -m int lt 1 }}
  http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(txn.alg,\"{public_key}\") 1 }}
  http-request deny deny_status 403 unless {{ var(txn.scope) -m sub {SCOPE} }}
  http-request track-sc0 var(txn.sub) table users
  http-request track-sc1 var(txn.org) table tenants
  http-request deny deny_status 429 if {{ sc0_http_req_rate(users) gt 100000000 }}
  http-request deny deny_status 429 if {{ sc1_http_req_rate(tenants) gt 100000000 }}
  http-request del-header authorization
  http-request set-header x-user-uid %[var(txn.sub)]
  http-request set-header x-user-org %[var(txn.org)]
  http-request set-header x-user-scope {SCOPE}
  http-request set-header x-request-id %[uuid()]
"
    )
}
