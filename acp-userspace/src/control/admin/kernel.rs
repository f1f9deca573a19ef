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

use super::program_log::LogRequest;
use super::{Admin, Command, Surface, ask};
use crate::control::confine::RefusedRow;
use crate::control::kernel::{ConnectionRow, PenaltyRow, SourceRow};
use crate::control::program_log;
use crate::control::quarantine::QuarantineRow;

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
    /// Freeze a tenant for so long; zero lifts it, and answers whether there was one.
    Quarantine(QuarantineRequest, oneshot::Sender<Result<bool, String>>),
    /// The quarantines in force.
    Quarantines(oneshot::Sender<Vec<QuarantineRow>>),
    /// What the programs said: the last lines, at most so many, from this number on.
    Log(u64, usize, oneshot::Sender<program_log::Answer>),
    /// Have the programs say something for so long.
    SetLog(LogRequest, oneshot::Sender<Result<(), String>>),
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
        .route("/kernel/quarantine", get(quarantines).post(quarantine))
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

/// What is asked of a quarantine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuarantineRequest {
    /// The tenant's name.
    pub tenant: String,
    /// The issuer entry's name; needed where there are several.
    pub issuer: Option<String>,
    /// For how long; 0 = lift it.
    pub seconds: u64,
}

async fn quarantine(State((_, commands)): Admin, Json(request): Json<QuarantineRequest>) -> Response {
    match ask(&commands, |answer| Command::Kernel(KernelCommand::Quarantine(request, answer))).await {
        Some(Ok(true)) => StatusCode::NO_CONTENT.into_response(),
        Some(Ok(false)) => (StatusCode::NOT_FOUND, "that tenant is not in quarantine\n").into_response(),
        Some(Err(why)) => (StatusCode::UNPROCESSABLE_ENTITY, why).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn quarantines(State((_, commands)): Admin) -> Response {
    let rows = ask(&commands, |answer| Command::Kernel(KernelCommand::Quarantines(answer))).await;
    answer(rows, |QuarantineRow { tenant, seconds_left, in_kernel }| {
        json!({
            "tenant": &*tenant.tenant,
            "issuer": &*tenant.issuer,
            "seconds_left": seconds_left,
            "dropped_by": in_kernel.then_some("kernel"),
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
