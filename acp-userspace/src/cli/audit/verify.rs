//! `acp audit verify`.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use super::log::Log;
use super::{Common, Format, Output, open};
use crate::audit::chain::{Fault, FaultKind, Head};
use crate::audit::files;
use crate::audit::verify::{Report, Verifier, fingerprint, parse_head, parse_key};

/// Times a segment is read again when it ends within a batch: a gateway may be writing it.
const READ_AGAIN: u32 = 20;

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    common: Common,
    /// A signed head that was kept elsewhere (a copy of head.json, or a head line of the log), as a file or in base64.
    /// The log must contain what it states. Without it, the directory's own head.json is taken.
    #[arg(long, value_name = "FILE or BASE64")]
    head: Option<String>,
    /// The public key heads must be signed with, as a file or in base64. Without it, the directory's own signing.pub.
    #[arg(long, value_name = "FILE or BASE64")]
    key: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn run(args: &VerifyArgs, output: &mut Output<'_>) -> anyhow::Result<u8> {
    let log = open(&args.common)?;
    let key = key(args, &log)?;
    // Read before the segments are listed: what it states has been written by then.
    let head = head(args, &log, key.as_deref())?;
    let checked = check(&open(&args.common)?, key.clone(), head.clone())?;
    match (args.format, &checked) {
        (Format::Json, Ok(report)) => writeln!(output.out, "{}", json(report))?,
        (Format::Json, Err(fault)) => {
            let kind = fault.kind.to_string();
            let (segment, line) = (fault.segment, fault.line);
            writeln!(
                output.out,
                "{}",
                serde_json::json!({"ok": false, "segment": segment, "line": line, "fault": kind})
            )?;
        }
        (Format::Table, Ok(report)) => {
            let ok = output.paint("The log holds:", "allow");
            writeln!(output.out, "{ok} {}", describe(report, key.as_deref(), head.as_ref()))?;
        }
        (Format::Table, Err(fault)) => {
            let bad = output.paint("The log does not hold:", "deny");
            writeln!(output.out, "{bad} {fault}")?;
        }
    }
    Ok(u8::from(checked.is_err()))
}

fn check(log: &Log, key: Option<Vec<u8>>, head: Option<Head>) -> anyhow::Result<Result<Report, Fault>> {
    let mut verifier = Verifier::new(key, head);
    for &number in log.segments() {
        let mut attempt = 0;
        loop {
            let checked = verifier.segment(number, &log.read(number)?);
            attempt += 1;
            match checked {
                Ok(()) => break,
                Err(fault) if is_unfinished(&fault) && attempt < READ_AGAIN => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(fault) => return Ok(Err(fault)),
            }
        }
    }
    Ok(verifier.finish())
}

/// Whether a gateway in the middle of a write would look like this.
fn is_unfinished(fault: &Fault) -> bool {
    matches!(fault.kind, FaultKind::Trailing(_))
}

fn key(args: &VerifyArgs, log: &Log) -> anyhow::Result<Option<Vec<u8>>> {
    let text = match &args.key {
        Some(given) => Some(file_or_text(given)?),
        None => log.beside(files::PUBLIC)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    };
    text.map(|text| parse_key(&text).context("the public key is not 32 bytes of base64")).transpose()
}

fn head(args: &VerifyArgs, log: &Log, key: Option<&[u8]>) -> anyhow::Result<Option<Head>> {
    let (text, name) = match &args.head {
        Some(given) => (Some(file_or_text(given)?), "the given head"),
        None => (log.beside(files::HEAD)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()), files::HEAD),
    };
    let Some(text) = text else { return Ok(None) };
    let key = key.context("there is no public key to check the head with: give --key")?;
    let head =
        parse_head(&text, key).with_context(|| format!("{name} is no head signed with key {}", fingerprint(key)))?;
    Ok(Some(head))
}

fn file_or_text(given: &str) -> anyhow::Result<String> {
    if Path::new(given).exists() {
        return std::fs::read_to_string(given).with_context(|| format!("cannot read {given}"));
    }
    Ok(given.to_owned())
}

fn describe(report: &Report, key: Option<&[u8]>, head: Option<&Head>) -> String {
    let Report { segments, blocks, records, heads, signed_end, .. } = report;
    let key = key.map_or_else(String::new, |key| format!(", signed with key {}", fingerprint(key)));
    let wanted = head.map_or_else(String::new, |head| format!("; it contains the head of {}", head.time));
    let end = if *signed_end { "" } else { "; what was written since the last head is chained, not signed yet" };
    format!("{records} records in {blocks} blocks of {segments} segments, {heads} heads{key}{wanted}{end}")
}

fn json(report: &Report) -> serde_json::Value {
    serde_json::json!({
        "ok": true,
        "segments": report.segments,
        "blocks": report.blocks,
        "records": report.records,
        "heads": report.heads,
        "signed_end": report.signed_end,
    })
}
