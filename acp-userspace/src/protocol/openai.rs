//! Streams of `OpenAI`'s APIs: chat completions, legacy completions, and responses
//! (platform.openai.com/docs/api-reference: chat/streaming, completions, responses-streaming).
//!
//! A chat chunk carries on, for every choice, content, refusal, audio transcript, and arguments of tool calls, which are
//! told apart by their `index`; compatible servers add reasoning, which ends where content begins, as both end where a
//! call does. A choice's texts end with its `finish_reason`. Events of the responses API say by their type what their `delta` is of, and end it by the `.done` of
//! the same type; `response.completed` and its like end all.

use super::delta::{Deltas, TextId};
use super::json::{Kind, Node};

/// Members of a chat delta that come in pieces, in the order in which models fill them: one that begins ends those before.
const CHAT_TEXTS: [&str; 4] = ["reasoning", "reasoning_content", "refusal", "content"];

/// What an event carries on, if it is one of theirs.
pub(super) fn read(root: Node<'_>) -> Option<Deltas<'_>> {
    let text = |name| root.get(name).and_then(|node| node.as_str());
    match (text("object"), text("type")) {
        (Some("chat.completion.chunk" | "text_completion"), _) => Some(chunk(root)),
        (_, Some(kind)) if kind.starts_with("response.") => Some(response(root, kind)),
        // Compatible servers leave `object` out.
        (None, None) if root.get("choices").is_some_and(|choices| choices.kind() == Kind::Array) => Some(chunk(root)),
        _ => None,
    }
}

fn chunk(root: Node<'_>) -> Deltas<'_> {
    let mut deltas = Deltas::default();
    for choice in root.get("choices").iter().flat_map(|choices| choices.items()) {
        let id = TextId::of("choice").at(choice.get("index"));
        deltas.piece(choice.get("text"), || id.clone().and("text"));
        if let Some(delta) = choice.get("delta") {
            chat(delta, &id, &mut deltas);
        }
        if choice.get("finish_reason").is_some_and(|reason| reason.kind() == Kind::String) {
            deltas.ended.push(id);
        }
    }
    deltas
}

fn chat<'a>(delta: Node<'a>, id: &TextId, deltas: &mut Deltas<'a>) {
    let said = |name: &&str| delta.get(name).and_then(|node| node.as_str()).is_some_and(|text| !text.is_empty());
    let calls = ["tool_calls", "function_call"]
        .iter()
        .any(|name| delta.get(name).is_some_and(|node| node.kind() != Kind::Null));
    let latest = if calls { Some(CHAT_TEXTS.len()) } else { CHAT_TEXTS.iter().rposition(said) };
    for (place, name) in CHAT_TEXTS.into_iter().enumerate() {
        deltas.piece(delta.get(name), || id.clone().and(name));
        if latest.is_some_and(|latest| place < latest) && !said(&name) {
            deltas.ended.push(id.clone().and(name));
        }
    }
    deltas.piece(delta.get("audio").and_then(|audio| audio.get("transcript")), || id.clone().and("transcript"));
    let old = delta.get("function_call");
    let calls = delta.get("tool_calls").into_iter().flat_map(|calls| calls.items());
    for (call, function) in calls.map(|call| (Some(call), call.get("function"))).chain([(None, old)]) {
        let Some(function) = function else { continue };
        let call = call.and_then(|call| call.get("index"));
        deltas.piece(function.get("arguments"), || id.clone().and("call").at(call).and("arguments"));
    }
}

fn response<'a>(root: Node<'a>, kind: &str) -> Deltas<'a> {
    let mut deltas = Deltas::default();
    let part = |name: &str| {
        let place = ["output_index", "content_index", "summary_index"];
        place.iter().fold(TextId::of("response").and(name), |id, index| id.at(root.get(index)))
    };
    if let Some(name) = kind.strip_suffix(".delta") {
        deltas.piece(root.get("delta"), || part(name));
    } else if let Some(name) = kind.strip_suffix(".done") {
        deltas.ended.push(part(name));
    } else if matches!(kind, "response.completed" | "response.incomplete" | "response.failed") {
        deltas.ended.push(TextId::of("response"));
    }
    deltas
}

#[cfg(test)]
mod tests {
    use crate::protocol::delta::tests::check;

    #[test]
    fn chat_chunks_carry_on_each_choices_texts_until_it_is_finished() {
        check(
            &[
                r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}"#,
                r#"{"object":"chat.completion.chunk","choices":[{"delta":{"content":"x"},"index":1}]}"#,
                r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"b","refusal":"r"}}]}"#,
                r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
                r#"{"object":"chat.completion.chunk","choices":[],"usage":{"total_tokens":9}}"#,
            ],
            &["ab", "x", "r"],
            &[0, 0, 0, 2, 0],
        );
    }

    #[test]
    fn tool_calls_are_told_apart_by_their_index() {
        check(
            &[
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{"}}]}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"["}},{"index":0,"function":{"arguments":"}"}}]}}]}"#,
            ],
            &["{}", "["],
            &[0, 0],
        );
    }

    #[test]
    fn what_a_model_says_next_ends_what_it_said_before() {
        check(
            &[
                r#"{"choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":"t","content":null}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"reasoning_content":"u","content":""}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"reasoning_content":null,"content":"a"}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"content":"b","tool_calls":null}}]}"#,
                r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}"#,
            ],
            &["tu", "ab", "{}"],
            &[0, 0, 1, 1, 2],
        );
    }

    #[test]
    fn responses_end_a_text_by_the_event_that_repeats_it() {
        check(
            &[
                r#"{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":"a"}"#,
                r#"{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":1,"delta":"x"}"#,
                r#"{"type":"response.output_text.delta","item_id":"i","output_index":0,"content_index":0,"delta":"b"}"#,
                r#"{"type":"response.function_call_arguments.delta","output_index":1,"delta":"{}"}"#,
                r#"{"type":"response.output_text.done","item_id":"i","output_index":0,"content_index":0,"text":"ab"}"#,
                r#"{"type":"response.completed","response":{"output":[]}}"#,
            ],
            &["ab", "x", "{}"],
            &[0, 0, 0, 0, 1, 3],
        );
    }

    #[test]
    fn legacy_completions_carry_on_text() {
        check(
            &[
                r#"{"object":"text_completion","choices":[{"text":"a","index":0,"finish_reason":null}]}"#,
                r#"{"object":"text_completion","choices":[{"text":"b","index":0,"finish_reason":"length"}]}"#,
            ],
            &["ab"],
            &[0, 1],
        );
    }
}
