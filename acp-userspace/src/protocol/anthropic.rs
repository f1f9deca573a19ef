//! Streams of Anthropic's messages API (docs.anthropic.com/en/api/messages-streaming).
//!
//! A message comes in content blocks, each named by its `index`: `content_block_start` may hold the beginning of its
//! text, every `content_block_delta` a piece (`text_delta`, `input_json_delta`, `thinking_delta` and its
//! `signature_delta`), and `content_block_stop` ends it, as `message_stop` and `error` end all.

use super::delta::{Deltas, TextId};
use super::json::Node;

/// Members of a block, or of a delta, that come in pieces.
const TEXTS: [&str; 4] = ["text", "partial_json", "thinking", "signature"];

/// What an event carries on, if it is one of theirs.
pub(super) fn read(root: Node<'_>) -> Option<Deltas<'_>> {
    let mut deltas = Deltas::default();
    let block = || TextId::of("block").at(root.get("index"));
    let part = match root.get("type")?.as_str()? {
        "content_block_start" => root.get("content_block"),
        "content_block_delta" => root.get("delta"),
        "content_block_stop" => {
            deltas.ended.push(block());
            None
        }
        "message_stop" | "error" => {
            deltas.ended.push(TextId::of("block"));
            None
        }
        "message_start" | "message_delta" | "ping" => None,
        _ => return None,
    };
    for name in TEXTS {
        deltas.piece(part.and_then(|part| part.get(name)), || block().and(name));
    }
    Some(deltas)
}

#[cfg(test)]
mod tests {
    use crate::protocol::delta::tests::check;

    #[test]
    fn blocks_carry_on_their_text_until_they_stop() {
        check(
            &[
                r#"{"type":"message_start","message":{"content":[]}}"#,
                r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#,
                r#"{"type":"ping"}"#,
                r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{"}}"#,
                r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b"}}"#,
                r#"{"type":"content_block_delta","index":2,"delta":{"type":"thinking_delta","thinking":"t"}}"#,
                r#"{"type":"content_block_stop","index":0}"#,
                r#"{"type":"message_stop"}"#,
            ],
            &["ab", "{", "t"],
            &[0, 0, 0, 0, 0, 0, 0, 1, 3],
        );
    }
}
