//! `acp dev mint`: a throwaway key and one token per user, for benchmarks and experiments with `jwks = "FILE"`.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use base64::Engine as _;
use serde_json::json;

use super::world::KEY_ID;
use crate::identity::dev::DevIssuer;

/// Make an RSA key and write DIR/jwks.json, DIR/public.pem and DIR/tokens.txt (a token a line, one per user).
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// `iss` of the tokens.
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// `aud` of the tokens.
    #[arg(long, value_name = "AUDIENCE")]
    audience: String,
    /// `scope` of the tokens.
    #[arg(long, value_name = "SCOPES", default_value = "tool:crm:read")]
    scope: String,
    /// Users; the n-th is `user-n`.
    #[arg(long, default_value_t = 1)]
    users: u32,
    /// Tenants, over which the users are spread: `tenant-n` in `org_id`.
    #[arg(long, default_value_t = 1)]
    tenants: u32,
    /// From now to `exp`: a number and a unit, such as `24h`.
    #[arg(long, default_value = "24h")]
    lifetime: jiff::SignedDuration,
    /// Where the files go; created if missing.
    #[arg(long, value_name = "DIR")]
    key_out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// No randomness, or the directory cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(args.users > 0 && args.tenants > 0, "--users and --tenants start at 1");
    anyhow::ensure!(args.lifetime.is_positive(), "--lifetime lies in the past");
    let key = DevIssuer::generate(KEY_ID).context("cannot make a key")?;
    let now = jiff::Timestamp::now().as_second();
    let mut tokens = String::new();
    for user in 0..args.users {
        tokens.push_str(&key.sign(&json!({
            "iss": args.issuer,
            "aud": args.audience,
            "sub": format!("user-{user}"),
            "org_id": format!("tenant-{}", user % args.tenants),
            "scope": args.scope,
            "iat": now,
            "exp": now + args.lifetime.as_secs(),
        }))?);
        tokens.push('\n');
    }
    fs::create_dir_all(&args.key_out).with_context(|| format!("cannot make {}", args.key_out.display()))?;
    for (name, text) in [("jwks.json", key.jwks()), ("public.pem", pem(&key.public_key_der()?)), ("tokens.txt", tokens)]
    {
        let path = args.key_out.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// SubjectPublicKeyInfo in PEM (RFC 7468), for peers that take no JWKS.
fn pem(der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}
