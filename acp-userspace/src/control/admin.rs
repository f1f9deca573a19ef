//! The admin surfaces (THREATS A19): health and metrics, read-only, on loopback TCP; everything that changes state on
//! a Unix socket of mode 0600. `Host` is checked on TCP, so that a web page cannot reach it by DNS rebinding.

use std::fs::{File, Permissions};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, PoisonError};

use anyhow::Context;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::sync::{mpsc, oneshot};

use self::kernel::KernelCommand;
use super::audit_writer::TenantCount;
use super::metrics;
use super::status::Status;
use crate::server::Shared;

pub mod kernel;
pub mod program_log;

/// Clients of the admin socket that wait to be accepted: one operator's, at most a few at once.
const SOCKET_BACKLOG: i32 = 16;

/// What the admin socket asks the control thread to do.
#[derive(Debug)]
pub enum Command {
    /// Read the configuration again; answers with the new generation or every mistake.
    Reload(oneshot::Sender<Result<u64, String>>),
    /// Ask about the kernel plane.
    Kernel(KernelCommand),
    /// Drain and stop.
    Stop,
}

/// What both surfaces read.
#[derive(Debug, Clone)]
pub struct Surface {
    /// Shared with the workers.
    pub shared: Arc<Shared>,
    /// Kept by the control thread.
    pub status: Arc<Status>,
}

/// Starts the read-only surface.
///
/// # Errors
/// The address is not loopback or not free.
pub async fn serve_metrics(address: SocketAddr, surface: Surface) -> anyhow::Result<SocketAddr> {
    anyhow::ensure!(address.ip().is_loopback(), "admin.metrics: {address} is not a loopback address");
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("admin.metrics: cannot listen on {address}"))?;
    let bound = listener.local_addr()?;
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .layer(middleware::from_fn(local_host_only))
        .with_state(surface);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(bound)
}

/// Starts the state-changing surface on a Unix socket; a stale socket file is replaced.
///
/// # Errors
/// The directory is missing or not writable, or another gateway answers on the socket.
pub async fn serve_socket(path: &Path, surface: Surface, commands: mpsc::Sender<Command>) -> anyhow::Result<()> {
    if tokio::net::UnixStream::connect(path).await.is_ok() {
        anyhow::bail!("admin.socket: another gateway answers on {}", path.display());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("admin.socket: cannot replace {}", path.display()));
        }
        _ => {}
    }
    let listener = bind_private(path, Type::STREAM)
        .and_then(|socket| socket.listen(SOCKET_BACKLOG).map(|()| socket))
        .and_then(|socket| tokio::net::UnixListener::from_std(OwnedFd::from(socket).into()))
        .with_context(|| format!("admin.socket: cannot listen on {}", path.display()))?;
    let routes = Router::new()
        .route("/status", get(status))
        .route("/reload", post(reload))
        .route("/stop", post(stop))
        .route("/metrics", get(|State((surface, _)): Admin| metrics_text(State(surface))))
        .route("/tenants", get(tenants))
        .merge(kernel::routes())
        .merge(program_log::routes())
        .with_state((surface, commands));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(())
}

/// A socket that is the owner's alone from the moment it has a name.
///
/// Linux gives the file the mode that the socket has at bind(2) (`unix_bind_bsd` in net/unix/af_unix.c), so it is set
/// before: the process' umask, which other threads create files under, is left alone. Looked at before anybody can
/// connect, should a file system disagree.
pub(super) fn bind_private(path: &Path, kind: Type) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, kind.nonblocking(), None)?;
    let file = File::from(OwnedFd::from(socket));
    file.set_permissions(Permissions::from_mode(0o600))?;
    let socket = Socket::from(OwnedFd::from(file));
    socket.bind(&SockAddr::unix(path)?)?;
    if std::fs::symlink_metadata(path)?.permissions().mode() & 0o077 != 0 {
        return Err(std::io::Error::other("the file system gives others access to the socket"));
    }
    Ok(socket)
}

/// Refuses requests whose Host is not a loopback name or address.
async fn local_host_only(request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    if is_local(host) && request.headers().get(header::ORIGIN).is_none() {
        next.run(request).await
    } else {
        (StatusCode::FORBIDDEN, "local clients only\n").into_response()
    }
}

/// Whether a Host field (RFC 9110 §7.2: a name, an IPv4 address or an IPv6 address in brackets, and perhaps a port) names
/// this machine.
fn is_local(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((literal, port)) if literal.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback()) => ("localhost", port),
        Some(_) => return false,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    port && (name == "localhost" || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()))
}

/// The body of `/readyz` and `/status`.
#[derive(Debug, Serialize)]
struct Readiness {
    ready: bool,
    unready: Vec<&'static str>,
    degraded: Vec<&'static str>,
    kernel_tier: String,
    generation: u64,
}

fn readiness(surface: &Surface) -> Readiness {
    let unready = surface.status.unready(&surface.shared);
    Readiness {
        ready: unready.is_empty(),
        unready,
        degraded: surface.status.degraded(),
        kernel_tier: surface.status.tier_name(),
        generation: surface.shared.snapshot.load().generation,
    }
}

async fn readyz(State(surface): State<Surface>) -> impl IntoResponse {
    let readiness = readiness(&surface);
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

async fn metrics_text(State(surface): State<Surface>) -> impl IntoResponse {
    match metrics::text(&surface) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

type Admin = State<(Surface, mpsc::Sender<Command>)>;

async fn status(State((surface, _)): Admin) -> impl IntoResponse {
    Json(readiness(&surface))
}

async fn tenants(State((surface, _)): Admin) -> impl IntoResponse {
    let counts = surface.status.audit_tenants.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let row = |TenantCount { tenant, sent, refused }: &TenantCount| {
        let names = tenant.as_ref().map(|(tenant, issuer)| (&**tenant, &**issuer));
        serde_json::json!({
            "tenant": names.map(|names| names.0), "issuer": names.map(|names| names.1), "sent": sent, "refused": refused,
        })
    };
    Json(counts.iter().map(row).collect::<Vec<_>>())
}

async fn reload(State((_, commands)): Admin) -> Response {
    match ask(&commands, Command::Reload).await {
        Some(Ok(generation)) => Json(serde_json::json!({ "generation": generation })).into_response(),
        Some(Err(mistakes)) => (StatusCode::UNPROCESSABLE_ENTITY, mistakes).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn stop(State((_, commands)): Admin) -> StatusCode {
    if commands.send(Command::Stop).await.is_ok() { StatusCode::ACCEPTED } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// Sends a command and waits for its answer; `None` when the control thread is stopping.
async fn ask<T>(commands: &mpsc::Sender<Command>, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
    let (answer, answered) = oneshot::channel();
    commands.send(command(answer)).await.ok()?;
    answered.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threat_a19_the_socket_is_the_owners_alone_before_anybody_can_connect() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let _bound = bind_private(&path, Type::STREAM).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let refused = std::os::unix::net::UnixStream::connect(&path).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn threat_a19_only_hosts_that_name_this_machine_are_local() {
        for local in ["localhost", "localhost:9900", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:9900"] {
            assert!(is_local(local), "{local}");
        }
        for other in [
            "",
            ":",
            "a.test",
            "localhost.a.test",
            "localhost:x",
            "10.0.0.1",
            "::1",
            "[::2]",
            "[::1]x",
            "[127.0.0.1]",
            "[::1",
        ] {
            assert!(!is_local(other), "{other}");
        }
    }
}
