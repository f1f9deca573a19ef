//! What has to hold of forms whatever the bytes: body of a fuzz target, run by `crate::fuzzing`.

use super::parts;

/// A body whose boundary is `b`: written again from its parts' own bytes it is the same body, no part holds the boundary,
/// and who reads it line by line finds the same contents.
pub fn multipart(body: &[u8]) {
    let Ok(parts) = parts(body, "b") else { return };
    let (mut again, mut at) = (Vec::new(), 0);
    for part in &parts {
        assert!(at <= part.content.start && part.content.start <= part.content.end);
        assert!(memchr::memmem::find(&body[part.content.clone()], b"--b").is_none());
        let head = &body[at..part.content.start];
        assert!(head.ends_with(b"\r\n\r\n") && memchr::memmem::find_iter(head, b"--b").count() == 1);
        again.extend_from_slice(head);
        again.extend_from_slice(&body[part.content.clone()]);
        at = part.content.end;
    }
    let end = &body[at..];
    assert!(end == b"\r\n--b--" || end == b"\r\n--b--\r\n");
    again.extend_from_slice(end);
    assert_eq!(again, body);
    let contents: Vec<_> = parts.iter().map(|part| body[part.content.clone()].to_vec()).collect();
    assert_eq!(contents, by_lines(body));
}

/// What stands between a part's first empty line and the next delimiter, of each part.
fn by_lines(body: &[u8]) -> Vec<Vec<u8>> {
    let (mut lines, mut at) = (Vec::new(), 0);
    for end in memchr::memmem::find_iter(body, b"\r\n").chain([body.len()]) {
        lines.push(&body[at..end]);
        at = end + 2;
    }
    assert_eq!(lines.remove(0), b"--b");
    let last = lines.iter().position(|line| *line == b"--b--").expect("a last delimiter");
    let content = |part: &[&[u8]]| {
        let head = part.iter().position(|line| line.is_empty()).expect("an empty line");
        part[head + 1..].join(&b"\r\n"[..])
    };
    lines[..last].split(|line| *line == b"--b").map(content).collect()
}
