//! The SSRF corpora: the URL check, and the address check behind it for names that resolve.

use super::tests::check;
use super::*;
use crate::corpora::{Level, Tally, Verdict, member as text, records};

const PUBLIC: Allowed<'_> = Allowed { private: &[], loopback: &[] };

/// What a name resolves to, where the corpus says or the name itself does (services that answer with the address in
/// the name); there is no resolver here.
fn resolved(name: &str) -> Option<IpAddr> {
    match name {
        // By its own documentation, and by the corpus: the metadata service of a cloud, at its link-local address.
        "metadata.packet.net" => Some(Ipv4Addr::new(169, 254, 169, 254).into()),
        _ => name.strip_suffix(".nip.io").and_then(|ip| ip.parse().ok()),
    }
}

/// The URL check, then the address check.
fn judged(url: &str) -> Result<(), UrlError> {
    let parts = check(url)?;
    if let Host::Name(name) = parts.host
        && let Some(ip) = resolved(name)
    {
        AddressGuard::default().check(PUBLIC, SocketAddr::new(ip, parts.port))?;
    }
    Ok(())
}

#[track_caller]
fn run(file: &'static str) {
    let Some(records) = records(file) else { return };
    let mut tally = Tally::new("guard", file);
    for record in &records {
        let url = text(record, "url");
        let judged = judged(url);
        let (level, wanted) = match text(record, "expect") {
            "block" | "block-if-resolved" => (Level::Must, false),
            "allow" => (Level::Other, true),
            other => panic!("{other}"),
        };
        let verdict = Verdict::of(judged.is_ok() == wanted, || format!("{judged:?}"));
        tally.judge(&url.escape_default().to_string(), level, verdict);
    }
    tally.finish();
}

#[test]
fn special_addresses() {
    run("ssrf/special_addresses.jsonl");
}

#[test]
fn filter_unit_tests() {
    run("ssrf/filter_unit_tests.jsonl");
}

#[test]
fn payloads_all_the_things() {
    run("ssrf/payloads_all_the_things.jsonl");
}

#[test]
fn ssrfcheck_lists() {
    run("ssrf/ssrfcheck_lists.jsonl");
}

/// The host that is checked is the host other parsers see.
#[test]
fn wpt_url_parsing() {
    const FILE: &str = "ssrf/wpt_url_parsing.jsonl";
    let Some(records) = records(FILE) else { return };
    let mut tally = Tally::new("guard", FILE);
    for record in &records {
        let input = text(record, "input");
        let verdict = match check(input) {
            Err(_) if record["failure"] == false => Verdict::NotApplicable("only lenient parsers take it: refused"),
            Err(_) => Verdict::Pass,
            Ok(parts) => {
                let host = shown(parts.host);
                Verdict::of(record["failure"] == false && text(record, "hostname") == host, || host.clone())
            }
        };
        tally.judge(&input.escape_default().to_string(), Level::Must, verdict);
    }
    tally.finish();
}

fn shown(host: Host<'_>) -> String {
    match host {
        Host::Name(name) => name.to_ascii_lowercase(),
        Host::Address(address) => match address.get() {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => format!("[{}]", address.ip()),
        },
    }
}
