//! Whether an edit changes what a policy judged.
//!
//! Arguments are read as they will be sent, so no policy is ever shown a value that does not leave. Still, a permit
//! that rests on a value somebody rewrites is not the operator's intent: it becomes a denial (`edit_conflict`).
//!
//! Pointers are written for records: a key that would show personal data, is too long, or lies too deep prints as `*`
//! ([`crate::protocol::json::Pointers`]). Such a segment may stand for any key, so here it matches every one.

use super::context::ArgumentView;
use super::evaluate::ArgumentPath;
use crate::safety::Edit;

/// Whether any edit lies at, under or above an argument that was read; an edit without a pointer may lie anywhere.
pub(super) fn conflict(edits: &[Edit], arguments: &dyn ArgumentView, read: &[ArgumentPath]) -> bool {
    let touches = |edit: &Edit, path: &ArgumentPath| match &edit.pointer {
        None => true,
        Some(pointer) => related(pointer, arguments.root(), path),
    };
    edits.iter().any(|edit| read.iter().any(|path| touches(edit, path)))
}

/// What a hidden segment prints as; a pointer cut for length ends in it too.
const HIDDEN: &str = "*";

/// Whether of the JSON pointer and the value at `path` below `root` one may contain the other.
fn related(pointer: &str, root: &str, path: &ArgumentPath) -> bool {
    let same = |one: &str, other: &str| one == other || other == HIDDEN;
    let at_root = root.split('/').skip(1).zip(pointer.split('/').skip(1)).all(|(one, other)| same(one, other));
    let below_root = pointer.split('/').skip(root.split('/').count());
    at_root && below_root.zip(path).all(|(segment, name)| unescapes_to(segment, name))
}

/// RFC 6901 §4: `~1` is `/`, `~0` is `~`. A hidden segment unescapes to anything.
fn unescapes_to(segment: &str, name: &str) -> bool {
    if segment == HIDDEN {
        return true;
    }
    let (mut segment, mut name) = (segment.bytes(), name.bytes());
    loop {
        let byte = match segment.next() {
            Some(b'~') => match segment.next() {
                Some(b'0') => b'~',
                Some(b'1') => b'/',
                _ => return false,
            },
            Some(byte) => byte,
            None => return name.next().is_none(),
        };
        if name.next() != Some(byte) {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::context::Argument;
    use std::sync::Arc;

    struct Rooted(&'static str);

    impl ArgumentView for Rooted {
        fn value(&self, _: &[&str]) -> Option<Argument<'_>> {
            None
        }

        fn root(&self) -> &str {
            self.0
        }
    }

    #[track_caller]
    fn check(root: &'static str, pointer: Option<&str>, path: &str, expected: bool) {
        let edit = Edit { range: 0..1, bytes: Vec::new(), pointer: pointer.map(str::to_owned) };
        let path: ArgumentPath = path.split('|').map(Arc::from).collect();
        assert_eq!(conflict(&[edit], &Rooted(root), &[path]), expected, "{root:?} {pointer:?}");
    }

    #[test]
    fn an_edit_at_under_or_above_a_read_argument_conflicts() {
        check("", Some("/to"), "to", true);
        check("", Some("/to/name"), "to", true);
        check("", Some("/to/3"), "to", true);
        check("", Some("/to"), "to|name", true);
        check("", Some(""), "to", true);
        check("", None, "to", true);
        check("/params/arguments", Some("/params/arguments/to"), "to", true);
        check("/params/arguments", Some("/params"), "to", true);
    }

    #[test]
    fn an_edit_elsewhere_does_not() {
        check("", Some("/cc"), "to", false);
        check("", Some("/to2"), "to", false);
        check("", Some("/t"), "to", false);
        check("/params/arguments", Some("/params/_meta/to"), "to", false);
        check("/params/arguments", Some("/params/arguments/cc"), "to", false);
        check("", Some("/a/x"), "a|y", false);
        assert!(!conflict(&[], &Rooted(""), &[vec!["to".into()]]));
    }

    #[test]
    fn a_hidden_segment_or_a_cut_pointer_may_be_any_argument() {
        check("", Some("/*"), "to", true);
        check("", Some("/a/*"), "a|name", true);
        check("", Some("/a/*/x"), "a|name", true);
        check("", Some("/a/*/x"), "a|name|y", false);
        check("", Some("/b/*"), "a|name", false);
        check("/params/arguments", Some("/params/arguments/*"), "to", true);
        check("/params/arguments", Some("/*"), "to", true);
    }

    #[test]
    fn pointers_are_unescaped() {
        check("", Some("/a~1b"), "a/b", true);
        check("", Some("/a~0b"), "a~b", true);
        check("", Some("/a/b"), "a/b", false);
        check("", Some("/a~"), "a~", false);
    }
}
