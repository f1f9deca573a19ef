//! What becomes of content, through the real gateway: every action in both directions with its record, tokens there and
//! back, and a canary that must come out nowhere.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::backend::{Backend, Then, json as answer_json, raw};
use crate::client::{Answer, get, post};
use crate::site::{Extra, Gateway, Site, crm, ruled, token_for, token_with, write_key};

const SSN: &str = "536-22-1894";
const EMAIL: &str = "canary.q7x9@leak-zz.example";
/// A token as GitHub makes them, its checksum included.
const SECRET: &str = "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";
const ACTIONS: [&str; 6] = ["redact", "mask", "tokenize", "pseudonymize", "flag", "block"];

/// A tool for each action and direction, and the rule that is for it alone.
fn sections(backend: &Backend) -> String {
    let mut sections = crm(backend);
    let mut rules = String::new();
    for (action, direction) in ACTIONS.into_iter().flat_map(|action| [(action, "request"), (action, "response")]) {
        sections += &format!(
            r#"
[[route.tool]]
name = "crm/{action}-{direction}"
match = {{ method = "POST", path = "{action}-{direction}" }}
verb = "read"
"#
        );
        rules += &format!(
            r#"
[[safety.rule]]
id = "{action}-{direction}"
detect = ["us_ssn", "email", "secrets"]
action = "{action}"
direction = "{direction}"
tools = ["crm/{action}-{direction}"]
"#
        );
    }
    format!("{rules}\n[[safety.tokens.key]]\nid = \"k1\"\nfile = \"{{dir}}/token.key\"\n{sections}")
}

/// Personal data and a secret, where people put them.
fn content() -> Value {
    json!({"customer": {"ssn": SSN, "mail": EMAIL}, "note": format!("use {SECRET}")})
}

/// The content in a body, wherever it ended up; `None` if the answer is a refusal.
#[track_caller]
fn parts(body: &[u8]) -> [String; 3] {
    let body: Value = serde_json::from_slice(body).expect("JSON");
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).expect(pointer).to_owned();
    [text("/customer/ssn"), text("/customer/mail"), text("/note")]
}

#[track_caller]
fn check_parts(action: &str, [ssn, mail, note]: [String; 3]) {
    match action {
        "flag" => assert_eq!([&*ssn, &*mail, &*note], [SSN, EMAIL, &format!("use {SECRET}")]),
        "redact" => {
            assert_eq!([&*ssn, &*mail, &*note], ["[REDACTED:US_SSN]", "[REDACTED:EMAIL]", "use [REDACTED:SECRET]"])
        }
        "mask" => {
            assert_eq!(ssn, "*******1894");
            assert!(mail.ends_with("*mple") && note.ends_with("*INUx"), "{mail} {note}");
        }
        "tokenize" => {
            let tokens = ["acptok.us_ssn.k1.", "acptok.email.k1.", "use acptok.github_token.k1."];
            for (text, begins) in [ssn, mail, note].iter().zip(tokens) {
                assert!(text.starts_with(begins), "{text}");
            }
        }
        "pseudonymize" => {
            assert!(ssn.len() == SSN.len() && ssn != SSN && &ssn[3..4] == "-", "{ssn}");
            assert!(mail.len() == EMAIL.len() && mail != EMAIL && mail.contains('@'), "{mail}");
            assert!(note.len() == SECRET.len() + 4 && !note.contains(SECRET), "{note}");
        }
        other => panic!("{other} lets nothing pass"),
    }
}

/// The record says what was found, how sure that is, where, and what became of it.
#[track_caller]
fn check_record(record: &Value, findings: &str, action: &str, score: &str) {
    let found: Vec<_> = record[findings].as_array().expect(findings).iter().collect();
    let all: Vec<_> = found.iter().map(|one| (&one["type"], &one["action"])).collect();
    let expected = ["us_ssn", "email", "github_token"].map(|kind| (json!(kind), json!(action)));
    assert!(all.iter().copied().eq(expected.iter().map(|(kind, action)| (kind, action))), "{record}");
    let places: Vec<_> = found.iter().map(|one| &one["at"][0]).collect();
    assert_eq!(places, ["#/customer/ssn", "#/customer/mail", "#/note"], "{record}");
    assert!(found.iter().all(|one| one["count"] == 1 && one["confidence"].as_u64() >= Some(70)), "{record}");
    assert!(record[score].as_u64() >= Some(95), "{record}");
}

#[test]
fn each_action_does_what_it_says_in_both_directions_and_the_record_says_so() {
    let backend = Backend::start(|request, stream| {
        let body = if request.line.contains("-response") { content().to_string() } else { "{}".to_owned() };
        answer_json(stream, &body)
    });
    let sections = sections(&backend);
    let site = Site::new(&Extra { sections: &sections, ..Extra::default() });
    write_key(&site, "token.key", "0a");
    let gateway = site.start();
    let token = token_for("auth0|alice", "tool:crm:read");
    for action in ACTIONS {
        let before = backend.received().len();
        let answer = gateway.ask(post(&format!("/tools/crm/{action}-request"), &token, &content().to_string()));
        let record = site.record(&answer.id());
        check_record(&record, "findings", action, "score");
        if action == "block" {
            assert_eq!((answer.code().as_str(), &record["rule"]), ("content_blocked", &json!("block-request")));
            assert_eq!(backend.received().len(), before, "it never went upstream");
        } else {
            assert_eq!(answer.status, 200, "{action}: {answer:?}");
            check_parts(action, parts(backend.received().last().expect("a request").body.as_bytes()));
        }

        let answer = gateway.ask(post(&format!("/tools/crm/{action}-response"), &token, "{}"));
        let record = site.record(&answer.id());
        check_record(&record, "response_findings", action, "response_score");
        if action == "block" {
            assert_eq!((answer.code().as_str(), &record["reason"]), ("content_blocked", &json!("content_blocked")));
        } else {
            assert_eq!(answer.status, 200, "{action}: {answer:?}");
            check_parts(action, parts(&answer.body));
        }
    }
    gateway.stop();
}

/// A model that sees tokens, a destination that gets the value, and the same again after a restart.
#[test]
fn threat_a26_a_value_crosses_the_model_as_a_token() {
    let backend = Backend::start(|request, stream| {
        let reads = request.line.contains("/read ");
        let body = if reads { json!({"ssn": SSN}).to_string() } else { request.body.clone() };
        answer_json(stream, &body)
    });
    let rules = r#"
[[safety.rule]]
detect = ["us_ssn"]
action = "tokenize"
[[safety.tokens.key]]
id = "k1"
file = "{dir}/token.key"
[[safety.detokenize]]
detect = ["us_ssn"]
tools = ["crm/write"]
pointers = ["/patient/ssn"]
roles = ["billing"]
"#;
    let tools: String = ["read", "write"]
        .map(|name| {
            let tool =
                format!("name = \"crm/{name}\"\nmatch = {{ method = \"POST\", path = \"{name}\" }}\nverb = \"read\"");
            format!("\n[[route.tool]]\n{tool}\n")
        })
        .concat();
    let sections = [rules, &crm(&backend), &tools].concat();
    let site = Site::new(&Extra { sections: &sections, ..Extra::default() });
    write_key(&site, "token.key", "0a");
    let of = |tenant: &str, roles: &[&str]| {
        token_with(|claims| (claims["org_id"], claims["roles"]) = (json!(tenant), json!(roles)))
    };
    let (billing, sales, other) = (of("acme", &["billing"]), of("acme", &[]), of("globex", &["billing"]));

    let gateway = site.start();
    let read = |gateway: &Gateway, caller: &str| {
        let answer = gateway.ask(post("/tools/crm/read", caller, "{}"));
        answer.json()["ssn"].as_str().expect("a text").to_owned()
    };
    let token = read(&gateway, &billing);
    assert!(token.starts_with("acptok.us_ssn.k1.") && !token.contains("1894"), "{token}");
    assert_ne!(read(&gateway, &other), token, "each tenant has its own");
    gateway.stop();

    let gateway = site.start();
    assert_eq!(read(&gateway, &sales), token, "the same after a restart, for whoever of the tenant asks");
    let body = json!({"patient": {"ssn": token}, "note": token}).to_string();
    let write = |caller: &str| gateway.ask(post("/tools/crm/write", caller, &body));
    let last = || serde_json::from_str::<Value>(&backend.received().last().expect("a request").body).expect("JSON");

    let answer = write(&billing);
    assert_eq!(
        last(),
        json!({"patient": {"ssn": SSN}, "note": token}),
        "the value at the pointer, the token elsewhere"
    );
    assert_eq!(answer.json(), json!({"patient": {"ssn": token}, "note": token}), "the echo is tokens again");
    let record = site.record(&answer.id());
    let finding =
        json!({"type": "us_ssn", "count": 1, "confidence": 100, "action": "detokenize", "at": ["#/patient/ssn"]});
    assert_eq!(record["findings"], json!([finding]), "{record}");

    assert_eq!(write(&sales).status, 200);
    assert_eq!(last(), json!({"patient": {"ssn": token}, "note": token}), "without the role, tokens");
    let before = backend.received().len();
    let refused = write(&other);
    assert_eq!(refused.code(), "content_blocked");
    assert_eq!(site.record(&refused.id())["rule"], "safety.tokens");
    assert_eq!(backend.received().len(), before, "another tenant's token goes nowhere");
    gateway.stop();
}

#[test]
fn a_key_that_is_missing_or_open_to_strangers_keeps_it_from_starting() {
    let backend = Backend::plain();
    let sections = sections(&backend);
    let site = Site::new(&Extra { sections: &sections, ..Extra::default() });
    let refused = |words: &str| {
        let said = site.acp(&["check"], "--config", "acp.toml");
        assert!(said.code != Some(0) && said.stderr.contains(words), "{words:?} in {}", said.stderr);
        let mut process = site.spawn();
        assert!(!process.ended().success(), "it does not run either");
    };
    refused("cannot read");
    write_key(&site, "token.key", "0g");
    refused("names a file that holds no key");
    write_key(&site, "token.key", "0a");
    fs::set_permissions(site.path("token.key"), fs::Permissions::from_mode(0o604)).expect("the file is ours");
    refused("holds a secret that anybody can read");
}

/// Every file below a directory.
fn files(dir: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            files(&entry, all);
        } else if entry.is_file() {
            all.push((entry.display().to_string(), fs::read(&entry).unwrap_or_default()));
        }
    }
}

/// Canaries in every position that a caller or an upstream can write to, under every action; then every output.
#[test]
fn threat_a16_canaries_come_out_nowhere() {
    let backend = Backend::start(|request, stream| match request.line.contains("-response") {
        true => answer_json(stream, &json!({"customer": {SSN: 1, EMAIL: 2}, "note": SECRET}).to_string()),
        false if request.line.contains("/flag-request?broken") => {
            raw(
                stream,
                format!("HTTP/1.1 200 {SSN}\r\nX-{SECRET}: {EMAIL}\r\nContent-Type: text/{EMAIL}\r\n\r\n{SSN}"),
            );
            Then::Close
        }
        false => answer_json(stream, "{}"),
    });
    let sections = sections(&backend);
    let site = Site::new(&Extra { sections: &sections, ..Extra::default() });
    write_key(&site, "token.key", "0a");
    let gateway = site.start();
    let token = token_for("auth0|alice", "tool:crm:read");
    let bodies = [
        content().to_string(),
        json!({SSN: {"x": EMAIL}, EMAIL: [SSN], SECRET: SECRET}).to_string(),
        format!(r#"{{"a":"\u0035{}","b":{}}}"#, &SSN[1..], SSN.replace('-', "")),
        format!("{{\"broken\": {SSN} {EMAIL} {SECRET}"),
    ];
    let mut refusals: Vec<Answer> = Vec::new();
    let mut ask = |request: String| {
        let answer = gateway.ask(request);
        if answer.status != 200 {
            refusals.push(answer);
        }
    };
    for action in ACTIONS {
        for body in &bodies {
            ask(post(&format!("/tools/crm/{action}-request"), &token, body));
            let noisy = post(&format!("/tools/crm/{action}-request"), &token, body);
            ask(noisy.replace("Host: gateway", &format!("Host: gateway\r\nX-Note: {SSN} {EMAIL} {SECRET}")));
        }
        for canary in [SSN, EMAIL, SECRET] {
            ask(post(&format!("/tools/crm/{action}-request?q={canary}"), &token, "{}"));
            ask(post(&format!("/tools/crm/{action}-request/{canary}"), &token, "{}"));
            ask(post(&format!("/tools/{canary}"), &token, "{}"));
            ask(post(&format!("/tools/crm/{action}-response"), &token, "{}"));
            ask(post(&format!("/tools/crm/{action}-request"), canary, "{}"));
            ask(get(&format!("/tools/crm/{canary}"), &token));
        }
    }
    ask(post("/tools/crm/flag-request?broken", &token, "{}"));

    let mut outputs = vec![
        ("metrics".to_owned(), gateway.admin("/metrics").body),
        ("readyz".to_owned(), gateway.admin("/readyz").body),
    ];
    outputs.extend(
        refusals.into_iter().map(|answer| (answer.head.clone(), [answer.head.as_bytes(), &answer.body].concat())),
    );
    let log = gateway.process.stderr.text();
    outputs.push(("the gateway's log".to_owned(), log.into_bytes()));
    gateway.stop();
    let records = site.query(&["--format", "json"]);
    for seen in
        ["\"at\":[\"#/customer/ssn\"", "\"at\":[\"#/*\"", "\"at\":[\"query\"]", "\"asked\":\"flag-request/#########\""]
    {
        assert!(records.contains(seen), "{seen} in {records}");
    }
    outputs.push(("the query".to_owned(), records.into_bytes()));
    outputs.push(("the table".to_owned(), site.query(&[]).into_bytes()));
    files(&site.path("."), &mut outputs);
    assert!(
        outputs.iter().filter(|(name, bytes)| name.contains("/audit/") && !bytes.is_empty()).count() >= 3,
        "rings, segments, keys"
    );
    let digits = SSN.replace('-', "");
    for (name, bytes) in outputs.iter().filter(|(name, _)| !name.ends_with("acp.toml")) {
        for canary in [SSN, &digits, EMAIL, SECRET] {
            let found = memchr::memmem::find(bytes, canary.as_bytes());
            let around =
                found.map(|at| String::from_utf8_lossy(&bytes[at.saturating_sub(200)..bytes.len().min(at + 60)]));
            assert_eq!(around, None, "{canary} in {name}");
        }
    }
}

#[test]
fn a_number_that_became_text_is_recorded_and_findings_are_counted() {
    let backend = Backend::start(|_, stream| answer_json(stream, "{\"cards\":[4111111111111111,5500005555555559]}"));
    let sections = ruled(&backend, "detect = [\"credit_card\"]\naction = \"mask\"", "");
    let site = Site::new(&Extra { sections: &sections, ..Extra::default() });
    let gateway = site.start();
    let body = "{\"card\":4111111111111111,\"text\":\"4111111111111111\"}";
    let answer = gateway.ask(post("/tools/crm/1", &token_for("auth0|alice", "tool:crm:read"), body));
    let received = backend.received().pop().expect("a request");
    assert_eq!(received.body, "{\"card\":\"************1111\",\"text\":\"************1111\"}");
    assert_eq!(answer.body, b"{\"cards\":[\"************1111\",\"************5559\"]}");
    let record = site.record(&answer.id());
    assert_eq!((&record["numbers_to_text"], &record["response_numbers_to_text"]), (&json!(1), &json!(2)), "{record:#}");
    let metrics = String::from_utf8(gateway.admin("/metrics").body).expect("text");
    for direction in ["request", "response"] {
        let series = format!(
            "acp_content_findings_total{{type=\"credit_card\",action=\"mask\",direction=\"{direction}\",mode=\"enforce\"}} 2"
        );
        assert!(metrics.contains(&series), "{series} in {metrics}");
    }
    gateway.stop();
}

/// A picture in a body, either way: passed and recorded where a rule looks for something else, refused where one says so.
#[test]
fn threat_a14_media_in_a_body_is_recorded_or_blocked() {
    const PICTURE: &str =
        r#"{"image":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"}"#;
    let backend = Backend::start(|request, stream| {
        answer_json(stream, if request.line.contains("/draw") { PICTURE } else { "{}" })
    });
    let token = token_for("auth0|alice", "tool:crm:read");
    for (detect, blocks) in [("email", false), ("unscannable_media", true)] {
        let rule = format!("detect = [\"{detect}\"]\naction = \"block\"");
        let site = Site::new(&Extra { sections: &ruled(&backend, &rule, ""), ..Extra::default() });
        let gateway = site.start();
        let asked = gateway.ask(post("/tools/crm/1", &token, PICTURE));
        let drawn = gateway.ask(post("/tools/crm/draw", &token, "{}"));
        for (answer, way) in [(&asked, "findings"), (&drawn, "response_findings")] {
            let record = site.record(&answer.id());
            assert_eq!(answer.status == 200, !blocks, "{record:#}");
            let (found, action) = (&record[way][0], if blocks { "block" } else { "flag" });
            assert_eq!((&found["type"], &found["action"]), (&json!("unscannable_media"), &json!(action)), "{record:#}");
        }
        if !blocks {
            assert_eq!(drawn.body, PICTURE.as_bytes());
            assert!(backend.received().iter().any(|request| request.body == PICTURE), "passed as it is");
        }
        gateway.stop();
    }
}

/// What rules have to see and cannot is refused; where the route says so it passes, and the record says that.
#[test]
fn a_route_may_fail_open_and_every_pass_is_audited() {
    let backend = Backend::start(|request, stream| {
        let kind = if request.line.contains("/image") { "image/png" } else { "application/json" };
        raw(stream, format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: 2\r\n\r\n{{}}"));
        Then::Keep
    });
    let full = json!({ "list": vec!["a@b.co"; 8_193] }).to_string();
    for open in [false, true] {
        let route = if open { "fail = \"open\"" } else { "" };
        let sections = ruled(&backend, "detect = [\"email\"]\naction = \"redact\"", route);
        let site = Site::new(&Extra { sections: &sections, ..Extra::default() });
        let gateway = site.start();
        let token = token_for("auth0|alice", "tool:crm:read");
        let answer = gateway.ask(post("/tools/crm/1", &token, &full));
        let record = site.record(&answer.id());
        if open {
            assert_eq!((answer.status, &record["unscreened"]), (200, &json!("scanner_failed")), "{record:#}");
            assert_eq!(backend.received().pop().expect("a request").body, full, "as it came");
        } else {
            assert_eq!(answer.code(), "scanner_failed");
        }
        let answer = gateway.ask(post("/tools/crm/image", &token, "{}"));
        let record = site.record(&answer.id());
        if open {
            assert_eq!((answer.status, &record["response_unscreened"]), (200, &json!("response_unscannable")));
            assert_eq!((&*answer.body, answer.header("content-type")), (&b"{}"[..], Some("image/png")));
        } else {
            assert_eq!(answer.code(), "response_unscannable");
        }
        // What can be searched is, on either.
        assert_eq!(gateway.ask(post("/tools/crm/1", &token, "{\"to\":\"a@b.co\"}")).status, 200);
        assert_eq!(backend.received().pop().expect("a request").body, "{\"to\":\"[REDACTED:EMAIL]\"}");
        gateway.stop();
    }
}

/// Bodies that cannot be read one way, or cost too much: each has its reason, and nothing of it goes anywhere.
#[test]
fn content_that_cannot_be_read_has_its_reason_and_leaks_nothing() {
    let backend = Backend::plain();
    let route = "content_types = [\"multipart/form-data\", \"text/plain\"]\ncontent_codings = [\"gzip\"]";
    let sections = ruled(&backend, "detect = [\"us_ssn\"]\naction = \"redact\"", route);
    let site = Site::new(&Extra { sections: &sections, ..Extra::default() });
    let gateway = site.start();
    let send = |fields: &str, body: &[u8]| {
        let head = post("/tools/crm/1", &token_for("auth0|alice", "tool:crm:read"), "");
        let head = head.replacen("Content-Type: application/json\r\n", "", 1);
        let length = format!("{fields}Content-Length: {}\r\n", body.len());
        gateway.ask([head.replace("Content-Length: 0\r\n", &length).as_bytes(), body].concat())
    };
    let json = "Content-Type: application/json\r\n";
    let gzip = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n";
    let form = "Content-Type: multipart/form-data; boundary=b\r\n";
    let member = |n: usize| format!("\"{n}\":1,");
    let many = format!("{{{}\"ssn\":\"{SSN}\"}}", (0..300_000).map(member).collect::<String>());
    let deep = format!("{}\"{SSN}\"{}", "[".repeat(100), "]".repeat(100));
    let cases: [(&str, &str, Vec<u8>, &str); 9] = [
        ("invalid UTF-8", json, [b"{\"ssn\":\"", SSN.as_bytes(), b"\xff\"}"].concat(), "invalid_json"),
        ("a lone surrogate", json, format!("{{\"ssn\":\"{SSN} \\ud83d\"}}").into(), "invalid_json"),
        ("nested too deep", json, deep.clone().into(), "invalid_json"),
        ("nested too deep, and called text", "Content-Type: text/plain\r\n", deep.into(), "invalid_json"),
        ("more keys than are read", json, many.into(), "invalid_json"),
        ("an end in the middle of an escape", json, format!("{{\"ssn\":\"{SSN} \\u00").into(), "invalid_json"),
        ("truncated gzip", gzip, vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab], "unsupported_media_type"),
        ("a boundary that never comes", form, format!("--c\r\n\r\n{SSN}\r\n--c--").into(), "unsupported_media_type"),
        (
            "a part without end",
            form,
            format!("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{SSN}").into(),
            "unsupported_media_type",
        ),
    ];
    for (what, fields, body, code) in cases {
        let answer = send(fields, &body);
        assert_eq!(answer.code(), code, "{what}: {answer:?}");
        let record = site.record(&answer.id());
        assert_eq!(record["reason"], code, "{what}");
        for said in [String::from_utf8_lossy(&answer.body).into_owned(), record.to_string()] {
            assert!(!said.contains(SSN), "{what}: {said}");
        }
    }
    assert!(backend.received().is_empty(), "nothing of them went upstream");
    gateway.stop();
}
