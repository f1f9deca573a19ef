//! The world around `acp dev`: a throwaway OIDC issuer and a small CRM, both on loopback.
//!
//! The CRM answers with what it received, so that a caller sees what the gateway sends on: the identity headers, and
//! the body after redaction.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::identity::dev::DevIssuer;

/// Key id of the throwaway key.
pub(super) const KEY_ID: &str = "acp-dev";

/// An issuer and a CRM: their sockets are open, [`World::serve`] answers on them.
#[derive(Debug)]
pub(super) struct World {
    /// The issuer's URL, as tokens name it.
    pub issuer: String,
    /// Where the CRM listens.
    pub backend: SocketAddr,
    /// Signs tokens.
    pub key: DevIssuer,
    sockets: [std::net::TcpListener; 2],
}

impl World {
    /// Makes a key and opens both sockets on ports of the kernel's choice. Starts no thread: the gateway drops its
    /// privileges before there is a second one.
    ///
    /// # Errors
    /// No key, no port.
    pub(super) fn open() -> anyhow::Result<Self> {
        let key = DevIssuer::generate(KEY_ID).context("cannot make the throwaway key")?;
        let sockets = [bind()?, bind()?];
        let issuer = format!("http://{}/", sockets[0].local_addr()?);
        let backend = sockets[1].local_addr()?;
        Ok(Self { issuer, backend, key, sockets })
    }

    /// Serves both on a thread that ends with the process.
    ///
    /// # Errors
    /// No thread to be had.
    pub(super) fn serve(&self) -> anyhow::Result<()> {
        let documents = Documents {
            discovery: DevIssuer::discovery(&self.issuer, &format!("{}jwks.json", self.issuer)),
            jwks: self.key.jwks(),
        };
        let [issuer, crm] = [self.sockets[0].try_clone()?, self.sockets[1].try_clone()?];
        std::thread::Builder::new().name("acp-dev-world".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let issuer = axum::serve(tokio::net::TcpListener::from_std(issuer)?, issuer_routes(documents));
                let crm = axum::serve(tokio::net::TcpListener::from_std(crm)?, crm_routes());
                tokio::try_join!(issuer.into_future(), crm.into_future())
            })
        })?;
        Ok(())
    }
}

fn bind() -> anyhow::Result<std::net::TcpListener> {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").context("no free port on 127.0.0.1")?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

struct Documents {
    discovery: String,
    jwks: String,
}

fn issuer_routes(documents: Documents) -> Router {
    let documents = Arc::new(documents);
    Router::new()
        .route(
            "/.well-known/openid-configuration",
            get(|State(d): State<Arc<Documents>>| async move { json_text(d.discovery.clone()) }),
        )
        .route("/jwks.json", get(|State(d): State<Arc<Documents>>| async move { json_text(d.jwks.clone()) }))
        .with_state(documents)
}

fn json_text(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text)
}

fn crm_routes() -> Router {
    Router::new()
        .route("/contacts", post(received))
        .route("/patients/{id}", get(received))
        .route("/report", post(received))
        .fallback(|uri: Uri| async move { (StatusCode::NOT_FOUND, format!("the CRM has no {}\n", uri.path())) })
}

/// Answers with the request: method, path, the headers that say who asks, and the body.
async fn received(method: axum::http::Method, uri: Uri, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let text = |value: &header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let who: serde_json::Map<String, Value> = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-") || *name == header::AUTHORIZATION)
        .map(|(name, value)| (name.to_string(), Value::String(text(value))))
        .collect();
    let body = serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
    let answer = json!({ "backend_received": {
        "request": format!("{method} {}", uri.path()),
        "headers": who,
        "body": body,
    }});
    json_text(format!("{answer}\n"))
}
