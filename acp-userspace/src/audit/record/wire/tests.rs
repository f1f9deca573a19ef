use super::super::{Call, Intent};
use super::*;
use crate::audit::record::sample;
use proptest::prelude::*;
use std::sync::Arc;

fn encoded(encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut buf = vec![0xaa; ENTRY_BYTES_MAX];
    let len = encode(&mut buf);
    buf.truncate(len);
    buf
}

#[test]
fn an_intent_reads_back_as_it_was_written() {
    sample::with_intent(|intent| {
        let bytes = encoded(|buf| encode_intent(buf, intent));
        let Some(Entry::Request(view)) = decode(&bytes) else { panic!("an intent decodes") };
        assert_eq!((view.request_id, view.now, view.peer), (intent.request_id, intent.now, intent.peer));
        assert_eq!(view.who, Some(intent.who));
        assert_eq!((view.route, view.tool, view.verb), (intent.call.route, intent.call.tool, intent.call.verb));
        assert!(view.labels.eq(intent.call.labels.iter().map(|l| &**l)));
        assert!(view.policies.eq(intent.policies.iter().map(|p| &**p)));
        assert!(view.findings.eq(intent.findings.iter().copied()));
        let places: Vec<_> = view.places.map(|found| (found.detector, found.place)).collect();
        assert_eq!(
            (view.score, view.numbers_to_text, &*places),
            (28, 1, &[(Detector::Email, "#/to/0/\\u{1b}[2J #########")][..])
        );
        assert!(view.would.eq(intent.would.iter().copied()));
        assert_eq!((view.versions, view.latency, view.arguments), (intent.versions, intent.latency, intent.arguments));
        let Fate::Sent { hold_id, parts } = view.fate else { panic!("it was sent") };
        assert_eq!(hold_id, intent.hold.id);
        assert!(parts.eq(intent.hold.parts.iter().copied()));
        assert!(!view.truncated);
    });
}

#[test]
fn an_outcome_reads_back_as_it_was_written() {
    let outcome = sample::outcome();
    let bytes = encoded(|buf| encode_outcome(buf, &outcome));
    let Some(Entry::Outcome(view)) = decode(&bytes) else { panic!("an outcome decodes") };
    assert_eq!((view.request_id, view.reason, view.decision), (outcome.request_id, outcome.reason, outcome.decision));
    assert_eq!((view.upstream, view.upstream_status), (outcome.upstream, outcome.upstream_status));
    assert_eq!((view.bytes, view.settled_microusd), (outcome.bytes, outcome.settled_microusd));
    assert_eq!((view.upstream_ns, view.total_ns, view.edits), (outcome.upstream_ns, outcome.total_ns, outcome.edits));
    assert!(view.findings.eq(outcome.findings.iter().copied()));
}

#[test]
fn the_largest_record_fits_and_says_that_it_was_cut() {
    let long = "é".repeat(4000);
    let many: Vec<Arc<str>> = (0..500).map(|i| format!("{i}{long}").into()).collect();
    let scopes: Vec<&str> = many.iter().map(|s| &**s).collect();
    sample::with_intent(|intent| {
        let who =
            Who { subject: &long, tenant: &long, issuer: &long, client: Some(&long), key_id: &long, ..intent.who };
        let call = Call { route: &long, path: &long, tool: &long, verb: &long, labels: &many };
        let refusal = Refusal {
            who: Some(who),
            call,
            claimed_kid: &long,
            asked: &long,
            rule: &long,
            detail: &long,
            missing_scopes: &scopes,
            policies: &many,
            ..Refusal::new(intent.request_id, intent.now, intent.peer, Layer::Policy, Reason::PolicyDenied)
        };
        for bytes in [
            encoded(|buf| encode_refusal(buf, &refusal)),
            encoded(|buf| encode_intent(buf, &Intent { who, call, policies: &many, ..*intent })),
        ] {
            assert!(bytes.len() <= ENTRY_BYTES_MAX);
            let Some(Entry::Request(view)) = decode(&bytes) else { panic!("a full entry decodes") };
            assert!(view.truncated);
        }
        let outcome = Outcome { upstream: &long, ..sample::outcome() };
        assert!(encoded(|buf| encode_outcome(buf, &outcome)).len() <= OUTCOME_BYTES_MAX);
    });
}

#[test]
fn callers_text_is_screened_before_it_is_stored() {
    sample::with_intent(|intent| {
        let evil = "x 078-05-1120 \u{1b}[2J";
        let refusal = Refusal {
            claimed_kid: evil,
            asked: evil,
            rule: evil,
            detail: evil,
            ..Refusal::new(intent.request_id, intent.now, intent.peer, Layer::Identity, Reason::InvalidToken)
        };
        let bytes = encoded(|buf| encode_refusal(buf, &refusal));
        assert!(!bytes.windows(11).any(|w| w == b"078-05-1120"));
        assert!(!bytes.contains(&0x1b) || bytes.windows(2).all(|w| w != b"\x1b["));
    });
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        drain(&bytes);
    }

    #[test]
    fn no_damage_to_an_entry_makes_the_decoder_panic(at in 0usize..700, byte: u8, cut in 0usize..700, tag in 1u8..6) {
        sample::with_intent(|intent| {
            let mut bytes = encoded(|buf| encode_intent(buf, intent));
            bytes[0] = tag;
            if let Some(b) = bytes.get_mut(at) { *b = byte; }
            bytes.truncate(cut.max(1));
            drain(&bytes);
        });
    }
}

/// Decodes and walks every list.
fn drain(bytes: &[u8]) {
    match decode(bytes) {
        Some(Entry::Request(view)) => {
            let lists = view.labels.count()
                + view.policies.count()
                + view.findings.count()
                + view.places.count()
                + view.would.count();
            if let Fate::Sent { parts, .. } = view.fate {
                assert!(parts.count() <= bytes.len());
            }
            assert!(lists <= bytes.len());
        }
        Some(Entry::Outcome(view)) => assert!(view.findings.count() + view.places.count() <= bytes.len()),
        _ => {}
    }
}
