//! End to end: the real `acp` as a child process, real sockets, raw bytes.
//!
//! One file per topic; what they share is in `gateway` (the child process), `site` (its files), `backend` (an upstream
//! that records what reaches it and answers as told) and `client` (raw HTTP/1.1). Every port is the system's choice,
//! every process ends with its test, and nothing waits for time to pass: only for conditions, each with a deadline.

#![deny(unsafe_code)]

#[path = "e2e/actions.rs"]
mod actions;
#[path = "e2e/answers.rs"]
mod answers;
#[path = "e2e/audit_question.rs"]
mod audit_question;
#[path = "e2e/backend.rs"]
mod backend;
#[path = "e2e/bad_input.rs"]
mod bad_input;
#[path = "e2e/capabilities.rs"]
mod capabilities;
#[path = "e2e/client.rs"]
mod client;
#[path = "e2e/confine.rs"]
mod confine;
#[path = "e2e/content.rs"]
mod content;
#[path = "corpora.rs"]
mod corpora;
#[path = "e2e/dev_checks.rs"]
mod dev_checks;
#[path = "e2e/egress.rs"]
mod egress;
#[path = "e2e/encoded.rs"]
mod encoded;
#[path = "e2e/fields.rs"]
mod fields;
#[path = "e2e/forms.rs"]
mod forms;
#[path = "e2e/handover.rs"]
mod handover;
#[path = "e2e/handover_kernel.rs"]
mod handover_kernel;
#[path = "e2e/http_corpus.rs"]
mod http_corpus;
#[path = "e2e/ledger.rs"]
mod ledger;
#[path = "e2e/mcp.rs"]
mod mcp;
#[path = "e2e/nat.rs"]
mod nat;
#[path = "e2e/needs.rs"]
mod needs;
#[path = "e2e/netns.rs"]
mod netns;
#[path = "e2e/operations.rs"]
mod operations;
#[path = "e2e/process.rs"]
mod process;
#[path = "e2e/proxies.rs"]
mod proxies;
#[path = "e2e/quarantine.rs"]
mod quarantine;
#[path = "e2e/recorder.rs"]
mod recorder;
#[path = "e2e/runaway.rs"]
mod runaway;
#[path = "e2e/site.rs"]
mod site;
#[path = "e2e/storage.rs"]
mod storage;
#[path = "e2e/streams.rs"]
mod streams;
#[path = "e2e/tiers.rs"]
mod tiers;
#[path = "e2e/torture.rs"]
mod torture;
#[path = "e2e/transport.rs"]
mod transport;
#[path = "e2e/units.rs"]
mod units;
#[path = "e2e/upstream_lies.rs"]
mod upstream_lies;
#[path = "e2e/wait.rs"]
mod wait;
