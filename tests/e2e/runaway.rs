//! The loop guard as a guard of agents: who goes on with a loop although it is told to wait has its tenant frozen, where
//! the operator wants that; a loop alone freezes nobody.

use serde_json::{Value, json};

use crate::backend::Backend;
use crate::client::{Answer, post};
use crate::process::wait_for;
use crate::site::{Extra, Gateway, Site, reading, token_with};

fn site(backend: &Backend, quarantine: &str) -> Site {
    let sections = format!(
        r#"{crm}
[usage.loop_guard]
identical_calls = 3
window = "60s"
{quarantine}
"#,
        crm = reading(backend, "POST")
    );
    Site::new(&Extra { sections: &sections, kernel: Some("mode = \"auto\""), ..Extra::default() })
}

/// The same call of an agent of this tenant, again.
#[track_caller]
fn again(gateway: &Gateway, tenant: &str) -> Answer {
    let agent = token_with(|claims| {
        claims["org_id"] = json!(tenant);
        claims["sub"] = json!(format!("agent-of-{tenant}"));
    });
    let request = post("/tools/crm/x", &agent, "{}");
    // A connection of a tenant in quarantine may be reset before it is asked.
    wait_for("an answer", || gateway.connect().try_ask(&request))
}

fn listed(site: &Site) -> Vec<Value> {
    let said = site.acp(&["kernel", "quarantine", "--format", "json"], "--socket", "admin.sock");
    said.stdout.lines().map(|row| serde_json::from_str(row).expect("JSON")).collect()
}

/// What the steps of quarantine were, and why.
fn steps(site: &Site) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut events = site.records(&["--events"]);
    events.retain(|it| {
        it["event"] == "quarantine" && ["begun", "lifted"].map(Value::from).contains(&it["detail"]["step"])
    });
    events.iter().map(|it| (text(&it["detail"]["step"]), text(&it["detail"]["why"]))).collect()
}

/// The word for what was answered.
fn told(answer: &Answer) -> String {
    if answer.status == 200 { "served".to_owned() } else { answer.code() }
}

/// Goes on with a loop until something else is answered than that it is one, after so many calls at least.
#[track_caller]
fn go_on(gateway: &Gateway, at_least: usize) -> Answer {
    let mut calls = 0;
    wait_for("another answer", || {
        let answer = again(gateway, "acme");
        calls += 1;
        (told(&answer) != "loop_detected").then(|| {
            assert!(calls > at_least, "{calls}: {}", answer.head);
            answer
        })
    })
}

#[test]
fn an_agent_that_goes_on_with_a_loop_has_its_tenant_frozen_until_the_deadline_or_an_operator() {
    let backend = Backend::plain();
    let site = site(&backend, "quarantine_after = 5\nquarantine_for = \"3s\"");
    let gateway = site.start();
    assert_eq!([0; 2].map(|_| again(&gateway, "acme").status), [200, 200]);
    assert_eq!(again(&gateway, "acme").code(), "loop_detected");
    assert_eq!(listed(&site), Vec::<Value>::new(), "a loop alone");
    let refused = go_on(&gateway, 5);
    assert_eq!((refused.status, refused.code().as_str()), (403, "tenant_quarantined"));
    assert_eq!(again(&gateway, "globex").status, 200, "nobody else");
    let [row] = &listed(&site)[..] else { panic!("one is listed") };
    assert_eq!(row["tenant"], "acme");
    wait_for("the deadline", || (again(&gateway, "acme").code() == "loop_detected").then_some(()));
    assert_eq!(go_on(&gateway, 3).code(), "tenant_quarantined", "and again");
    let lifted = site.acp(&["kernel", "quarantine", "acme", "--lift"], "--socket", "admin.sock");
    assert_eq!(lifted.code, Some(0), "{}", lifted.stderr);
    let said = wait_for("the last step", || Some(steps(&site)).filter(|steps| steps.len() == 4));
    let expected = [("begun", "loop"), ("lifted", "deadline"), ("begun", "loop"), ("lifted", "admin")];
    assert_eq!(said, expected.map(|(step, why)| (step.to_owned(), why.to_owned())));
    wait_for("both in the metrics", || (gateway.metric("acp_quarantine_loops_total") == 2).then_some(()));
    gateway.stop();
}

#[test]
fn where_nobody_asked_for_it_no_loop_freezes_anybody() {
    let backend = Backend::plain();
    let site = site(&backend, "");
    let gateway = site.start();
    let codes: Vec<String> = (0..60).map(|_| told(&again(&gateway, "acme"))).collect();
    assert!(codes[2..].iter().all(|code| code == "loop_detected"), "{codes:?}");
    assert_eq!((listed(&site), steps(&site)), (Vec::new(), Vec::new()));
    gateway.stop();
}
