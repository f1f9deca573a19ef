//! Streams made to be slow: cut into the smallest reads and pieces, or one event of as many as fit.
//!
//! What a stream costs has to depend on its bytes, not on how they are divided: each of these has much of something that
//! is looked at once per read, per line, per piece, per edit, or per name.

use super::Form::{Events, Stream};
use super::{Class, Form, Input, Make, deltas, list};

/// Everything that is measured of streams beside the others.
pub(crate) const STREAMS: &[Input] = &[
    stream("deltas of one character", Events, 1 << 10, |len| pieces(len, 1)),
    stream("deltas of seven characters", Events, 7, |len| pieces(len, 7)),
    stream("events byte by byte", Events, 1, |len| deltas(len, || "passport 1-2-3 ab:cd:@x ".chars())),
    stream("data of one character", Events, 1 << 10, |len| "data: 1\n\n".repeat(len / 9)),
    stream("comments", Events, 1 << 10, |len| ":1\n".repeat(len / 3)),
    stream("empty events", Events, 1 << 10, |len| format!("data: 1\n{}", "\n".repeat(len))),
    stream("one event byte by byte", Events, 1, |len| format!("data: {}\n\n", "x1".repeat(len / 2))),
    stream("keys that begin", Events, 1 << 10, |len| one_event(&"-----BEGIN ".repeat(len / 11))),
    stream("addresses without a seam", Events, 1 << 10, |len| deltas(len, || "a@b.example;".chars())),
    stream("arguments full of numbers", Events, 1 << 10, arguments),
    stream("pieces beside values", Events, 1 << 10, pieces_beside_values),
    stream("pieces of one text", Events, 1 << 10, |len| {
        format!("data: {}\n\n", list(len, |_| r#"{"text":"x"}"#.into()))
    }),
    stream("pieces on lines of their own", Events, 1 << 10, |len| {
        format!("data: {}\n\n", list(len, |_| "\ndata: {\"text\":\"x\"}".into()))
    }),
    stream("pieces under a long name", Events, 1 << 10, |len| {
        format!("data: {{\"{}\":{}}}\n\n", "n".repeat(len / 2), list(len / 2, |_| r#"{"text":"x"}"#.into()))
    }),
    stream("pieces beside many members", Events, 1 << 10, |len| {
        let members: String = (0..len / 24).map(|at| format!("\"m{at:x}\":1,")).collect();
        format!("data: {{{members}\"of\":{}}}\n\n", list(len / 2, |_| r#"{"text":"x"}"#.into()))
    }),
    stream("calls of a choice of a long index", Events, 1 << 10, calls),
    stream("lines of nothing", Stream, 1 << 10, |len| "\n".repeat(len)),
    stream("lines of one digit", Stream, 1, |len| "1\n".repeat(len / 2)),
    stream("lines of marks", Stream, 1 << 10, |len| "%31\n".repeat(len / 4)),
    stream("text byte by byte", Stream, 1, |len| "passport 1-2-3 ab:cd:@x ".repeat(len / 24)),
    stream("text without a seam", Stream, 7, |len| "a@b.example;".repeat(len / 12)),
];

const fn stream(name: &'static str, form: Form, read: usize, make: fn(usize) -> String) -> Input {
    Input { name, class: Class::Hostile, form, read, make: Make::With(make) }
}

/// Events of an unknown shape that carry so many characters each.
fn pieces(len: usize, step: usize) -> String {
    let text = "passport 1-2-3 ab:cd:@x %31 ".repeat(1 + len / 28).into_bytes();
    let events = text.chunks(step).map(|piece| one_event(&String::from_utf8_lossy(piece)));
    let mut stream = String::new();
    stream.extend(events.take_while({
        let mut left = len;
        move |event| {
            left = left.saturating_sub(event.len());
            left > 0
        }
    }));
    stream
}

fn one_event(text: &str) -> String {
    format!("data: {{\"text\":\"{text}\"}}\n\n")
}

/// One event whose arguments hold a number that is changed in every 160 bytes.
fn arguments(len: usize) -> String {
    let number = format!("\\\"{}\\\",078-05-1120,", "n ".repeat(70));
    let text = number.repeat(len / number.len());
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"function_call\":{{\"arguments\":\"[{text}\"}}}}}}]}}\n\n")
}

/// One event of pieces of a text, and values that are none, some of which are found.
fn pieces_beside_values(len: usize) -> String {
    let item =
        |at: usize| if at.is_multiple_of(16) { r#"{"ssn":"078-05-1120"}"#.into() } else { r#"{"text":"x"}"#.into() };
    format!("data: {}\n\n", list(len, item))
}

/// One event of calls of a choice that says behind many members, and at length, which it is.
fn calls(len: usize) -> String {
    let members: String = (0..len / 48).map(|at| format!("\"m{at:x}\":1,")).collect();
    let calls = list(len / 2, |_| r#"{"function":{"arguments":"x"}}"#.into());
    let index = "9".repeat(len / 4);
    format!("data: {{\"choices\":[{{{members}\"index\":{index},\"delta\":{{\"tool_calls\":{calls}}}}}]}}\n\n")
}
