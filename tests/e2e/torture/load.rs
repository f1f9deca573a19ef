//! The clients: what they send, and what they were told before the gateway died under them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use super::Random;
use crate::client::{Client, bare, get, post};
use crate::site::token_with;
use crate::wait::let_pass;

/// An answer that came whole.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) id: String,
    pub(super) status: u16,
    /// Reason code; empty for an answer of the upstream's.
    pub(super) code: String,
}

/// Calls as this user until the gateway is gone or it is over.
pub(super) fn drive(gateway: SocketAddr, user: u64, mut random: Random, over: &AtomicBool) -> Vec<Told> {
    let token = token_with(|claims| {
        claims["sub"] = json!(format!("auth0|user-{user}"));
        claims["org_id"] = json!(format!("org-{}", user % 3));
    });
    let mut told = Vec::new();
    let mut client = None;
    for n in 0_u64.. {
        if over.load(Ordering::Acquire) {
            break;
        }
        let Some(mut connection) = client.take().or_else(|| Client::try_connect(gateway)) else { break };
        let request = request(&token, n, &mut random);
        if random.below(50) == 0 {
            // Hangs up on a call under way.
            connection.send(request);
            continue;
        }
        let Some(answer) = connection.try_ask(&request) else { continue };
        let mut code = String::new();
        if answer.status != 200 {
            code = answer.code();
            // Calls are what this is about; refusals are cheap, and would crowd them out.
            let_pass(Duration::from_millis(random.below(4)));
        }
        told.push(Told { id: answer.id(), status: answer.status, code });
        if answer.header("connection") != Some("close") {
            client = Some(connection);
        }
    }
    told
}

/// No two alike, for the loop guard's sake.
fn request(token: &str, n: u64, random: &mut Random) -> String {
    match random.below(100) {
        0..55 => get(&format!("/tools/crm/quick-{n}"), token),
        55..68 => get(&format!("/tools/crm/slow-{n}"), token),
        68..78 => get(&format!("/tools/crm/chunks-{n}"), token),
        78..80 => get(&format!("/tools/crm/large-{n}"), token),
        80..92 => post(&format!("/tools/crm/write-{n}"), token, r#"{"note":"feels better"}"#),
        92..97 => bare("DELETE", &format!("/tools/crm/none-{n}"), token),
        _ => get("/tools/crm/quick", &token[..token.len() - 8]),
    }
}
