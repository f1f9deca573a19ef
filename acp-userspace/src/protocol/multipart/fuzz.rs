//! What has to hold of forms whatever the bytes: body of a fuzz target, run by `crate::fuzzing`.

use super::parts;

/// A body whose boundary is `b`: written again from its parts' own bytes it is the same body, and no part holds the
/// boundary.
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
}
