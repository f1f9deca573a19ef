//! Streams as they were recorded, with values in them: the same leaves however they are read, whatever becomes of it.

use super::*;
use crate::safety::fuzz::{as_caller, rules as rules_for};
use crate::safety::{Evidence, Finding};
use ContentAction::{Pseudonymize, Tokenize};

const ACTIONS: [ContentAction; 6] = [Flag, Mask, Pseudonymize, Tokenize, Redact, Block];

const VALUES: [&str; 8] = [
    " my ssn is 078-05-1120,",
    " (card 4111 1111 1111 1111) ",
    " bob.smith@mail.example.com ",
    " MDc4LTA1LTExMjA= ",
    " 0%37\u{ff18}&#45;05-1120 ",
    " AKIAIOSFODNN7EXAMPLQ\n",
    " badge EMP-123456 ",
    " plain words ",
];

/// What is in a stream's deltas.
const CONTENT: &str = "\"content\":\"";

/// `stream` with a value put into its deltas from the `nth` on: a part into each.
fn with_value(stream: &str, nth: usize, value: &str, at: usize) -> String {
    let places: Vec<_> = stream.match_indices(CONTENT).map(|(place, _)| place + CONTENT.len()).collect();
    let Some(last) = places.len().checked_sub(2) else { return stream.to_owned() };
    let (first, second) = (places[nth % (last + 1)], places[nth % (last + 1) + 1]);
    let at = (0..=at % (value.len() + 1)).rev().find(|at| value.is_char_boundary(*at)).unwrap_or_default();
    let quoted = |text: &str| {
        let text = Value::from(text).to_string();
        text[1..text.len() - 1].to_owned()
    };
    let (before, behind) = (quoted(&value[..at]), quoted(&value[at..]));
    let end = first + string_len(&stream[first..]);
    [&stream[..end], &before, &stream[end..second], &behind, &stream[second..]].concat()
}

/// How far the JSON string goes on that begins here.
fn string_len(text: &str) -> usize {
    let mut escaped = false;
    let is_end = |byte: u8| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    };
    text.bytes().position(is_end).unwrap_or(text.len())
}

type Left = (Vec<u8>, Vec<Finding>, Evidence, usize, Option<Reason>);

/// What becomes of a stream that comes in these reads.
fn left<'a>(kind: StreamKind, reads: impl IntoIterator<Item = &'a [u8]>, action: ContentAction) -> Left {
    static COMPILED: LazyLock<Vec<(ContentAction, RouteRules)>> =
        LazyLock::new(|| ACTIONS.into_iter().map(|action| (action, rules_for(action, 1))).collect());
    let rules = &COMPILED.iter().find(|(known, _)| *known == action).expect("one of six").1;
    as_caller("acme", 0, |caller| {
        let (mut walker, mut scan) = (Walker::new(), Scan::default());
        let mut tools = Tools::new(rules, caller, &[], &mut walker, &mut scan);
        let (mut screen, mut out) = (StreamScreen::new(kind, 1 << 20), Vec::new());
        let pushed = reads.into_iter().try_for_each(|read| screen.push(read, &mut tools, &mut out));
        let ended = pushed.and_then(|()| screen.end(&mut tools, &mut out));
        let (findings, evidence) = (screen.findings().to_vec(), screen.evidence().clone());
        (out, findings, evidence, screen.edits(), ended.err().map(|refused| refused.reason))
    })
}

/// The recorded streams, and one that is always there.
fn streams() -> &'static [String] {
    static STREAMS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let words = "The answer is long, and so on, for many words. ".repeat(6);
        std::iter::once(chat(cut(&words, &[3, 40, 41, 90, 150, 200]))).chain(recorded()).collect()
    });
    &STREAMS
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn recorded_streams_with_values_leave_alike_however_they_are_read(
        which in any::<usize>(),
        nth in any::<usize>(),
        value in prop::sample::select(VALUES.to_vec()),
        at in any::<usize>(),
        reads in prop::collection::vec(any::<usize>(), 0..30),
        action in prop::sample::select(ACTIONS.to_vec()),
        kind in prop::sample::select(vec![StreamKind::Events, StreamKind::Text]),
    ) {
        let stream = with_value(&streams()[which % streams().len()], nth, value, at);
        let mut reads: Vec<usize> = reads.iter().map(|read| read % (stream.len() + 1)).chain([0, stream.len()]).collect();
        reads.sort_unstable();
        let pieces = reads.windows(2).map(|pair| &stream.as_bytes()[pair[0]..pair[1]]);
        let whole = left(kind, [stream.as_bytes()], action);
        prop_assert_eq!(left(kind, pieces, action), whole.clone());
        if action == Flag && whole.4.is_none() {
            prop_assert_eq!(whole.0, stream.as_bytes());
        }
        let is_found = !value.contains("plain") && kind == StreamKind::Events && stream.contains(CONTENT);
        prop_assert!(!is_found || !whole.1.is_empty() || whole.4.is_some(), "{} in {}", value, stream);
    }
}
