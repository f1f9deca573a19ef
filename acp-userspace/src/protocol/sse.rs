//! Event streams (WHATWG HTML §9.2.5, §9.2.6), cut into events as their bytes come.
//!
//! [`Events`] takes bytes and gives back every event once it is whole: its bytes as they came, from its first line to
//! the end of the empty line that finishes it. Nothing is dropped: comments, unknown fields, a byte order mark and empty
//! lines are bytes of the event they precede, so that the events together are the stream. [`Event::lines`] and
//! [`Event::data`] say what a reader will see in one.
//!
//! Where an event ends is decided by the bytes alone, not by how they were read. One subtlety: a `CR` that could be the
//! first half of a `CRLF` leaves that open, so that the next byte is awaited; not so for the empty line behind a line that
//! ended in a lone `CR`, which would hold back a whole event for a byte that comes with the next.
//!
//! An event is at most as long as the caller says; a longer one is an error, and so bounds what is held.

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

/// What may stand before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// An event is longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {0} bytes")]
pub struct EventTooLong(pub usize);

/// The bytes of a stream that are no whole event yet.
#[derive(Debug)]
pub struct Events {
    buf: Vec<u8>,
    /// Where the event begins that is being read.
    start: usize,
    /// Where its last line begins.
    line: usize,
    /// How far that line was searched for its end.
    searched: usize,
    /// The line before ended in a lone `CR`.
    after_cr: bool,
    /// The event is the stream's first.
    first: bool,
    event_bytes_max: usize,
}

/// One event, or what is left of one at the end of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// As they came.
    pub bytes: &'a [u8],
    /// Where its first line begins: behind a byte order mark.
    begin: usize,
}

/// A line that is not empty; places are in [`Event::bytes`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a> {
    /// What stands before the colon, or all of it without one; empty for a comment.
    pub name: &'a [u8],
    /// What stands behind the colon and one space.
    pub value: Range<usize>,
    /// All but its end.
    pub span: Range<usize>,
}

/// An event's data: the values of its `data` lines, joined by line feeds.
#[derive(Debug, Clone)]
pub struct Data<'a> {
    /// As a reader gets it.
    pub text: Cow<'a, [u8]>,
    /// Where it stands in the event.
    pub places: Places,
}

/// Where each line of an event's data stands: its place in the data, and its bytes in the event.
#[derive(Debug, Clone)]
pub struct Places(SmallVec<[(usize, Range<usize>); 1]>);

impl Events {
    /// Reads a stream of events of at most so many bytes.
    #[must_use]
    pub fn new(event_bytes_max: usize) -> Self {
        Self { buf: Vec::new(), start: 0, line: 0, searched: 0, after_cr: false, first: true, event_bytes_max }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buf.drain(..self.start);
            self.line -= self.start;
            self.searched -= self.start;
            self.start = 0;
        }
        self.buf.extend_from_slice(bytes);
    }

    /// How many bytes wait for the end of their event.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buf.len() - self.start
    }

    /// The next event that is whole.
    ///
    /// # Errors
    /// When it is, or will be, longer than allowed.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, EventTooLong> {
        let end = self.find_end();
        if end.unwrap_or(self.buf.len()) - self.start > self.event_bytes_max {
            return Err(EventTooLong(self.event_bytes_max));
        }
        Ok(end.map(|end| self.take(end)))
    }

    /// What is left at the end of the stream. Readers drop an event that was not finished, or do not: it is for the caller
    /// to see what it holds.
    pub fn rest(&mut self) -> Option<Event<'_>> {
        let end = self.buf.len();
        (end > self.start).then(|| self.take(end))
    }

    fn take(&mut self, end: usize) -> Event<'_> {
        let begins = std::mem::replace(&mut self.first, false);
        let bytes = &self.buf[std::mem::replace(&mut self.start, end)..end];
        (self.line, self.searched) = (end, end);
        let begin = if begins && bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        Event { bytes, begin }
    }

    /// Where the event ends, if its empty line is there.
    fn find_end(&mut self) -> Option<usize> {
        loop {
            let Some(found) = memchr::memchr2(b'\r', b'\n', &self.buf[self.searched..]) else {
                self.searched = self.buf.len();
                return None;
            };
            let end = self.searched + found;
            let is_empty = end == self.line;
            let (len, lone_cr) = match &self.buf[end..] {
                [b'\n', ..] => (1, false),
                _ if is_empty && self.after_cr => (1, true),
                [_, b'\n', ..] => (2, false),
                [_, _, ..] => (1, true),
                _ => {
                    self.searched = end;
                    return None;
                }
            };
            self.after_cr = lone_cr;
            (self.line, self.searched) = (end + len, end + len);
            if is_empty {
                return Some(self.line);
            }
        }
    }
}

impl<'a> Event<'a> {
    /// Its lines that are not empty, in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'a>> + use<'a> {
        let bytes = self.bytes;
        let mut at = self.begin;
        std::iter::from_fn(move || {
            while at < bytes.len() {
                let start = at;
                let end = memchr::memchr2(b'\r', b'\n', &bytes[at..]).map_or(bytes.len(), |found| at + found);
                at = end + 1;
                if end > start {
                    return Some(Line::read(bytes, start..end));
                }
            }
            None
        })
    }

    /// Its data; `None` without a `data` line.
    #[must_use]
    pub fn data(&self) -> Option<Data<'a>> {
        let mut at = 0;
        let mut place = |line: Range<usize>| {
            let begin = at;
            at += line.len() + 1;
            (begin, line)
        };
        let lines: SmallVec<[(usize, Range<usize>); 1]> =
            self.lines().filter(|line| line.name == b"data").map(|line| place(line.value)).collect();
        let bytes = |(_, line): &(usize, Range<usize>)| &self.bytes[line.clone()];
        let text = match &lines[..] {
            [] => return None,
            [line] => Cow::Borrowed(bytes(line)),
            lines => Cow::Owned(lines.iter().map(bytes).collect::<Vec<_>>().join(&b'\n')),
        };
        Some(Data { text, places: Places(lines) })
    }
}

impl<'a> Line<'a> {
    fn read(bytes: &'a [u8], span: Range<usize>) -> Self {
        let line = &bytes[span.clone()];
        let Some(colon) = memchr::memchr(b':', line) else {
            return Self { name: line, value: span.end..span.end, span };
        };
        let space = usize::from(line.get(colon + 1) == Some(&b' '));
        Self { name: &line[..colon], value: span.start + colon + 1 + space..span.end, span }
    }
}

impl Places {
    /// Where a part of [`Data::text`] stands in the event; one that goes over lines takes their ends and names with it.
    #[must_use]
    pub fn of(&self, part: Range<usize>) -> Range<usize> {
        self.locate(part.start)..self.locate(part.end)
    }

    fn locate(&self, at: usize) -> usize {
        let line = self.0.partition_point(|(begin, _)| *begin <= at).checked_sub(1).map(|line| &self.0[line]);
        line.map_or(0, |(begin, line)| line.end.min(line.start + at - begin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The events of a stream as it is cut, and their data.
    #[track_caller]
    fn check(stream: &str, expected: &[(&str, Option<&str>)]) {
        let mut events = Events::new(1 << 16);
        events.push(stream.as_bytes());
        let mut got = Vec::new();
        while let Some(event) = events.next_event().unwrap() {
            got.push(read(&event));
        }
        got.extend(events.rest().map(|event| read(&event)));
        let got: Vec<_> = got.iter().map(|(bytes, data)| (bytes.as_str(), data.as_deref())).collect();
        assert_eq!(got, expected, "{stream:?}");
        fuzz::sse(&[b"\x01", stream.as_bytes()].concat());
    }

    fn read(event: &Event<'_>) -> (String, Option<String>) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (text(event.bytes), event.data().map(|data| text(&data.text)))
    }

    #[test]
    fn an_event_ends_with_its_empty_line_and_keeps_every_byte() {
        check("", &[]);
        check("data: 1\n\ndata:2\n\n", &[("data: 1\n\n", Some("1")), ("data:2\n\n", Some("2"))]);
        check("data: 1\r\n\r\nid: 7\r\n\r\n", &[("data: 1\r\n\r\n", Some("1")), ("id: 7\r\n\r\n", None)]);
        check("data:  1 \r\rdata\r\r", &[("data:  1 \r\r", Some(" 1 ")), ("data\r\r", Some(""))]);
        check(
            ": ping\n\n\n\ndata: x\n\n",
            &[(": ping\n\n", None), ("\n", None), ("\n", None), ("data: x\n\n", Some("x"))],
        );
        check("database: 1\ndata : 2\ndata: 3\n\n", &[("database: 1\ndata : 2\ndata: 3\n\n", Some("3"))]);
    }

    #[test]
    fn data_lines_are_joined_however_they_end() {
        check(
            "data: {\ndata:  \"a\":1\r\ndata\rdata:}\n\n",
            &[("data: {\ndata:  \"a\":1\r\ndata\rdata:}\n\n", Some("{\n \"a\":1\n\n}"))],
        );
    }

    #[test]
    fn a_line_feed_behind_a_finished_event_belongs_to_the_next() {
        check("data: 1\r\r\ndata: 2\n\n", &[("data: 1\r\r", Some("1")), ("\n", None), ("data: 2\n\n", Some("2"))]);
        check("data: 1\n\r\ndata: 2\n\r", &[("data: 1\n\r\n", Some("1")), ("data: 2\n\r", Some("2"))]);
    }

    #[test]
    fn a_byte_order_mark_counts_before_the_first_line_only() {
        check(
            "\u{feff}data: 1\n\n\u{feff}data: 2\n\n",
            &[("\u{feff}data: 1\n\n", Some("1")), ("\u{feff}data: 2\n\n", None)],
        );
    }

    #[test]
    fn what_is_not_finished_is_left_for_the_end() {
        check("data: 1\n\ndata: 2\n", &[("data: 1\n\n", Some("1")), ("data: 2\n", Some("2"))]);
        check("data: 1", &[("data: 1", Some("1"))]);
    }

    #[test]
    fn an_event_may_be_as_long_as_allowed_and_no_longer() {
        let mut events = Events::new(9);
        events.push(b"data: 1\n\ndata: 12");
        assert_eq!(events.next_event().unwrap().unwrap().bytes, b"data: 1\n\n");
        assert!(events.next_event().unwrap().is_none());
        events.push(b"\n");
        assert!(events.next_event().unwrap().is_none(), "nine bytes, not finished yet");
        events.push(b"\n");
        assert_eq!(events.next_event().unwrap_err(), EventTooLong(9));
    }

    #[test]
    fn parts_of_the_data_are_found_in_the_event() {
        let event = Event { bytes: b"data: abc\r\nid: 1\ndata:def\n\n", begin: 0 };
        let data = event.data().unwrap();
        assert_eq!(&*data.text, b"abc\ndef");
        assert_eq!(&event.bytes[data.places.of(1..3)], b"bc");
        assert_eq!(&event.bytes[data.places.of(4..7)], b"def");
        assert_eq!(&event.bytes[data.places.of(2..5)], b"c\r\nid: 1\ndata:d");
        assert_eq!(data.places.of(7..7).start, event.bytes.len() - 2);
    }
}
