//! Before a row that claims to verify tokens is measured: does it? A forged signature and a missing token must both be
//! refused with 401, or its numbers would compare nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::http::Request;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends both bad requests, each on a connection of its own.
///
/// # Errors
/// When one is answered with anything but 401.
pub(super) fn refuses_bad_tokens(server: SocketAddrV4, good: &str) -> Result<()> {
    for (what, token) in [("a forged signature", forge(good)?), ("no token", String::new())] {
        let status = status_of(server, &token).with_context(|| format!("sending {what}"))?;
        if status != 401 {
            bail!("{what} is answered with {status}, not 401: tokens are not verified");
        }
    }
    Ok(())
}

/// The token with the first character of its signature changed, which changes six of its bits.
pub(super) fn forge(token: &str) -> Result<String> {
    let (signed, signature) = token.rsplit_once('.').context("a token has three parts")?;
    let rest = signature.get(1..).context("a token has a signature")?;
    let first = if signature.starts_with('A') { 'B' } else { 'A' };
    Ok(format!("{signed}.{first}{rest}"))
}

/// Sends one request and reads the status line; an answer may come, and the connection be closed, before its body was
/// read.
fn status_of(server: SocketAddrV4, token: &str) -> Result<u16> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::V4(server), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    Request::new(&server.to_string(), token).write_numbered(0, &mut request);
    match stream.write_all(&request) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => return Err(error.into()),
        _ => {}
    }
    let mut line = [0; 12];
    stream.read_exact(&mut line).context("reading the answer")?;
    let status = std::str::from_utf8(&line)?.strip_prefix("HTTP/1.1 ").and_then(|status| status.parse().ok());
    status.context("the answer has no status line")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A server that answers requests whose token ends in `accepted` with 200, and others with 401.
    fn serve(accepted: &'static str) -> SocketAddrV4 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let Ok(SocketAddr::V4(address)) = listener.local_addr() else { panic!("IPv4 was asked for") };
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut buffer = [0; 8_192];
                let size = stream.read(&mut buffer).unwrap_or(0);
                let request = String::from_utf8_lossy(&buffer[..size]).into_owned();
                let good = request.lines().any(|line| line.starts_with("Authorization:") && line.ends_with(accepted));
                let status = if good { "200 OK" } else { "401 Unauthorized" };
                let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            }
        });
        address
    }

    #[test]
    fn a_server_that_verifies_passes() {
        refuses_bad_tokens(serve("a.b.cdef"), "a.b.cdef").expect("both refused");
    }

    #[test]
    fn a_server_that_ignores_the_signature_is_found_out() {
        let error = refuses_bad_tokens(serve("def"), "a.b.cdef").expect_err("the forged one passes").to_string();
        assert!(error.contains("a forged signature is answered with 200"), "{error}");
    }

    #[test]
    fn a_server_that_needs_no_token_is_found_out() {
        let error = refuses_bad_tokens(serve("Bearer "), "a.b.cdef").expect_err("none passes").to_string();
        assert!(error.contains("no token is answered with 200"), "{error}");
    }

    #[test]
    fn a_forged_token_differs_in_its_signature_only() {
        assert_eq!(forge("a.b.cdef").expect("forged"), "a.b.Adef");
        assert_eq!(forge("a.b.Adef").expect("forged"), "a.b.Bdef");
        assert!(forge("a.b.").is_err());
    }
}
