//! Quarantine, as an operator works with it: a tenant's requests are refused and its connections reset, nobody else's;
//! it survives a restart, ends by its deadline or when it is lifted, and each step is in the audit log.

use serde_json::{Value, json};

use crate::backend::Backend;
use crate::client::{Answer, post};
use crate::process::{Said, wait_for};
use crate::site::{Extra, Gateway, Site, crm, token_with};

fn site(backend: &Backend) -> Site {
    let tool = "\n[[route.tool]]\nname = \"crm/read\"\nmatch = { method = \"POST\", path = \"*\" }\nverb = \"read\"\n";
    let sections = crm(backend) + tool;
    Site::new(&Extra { sections: &sections, kernel: Some("mode = \"auto\""), ..Extra::default() })
}

/// A good call of somebody of this tenant.
fn call(tenant: &str) -> String {
    post("/tools/crm/x", &token_with(|claims| claims["org_id"] = json!(tenant)), "{}")
}

fn kernel(site: &Site, args: &[&str]) -> Said {
    site.acp(&[&["kernel", "quarantine"], args].concat(), "--socket", "admin.sock")
}

#[track_caller]
fn done(site: &Site, args: &[&str]) {
    let said = kernel(site, args);
    assert_eq!(said.code, Some(0), "{args:?}: {}", said.stderr);
}

/// The steps in the audit log so far, with what a step says besides.
fn steps(site: &Site) -> Vec<Value> {
    let mut records = site.records(&["--events"]);
    records.retain(|record| record["event"] == "quarantine");
    records.into_iter().map(|mut record| record["detail"].take()).collect()
}

/// The answer to a call: of a tenant in quarantine, one that was not reset on its way.
#[track_caller]
fn answer(gateway: &Gateway, tenant: &str) -> Answer {
    wait_for("an answer", || gateway.connect().try_ask(&call(tenant)))
}

#[track_caller]
fn status(gateway: &Gateway, tenant: &str) -> u16 {
    answer(gateway, tenant).status
}

#[test]
fn a_frozen_tenants_requests_are_refused_its_connections_reset_and_nobody_elses() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    let (mut its, mut anothers) = (gateway.connect(), gateway.connect());
    assert_eq!((its.ask(call("acme")).status, anothers.ask(call("globex")).status), (200, 200));
    done(&site, &["acme", "--for", "10m"]);
    wait_for("its connection to be reset", || (gateway.metric("acp_quarantine_resets_total") == 1).then_some(()));
    its.assert_closed();
    let refused = answer(&gateway, "acme");
    assert_eq!((refused.status, refused.code().as_str()), (403, "tenant_quarantined"));
    assert_eq!(anothers.ask(call("globex")).status, 200);
    let record = site.record(&refused.id());
    assert_eq!(record["reason"], "tenant_quarantined", "{record}");

    let listed = kernel(&site, &["--format", "json"]).stdout;
    let row: Value = serde_json::from_str(listed.trim()).expect("one row");
    assert_eq!(row["tenant"], "acme");
    assert!((590..=600).contains(&row["seconds_left"].as_u64().expect("a number")), "{row}");
    assert_eq!(gateway.metric("acp_quarantined"), 1);
    let frozen = row["dropped_by"] == "kernel";
    let required = std::env::var_os("ACP_REQUIRE_BPF").is_some_and(|value| value == "1");
    assert!(frozen || !required, "the kernel part is required");

    // A restart lifts nothing.
    gateway.stop();
    let gateway = site.start();
    assert_eq!((status(&gateway, "acme"), status(&gateway, "globex")), (403, 200));
    done(&site, &["acme", "--lift"]);
    wait_for("it to be lifted", || (status(&gateway, "acme") == 200).then_some(()));
    let again = kernel(&site, &["acme", "--lift"]);
    assert!(again.code == Some(1) && again.stderr.contains("is not in quarantine"), "{}", again.stderr);

    let said = wait_for("the last step", || {
        Some(steps(&site)).filter(|steps| steps.last().is_some_and(|it| it["step"] == "lifted"))
    });
    let mut names: Vec<_> =
        said.iter().map(|it| it["step"].as_str().expect("a step")).filter(|it| *it != "frozen").collect();
    // Connections that only came to be refused may have been looked at before their clients closed them.
    names.dedup();
    names.retain({
        let mut resumed = false;
        move |it| {
            resumed |= *it == "resumed";
            *it != "reset" || !resumed
        }
    });
    assert_eq!(names, ["begun", "reset", "resumed", "lifted"], "{said:?}");
    assert_eq!(said.iter().filter(|it| it["step"] == "frozen").count(), if frozen { 2 } else { 0 }, "{said:?}");
    let reset = said.iter().find(|it| it["step"] == "reset").expect("it is there");
    assert_eq!((&reset["tenant"], &reset["connections"]), (&json!("acme"), &json!(1)));
    assert_eq!(said.last().expect("the last")["why"], "admin");
    gateway.stop();
}

#[test]
fn a_quarantine_ends_by_its_deadline_and_one_that_cannot_be_is_said() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    done(&site, &["acme", "--for", "2s"]);
    assert_eq!(status(&gateway, "acme"), 403);
    wait_for("the deadline", || (status(&gateway, "acme") == 200).then_some(()));
    let said = wait_for("the last step", || {
        Some(steps(&site)).filter(|steps| steps.last().is_some_and(|it| it["step"] == "lifted"))
    });
    assert_eq!(said.last().expect("the last")["why"], "deadline");
    assert_eq!(kernel(&site, &["--format", "json"]).stdout, "");
    for (args, part) in [
        (&["acme", "--for", "31d"][..], "between 1s and 30d"),
        (&["acme", "--for", "0s"], "between 1s and 30d"),
        (&["acme"], "required"),
        (&["acme", "--for", "1m", "--issuer", "other"], "there is no such issuer"),
    ] {
        let said = kernel(&site, args);
        assert!(said.code != Some(0) && said.stderr.contains(part), "{args:?}: {}", said.stderr);
    }
    gateway.stop();
}
