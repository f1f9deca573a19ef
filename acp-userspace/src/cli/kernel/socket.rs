//! One request to the admin socket of a running gateway. HTTP/1.0, so that an answer ends where the connection does.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};

/// Most of an answer that is read: all sources of a full book.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A gateway that is busy answers within milliseconds; one that hangs is not waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer of the gateway.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct Answer {
    pub(in crate::cli) status: u16,
    pub(in crate::cli) body: Vec<u8>,
}

/// Asks; `body` is JSON and makes it a POST.
pub(in crate::cli) fn ask(socket: &Path, path: &str, body: Option<&serde_json::Value>) -> anyhow::Result<Answer> {
    let mut stream = UnixStream::connect(socket)
        .with_context(|| format!("cannot reach a gateway at {}; is one running, and may you?", socket.display()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let request = match body {
        None => format!("GET {path} HTTP/1.0\r\nHost: acp\r\n\r\n"),
        Some(body) => {
            let (body, kind) = (body.to_string(), "Content-Type: application/json");
            let length = body.len();
            format!("POST {path} HTTP/1.0\r\nHost: acp\r\n{kind}\r\nContent-Length: {length}\r\n\r\n{body}")
        }
    };
    stream.write_all(request.as_bytes()).context("cannot ask the gateway")?;
    let mut bytes = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).context("the gateway does not answer")?;
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> anyhow::Result<Answer> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(bytes).context("what answers is no gateway")? else {
        bail!("the gateway ended in the middle of its answer");
    };
    let status = head.code.context("an answer without a status")?;
    let declared = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let declared = declared.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    let body = &bytes[length..];
    ensure!(declared.is_none_or(|declared| declared == body.len()), "the gateway's answer was cut off");
    Ok(Answer { status, body: body.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_answer_and_notices_one_that_was_cut_off() {
        let whole = b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n[]";
        assert_eq!(parse(whole).unwrap(), Answer { status: 200, body: b"[]".to_vec() });
        assert!(parse(&whole[..whole.len() - 1]).unwrap_err().to_string().contains("cut off"));
        assert!(parse(b"HTTP/1.0 200 OK\r\n").unwrap_err().to_string().contains("in the middle"));
        assert!(parse(b"SSH-2.0-x\r\n").is_err());
    }
}
