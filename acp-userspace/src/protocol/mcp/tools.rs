//! `tools/list` answers, cut down to what a caller may see by removing bytes from the upstream's own text.

use std::collections::HashMap;
use std::ops::Range;

use super::headers::Revision;
use crate::protocol::json::{Document, Kind, Node, fold};

/// Tools one page may list; a quarantine check compares every name.
pub const TOOLS_MAX: usize = 4_096;

/// Why an answer is not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Neither a JSON-RPC error nor a result with a list of named tools.
    #[error("the upstream's answer is no tool list")]
    Shape,
    /// More than [`TOOLS_MAX`].
    #[error("the upstream lists too many tools")]
    TooMany,
}

/// What a filter did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filtered {
    /// Tools passed on.
    pub kept: usize,
    /// Tools the caller may not see.
    pub hidden: usize,
    /// Tools whose names are equal after folding: neither of such a pair is shown to anybody (THREATS A15).
    pub quarantined: usize,
}

/// Appends the upstream's answer to `out` with only the tools that `visible` allows. The list of a later page keeps its
/// cursor; a result that revision 2026-07-28 lets others cache becomes private to this caller. JSON-RPC
/// errors pass unchanged.
///
/// # Errors
/// When the answer is no tool list; nothing was appended then.
pub fn filter(
    answer: Document<'_>,
    revision: Revision,
    visible: impl Fn(&str) -> bool,
    out: &mut Vec<u8>,
) -> Result<Filtered, ListError> {
    let original = answer.original();
    let root = answer.root();
    if root.get("error").is_some() && root.get("result").is_none() {
        out.extend_from_slice(original.as_bytes());
        return Ok(Filtered::default());
    }
    let result = root.get("result").ok_or(ListError::Shape)?;
    let list = result.get("tools").filter(|tools| tools.kind() == Kind::Array).ok_or(ListError::Shape)?;
    let tools = named(list)?;
    let mut filtered = Filtered::default();
    let mut inside = Vec::new();
    for tool in &tools {
        if tool.quarantined {
            filtered.quarantined += 1;
        } else if !visible(tool.name) {
            filtered.hidden += 1;
        } else {
            if filtered.kept > 0 {
                inside.push(b',');
            }
            inside.extend_from_slice(tool.node.token().as_bytes());
            filtered.kept += 1;
        }
    }
    let span = list.span();
    let mut changes = vec![(span.start + 1..span.end - 1, inside)];
    changes.extend(private(result, revision));
    changes.sort_by_key(|(range, _)| range.start);
    let mut at = 0;
    for (range, bytes) in changes {
        out.extend_from_slice(&original.as_bytes()[at..range.start]);
        out.extend_from_slice(&bytes);
        at = range.end;
    }
    out.extend_from_slice(&original.as_bytes()[at..]);
    Ok(filtered)
}

/// One listed tool.
struct Listed<'a> {
    node: Node<'a>,
    name: &'a str,
    quarantined: bool,
}

fn named(list: Node<'_>) -> Result<Vec<Listed<'_>>, ListError> {
    let mut tools: Vec<Listed<'_>> = Vec::new();
    let mut seen: HashMap<_, usize> = HashMap::new();
    for node in list.items() {
        let name = node.get("name").and_then(|name| name.as_str()).ok_or(ListError::Shape)?;
        if tools.len() == TOOLS_MAX {
            return Err(ListError::TooMany);
        }
        let first = *seen.entry(fold(name)).or_insert(tools.len());
        let quarantined = first != tools.len();
        if quarantined {
            tools[first].quarantined = true;
        }
        tools.push(Listed { node, name, quarantined });
    }
    Ok(tools)
}

/// The change that makes a result private, if the revision knows the word.
fn private(result: Node<'_>, revision: Revision) -> Option<(Range<usize>, Vec<u8>)> {
    match result.get("cacheScope") {
        Some(scope) => Some((scope.span(), b"\"private\"".to_vec())),
        None if revision == Revision::Stateless => {
            let at = result.span().start + 1;
            // `tools` is a member, so the object is not empty and a comma follows.
            Some((at..at, b"\"cacheScope\":\"private\",".to_vec()))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::{Limits, Walker};

    #[track_caller]
    fn check(answer: &str, revision: Revision, expected: Result<&str, ListError>) -> Filtered {
        let mut walker = Walker::new();
        let document = walker.walk(answer.as_bytes(), &Limits::default()).expect("valid JSON");
        let mut out = Vec::new();
        let filtered = filter(document, revision, |name| name.starts_with("crm"), &mut out);
        let written = String::from_utf8(out).expect("UTF-8");
        assert!(filtered.is_err() || serde_json::from_str::<serde_json::Value>(&written).is_ok());
        assert_eq!(filtered.map(|_| written.as_str()), expected);
        filtered.unwrap_or_default()
    }

    #[test]
    fn keeps_visible_tools_byte_for_byte() {
        let answer = r#"{"id":1, "result": {"tools": [ {"name":"hr"}, {"name" : "crm1","x":1.0}, {"name":"crm2"} ],"nextCursor":"n"}}"#;
        let expected = r#"{"id":1, "result": {"tools": [{"name" : "crm1","x":1.0},{"name":"crm2"}],"nextCursor":"n"}}"#;
        let filtered = check(answer, Revision::Session, Ok(expected));
        assert_eq!(filtered, Filtered { kept: 2, hidden: 1, quarantined: 0 });
        check(r#"{"result":{"tools":[{"name":"x"}]}}"#, Revision::Session, Ok(r#"{"result":{"tools":[]}}"#));
    }

    #[test]
    fn threat_a15_look_alike_names_are_shown_to_nobody() {
        let answer =
            r#"{"result":{"tools":[{"name":"crm_a"},{"name":"crm_A"},{"name":"crm_b"},{"name":"crm\u200b_a"}]}}"#;
        let filtered = check(answer, Revision::Session, Ok(r#"{"result":{"tools":[{"name":"crm_b"}]}}"#));
        assert_eq!(filtered, Filtered { kept: 1, hidden: 0, quarantined: 3 });
    }

    #[test]
    fn the_stateless_revision_marks_the_list_private() {
        check(
            r#"{"result":{"tools":[],"cacheScope":"public","ttlMs":5}}"#,
            Revision::Stateless,
            Ok(r#"{"result":{"tools":[],"cacheScope":"private","ttlMs":5}}"#),
        );
        check(
            r#"{"result":{"tools":[{"name":"hr"}]}}"#,
            Revision::Stateless,
            Ok(r#"{"result":{"cacheScope":"private","tools":[]}}"#),
        );
    }

    #[test]
    fn errors_pass_and_anything_else_is_refused() {
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}"#;
        check(error, Revision::Session, Ok(error));
        check(r#"{"result":{}}"#, Revision::Session, Err(ListError::Shape));
        check(r#"{"result":{"tools":{}}}"#, Revision::Session, Err(ListError::Shape));
        check(r#"{"result":{"tools":[{"title":"x"}]}}"#, Revision::Session, Err(ListError::Shape));
        check(r#"[]"#, Revision::Session, Err(ListError::Shape));
    }
}
