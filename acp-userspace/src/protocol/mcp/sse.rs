//! Messages in an event stream that was read whole (WHATWG HTML §9.2.6): MCP servers answer a single request that way.
//!
//! Only what can be edited in place is understood: each event's data on one `data:` line. An event with its
//! data over several lines is refused, not joined.

use std::ops::Range;

use smallvec::SmallVec;

/// Events with data that one buffered answer may hold.
pub const EVENTS_MAX: usize = 64;

/// Why the messages cannot be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event's data spans several lines.
    #[error("an event's data spans several lines")]
    SplitData,
    /// More than [`EVENTS_MAX`] events.
    #[error("too many events")]
    TooMany,
    /// A line that is no field of an event stream: what it holds is not known.
    #[error("a line is no field of an event stream")]
    UnknownField,
    /// Does not end with a finished event.
    #[error("the last event is not finished")]
    Unfinished,
}

/// Where the data of each event lies in `stream`, in order. Events without data, or with empty data (2025-11-25
/// opens streams so), are left out.
///
/// # Errors
/// When a message could not be edited in place, or was cut off.
pub fn messages(stream: &[u8]) -> Result<SmallVec<[Range<usize>; 2]>, SseError> {
    let mut messages = SmallVec::new();
    let mut data: Option<Range<usize>> = None;
    let mut at = if stream.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    while at < stream.len() {
        let rest = &stream[at..];
        let len = memchr::memchr2(b'\r', b'\n', rest).ok_or(SseError::Unfinished)?;
        let line = at..at + len;
        at += len + if rest[len..].starts_with(b"\r\n") { 2 } else { 1 };
        if len == 0 {
            match data.take() {
                Some(data) if !data.is_empty() && messages.len() == EVENTS_MAX => return Err(SseError::TooMany),
                Some(data) if !data.is_empty() => messages.push(data),
                _ => {}
            }
        } else if let Some(value) = data_value(stream, line.clone()) {
            if data.replace(value).is_some() {
                return Err(SseError::SplitData);
            }
        } else if !is_field(&stream[line]) {
            return Err(SseError::UnknownField);
        }
    }
    if data.is_some() { Err(SseError::Unfinished) } else { Ok(messages) }
}

/// The value of a `data` line.
fn data_value(stream: &[u8], line: Range<usize>) -> Option<Range<usize>> {
    let rest = stream[line.clone()].strip_prefix(b"data")?;
    let skip = match rest {
        [] => 4,
        [b':', b' ', ..] => 6,
        [b':', ..] => 5,
        _ => return None,
    };
    Some(line.start + skip..line.end)
}

/// A comment, or a field that events have. Readers skip any other line, but what one shows is not known: a list of tools
/// under the wrong type would pass as it is.
fn is_field(line: &[u8]) -> bool {
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
    matches!(name, b"" | b"event" | b"id" | b"retry")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stream: &str, expected: Result<&[&str], SseError>) {
        let found = messages(stream.as_bytes());
        let found = found.map(|ranges| ranges.into_iter().map(|range| &stream[range]).collect::<Vec<_>>());
        assert_eq!(found.as_deref().map_err(|e| *e), expected, "{stream:?}");
    }

    #[test]
    fn finds_the_data_of_each_event() {
        check("event: message\ndata: {\"a\":1}\n\n", Ok(&["{\"a\":1}"]));
        check("data:{}\r\n\r\n: comment\r\nid: 7\r\nretry: 5\r\ndata: []\r\n\r\n", Ok(&["{}", "[]"]));
        check("id: 1\rdata: \r\rdata: 1\r\r", Ok(&["1"]));
        check("data\n\n", Ok(&[]));
        check("", Ok(&[]));
    }

    #[test]
    fn refuses_what_it_could_not_edit_in_place() {
        check("data: {\ndata: }\n\n", Err(SseError::SplitData));
        check("data: {}\n", Err(SseError::Unfinished));
        check("data: {}", Err(SseError::Unfinished));
        check("database: 1\n\n", Err(SseError::UnknownField));
        check("{\"tools\":[]}\n\n", Err(SseError::UnknownField));
        check(&"data: 1\n\n".repeat(EVENTS_MAX + 1), Err(SseError::TooMany));
    }
}
