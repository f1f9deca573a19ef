//! What has to hold of the walk whatever the bytes: the body of a fuzz target, run by `crate::fuzzing`.

use serde_json::Value;

use super::oracle::{has_duplicates, same};
use super::{Document, JsonError, Kind, Limits, Walker, write_string};

/// A body: the walk and serde_json read the same, or the walk refuses for a reason of its own; every token is where it
/// says, and replacing each by itself changes no text.
pub fn json(data: &[u8]) {
    let mut walker = Walker::new();
    let theirs = serde_json::from_slice::<Value>(data);
    let accepted = match walker.walk(data, &Limits::default()) {
        Ok(document) => {
            match &theirs {
                Ok(value) => {
                    assert!(!has_duplicates(document.original()), "a key stands there twice");
                    same(document.root(), value);
                }
                // Valid JSON that no double holds; passed on as text.
                Err(error) => assert!(error.to_string().contains("out of range"), "{error}"),
            }
            check_places(document);
            check_rewriting(document);
            true
        }
        Err(JsonError::DuplicateKey(_)) => {
            let text = std::str::from_utf8(data).expect("judged after the encoding");
            assert!(theirs.is_err() || has_duplicates(text));
            false
        }
        Err(JsonError::TooDeep(_) | JsonError::TooLarge) => false,
        Err(error) => {
            assert!(theirs.is_err(), "{error}, and serde_json reads it");
            false
        }
    };
    let stricter = Limits { folded_depth: 3, ..Limits::default() };
    assert!(walker.walk(data, &stricter).is_err() || accepted, "comparing more keys accepts nothing more");
}

/// Spans lie within their parents, in order, and tokens are found by their bytes.
fn check_places(document: Document<'_>) {
    let mut before = 0;
    for node in document.nodes() {
        let span = node.span();
        assert!(before <= span.start && span.start < span.end && span.end <= document.original().len());
        before = span.start;
        if let Some(parent) = node.parent() {
            assert!(parent.span().start < span.start && span.end < parent.span().end && parent.encloses(&node));
        }
        if node.kind().is_text() {
            assert_eq!(document.token_at(span.start), Some(node));
            assert_eq!(document.token_at(span.end - 1), Some(node));
            for mut near in [0, node.index().saturating_sub(3), node.index(), node.index() + 5, usize::MAX / 2] {
                assert_eq!(document.token_near(&mut near, span.start), Some(node));
                assert_eq!(near, node.index());
            }
        }
    }
    let last = document.nodes().last().expect("a document has a root");
    assert!(last.pointer().len() <= 512, "{}", last.pointer());
}

/// Every string written anew, in place: the same texts come out.
fn check_rewriting(document: Document<'_>) {
    let (mut out, mut at) = (Vec::new(), 0);
    let strings = || document.nodes().filter(|node| matches!(node.kind(), Kind::Key | Kind::String));
    for node in strings() {
        out.extend_from_slice(&document.original().as_bytes()[at..node.span().start]);
        write_string(node.text().expect("strings have text"), &mut out);
        at = node.span().end;
    }
    out.extend_from_slice(&document.original().as_bytes()[at..]);
    let mut walker = Walker::new();
    let again = walker.walk(&out, &Limits::default()).expect("strings were replaced by strings");
    let texts = again.nodes().filter(|node| matches!(node.kind(), Kind::Key | Kind::String)).map(|node| node.text());
    assert!(texts.eq(strings().map(|node| node.text())));
}
