//! Messages the gateway writes itself, appended to a buffer: JSON-RPC errors, and refusals of visible tools.

use super::headers::Revision;
use crate::protocol::json::write_string;

/// Where a refusal's problem document stands in a result's `_meta`.
pub const PROBLEM_KEY: &str = "acp/problem";

/// Appends a JSON-RPC error response. `id` is the token of the request's id as the client wrote it, `null` if it had none; `problem` is an RFC
/// 9457 object in JSON.
pub fn error(id: Option<&str>, code: i32, message: &str, problem: Option<&[u8]>, out: &mut Vec<u8>) {
    begin(id, out);
    out.extend_from_slice(b",\"error\":{\"code\":");
    out.extend_from_slice(code.to_string().as_bytes());
    out.extend_from_slice(b",\"message\":");
    write_string(message, out);
    if let Some(problem) = problem {
        out.extend_from_slice(b",\"data\":");
        out.extend_from_slice(problem);
    }
    out.extend_from_slice(b"}}");
}

/// Appends the result that refuses a call of a visible tool: `isError`, the problem document as the text the model
/// reads, and as an object under [`PROBLEM_KEY`] for programs. Not as `structuredContent`, which clients check against
/// the tool's own output schema.
pub fn refusal(id: Option<&str>, problem: &[u8], revision: Revision, out: &mut Vec<u8>) {
    begin(id, out);
    out.extend_from_slice(b",\"result\":{");
    if revision == Revision::Stateless {
        out.extend_from_slice(b"\"resultType\":\"complete\",");
    }
    out.extend_from_slice(b"\"isError\":true,\"content\":[{\"type\":\"text\",\"text\":");
    write_string(&String::from_utf8_lossy(problem), out);
    out.extend_from_slice(b"}],\"_meta\":{");
    write_string(PROBLEM_KEY, out);
    out.push(b':');
    out.extend_from_slice(problem);
    out.extend_from_slice(b"}}}");
}

fn begin(id: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.unwrap_or("null").as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::json::{Limits, Walker};
    use crate::protocol::mcp::code;

    #[track_caller]
    fn check(out: &[u8], expected: Value) {
        assert_eq!(serde_json::from_slice::<Value>(out).expect("valid JSON"), expected);
    }

    #[test]
    fn an_unknown_tool_is_an_invalid_params_error() {
        let mut walker = Walker::new();
        let id = walker.walk(br#""a\"b""#, &Limits::default()).unwrap().root();
        let mut out = Vec::new();
        error(Some(id.token()), code::INVALID_PARAMS, "Unknown tool: \"x\"", None, &mut out);
        check(
            &out,
            json!({"jsonrpc": "2.0", "id": "a\"b", "error": {"code": -32602, "message": "Unknown tool: \"x\""}}),
        );
    }

    #[test]
    fn a_refused_tool_answers_with_its_problem() {
        let problem = br#"{"type":"urn:acp:reason:policy_denied","status":403}"#;
        let mut out = Vec::new();
        refusal(None, problem, Revision::Stateless, &mut out);
        check(
            &out,
            json!({"jsonrpc": "2.0", "id": null, "result": {
                "resultType": "complete",
                "isError": true,
                "content": [{"type": "text", "text": std::str::from_utf8(problem).unwrap()}],
                "_meta": {"acp/problem": {"type": "urn:acp:reason:policy_denied", "status": 403}},
            }}),
        );
    }
}
