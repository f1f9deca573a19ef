//! The kernel plane on the admin socket: penalties, sources, pardons.

use std::net::IpAddr;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use super::{Admin, Command, Surface, ask};
use crate::control::confine::RefusedRow;
use crate::control::kernel::{ConnectionRow, PenaltyRow, SourceRow};

/// Sources that are listed unless another number is asked for.
const SOURCES_DEFAULT: usize = 1_000;

const SECOND_NS: u64 = 1_000_000_000;

/// What the control thread is asked about the kernel plane.
#[derive(Debug)]
pub enum KernelCommand {
    /// Lift a penalty; answers whether there was one.
    Pardon(IpAddr, oneshot::Sender<bool>),
    /// The penalties in force.
    Penalties(oneshot::Sender<Vec<PenaltyRow>>),
    /// The sources that verified last, at most so many.
    Sources(usize, oneshot::Sender<Vec<SourceRow>>),
    /// The open connections.
    Connections(oneshot::Sender<Vec<ConnectionRow>>),
    /// What `acp confine` reports; answers how many of the rows, from the first on, are in the log's queue.
    Refused(Vec<RefusedRow>, oneshot::Sender<usize>),
}

/// Its routes.
pub(super) fn routes() -> Router<(Surface, mpsc::Sender<Command>)> {
    Router::new()
        .route("/kernel/penalties", get(penalties))
        .route("/kernel/sources", get(sources))
        .route("/kernel/connections", get(connections))
        .route("/kernel/pardon", post(pardon))
        .route("/kernel/refused", post(refused))
}

async fn penalties(State((_, commands)): Admin) -> Response {
    let rows = ask(&commands, |answer| Command::Kernel(KernelCommand::Penalties(answer))).await;
    answer(rows, |row| {
        let PenaltyRow { source, step, seconds_left, open_max } = row;
        json!({ "source": source, "step": step, "seconds_left": seconds_left, "open_max": open_max })
    })
}

#[derive(Debug, Deserialize)]
struct SourcesRequest {
    max: Option<usize>,
}

async fn sources(State((_, commands)): Admin, Query(request): Query<SourcesRequest>) -> Response {
    let max = request.max.unwrap_or(SOURCES_DEFAULT);
    let rows = ask(&commands, |answer| Command::Kernel(KernelCommand::Sources(max, answer))).await;
    answer(rows, |SourceRow { row, declared }| {
        json!({
            "source": row.source.ip(),
            "class": row.class.name(),
            "several_tenants": row.tenants,
            "declared": declared,
            "connections": row.connections,
            "alone_seconds": row.alone_ns / SECOND_NS,
            "seen_seconds_ago": row.seen_ns / SECOND_NS,
            "shared_seconds_left": row.shared_for_ns.div_ceil(SECOND_NS),
        })
    })
}

async fn connections(State((_, commands)): Admin) -> Response {
    let rows = ask(&commands, |answer| Command::Kernel(KernelCommand::Connections(answer))).await;
    answer(rows, |ConnectionRow { live, tenant }| {
        json!({
            "cookie": live.cookie,
            "peer": live.peer,
            "tenant": if live.mixed { Some("mixed") } else { tenant.as_ref().map(|tenant| &*tenant.tenant) },
            "issuer": tenant.as_ref().filter(|_| !live.mixed).map(|tenant| &*tenant.issuer),
            "age_seconds": live.age_ns / SECOND_NS,
            "bytes_in": live.bytes_in,
            "bytes_out": live.bytes_out,
            "retransmits": live.retrans,
            "rtt_us": live.srtt_us,
        })
    })
}

async fn refused(State((_, commands)): Admin, Json(rows): Json<Vec<RefusedRow>>) -> Response {
    match ask(&commands, |answer| Command::Kernel(KernelCommand::Refused(rows, answer))).await {
        Some(taken) => Json(json!({ "taken": taken })).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn answer<T>(rows: Option<Vec<T>>, json: impl Fn(T) -> serde_json::Value) -> Response {
    match rows {
        Some(rows) => Json(rows.into_iter().map(json).collect::<Vec<_>>()).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

#[derive(Debug, Deserialize)]
struct PardonRequest {
    source: IpAddr,
}

async fn pardon(State((_, commands)): Admin, Json(request): Json<PardonRequest>) -> Response {
    match ask(&commands, |answer| Command::Kernel(KernelCommand::Pardon(request.source, answer))).await {
        Some(true) => StatusCode::NO_CONTENT.into_response(),
        Some(false) => (StatusCode::NOT_FOUND, "no penalty on that source\n").into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}
