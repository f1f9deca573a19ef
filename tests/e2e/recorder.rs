//! An upstream that trusts nobody: it reads byte by byte what RFC 9112 and the gateway's promises allow, records each
//! request exactly as it came, and takes everything else for a fault.
//!
//! Allowed is one spelling: `METHOD /target HTTP/1.1`, fields of token, colon, space and text, at most one
//! Content-Length in plain digits, nothing that any server could take for Transfer-Encoding, exactly one Host, one
//! verified user and one request id. Nothing may lie behind a request before it is answered.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    pub(crate) target: String,
    /// The head, byte for byte.
    pub(crate) head: String,
    fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Recorded {
    /// The values of a field; names are compared as the most careless server would, which takes every mark for `-`.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let mapped = |name: &str| name.replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_ascii_lowercase();
        self.fields.iter().filter(|(field, _)| mapped(field) == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Whose it is.
    pub(crate) fn user(&self) -> &str {
        self.all("x-user-uid")[0]
    }

    /// The gateway's name for it.
    pub(crate) fn id(&self) -> &str {
        self.all("x-request-id")[0]
    }
}

/// What came, and what should not have.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) requests: Vec<Recorded>,
    pub(crate) faults: Vec<String>,
}

/// Serves until its test process ends.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    record: Arc<Mutex<Record>>,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let record: Arc<Mutex<Record>> = Arc::default();
        let sink = Arc::clone(&record);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sink = Arc::clone(&sink);
                std::thread::spawn(move || serve(stream, &sink));
            }
        });
        Self { address, record }
    }

    /// Looks at everything so far.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&Record) -> T) -> T {
        look(&self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(mut stream: TcpStream, sink: &Mutex<Record>) {
    let mut buf = Vec::new();
    loop {
        let outcome = request(&mut stream, &mut buf);
        let mut record = sink.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(Some(request)) => {
                let answer = answer(&request);
                record.requests.push(request);
                drop(record);
                if stream.write_all(&answer).is_err() {
                    return;
                }
            }
            Ok(None) => return,
            Err(fault) => return record.faults.push(format!("{fault}: {}", buf.escape_ascii())),
        }
    }
}

/// Says what came, so that a client can tell whose answer it got.
fn answer(request: &Recorded) -> Vec<u8> {
    let body = json!({
        "id": request.id(), "user": request.user(), "target": request.target,
        "body": String::from_utf8_lossy(&request.body),
    })
    .to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
    if request.method == "HEAD" { head.into_bytes() } else { (head + &body).into_bytes() }
}

/// Reads one request; `None` at the end of the connection.
fn request(stream: &mut TcpStream, buf: &mut Vec<u8>) -> Result<Option<Recorded>, String> {
    let end = loop {
        if let Some(at) = buf.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if !more(stream, buf) {
            return if buf.is_empty() { Ok(None) } else { Err("bytes that are no request".to_owned()) };
        }
    };
    let mut request = head(&buf[..end])?;
    let length = request.all("content-length").first().map_or(Ok(0), |length| length.parse());
    let length: usize = length.map_err(|_| "a length that is none")?;
    while buf.len() < end + length {
        if !more(stream, buf) {
            return Err("a body cut short".to_owned());
        }
    }
    request.body = buf[end..end + length].to_vec();
    buf.drain(..end + length);
    if buf.is_empty() { Ok(Some(request)) } else { Err("bytes behind a request".to_owned()) }
}

fn more(stream: &mut TcpStream, buf: &mut Vec<u8>) -> bool {
    let mut some = [0; 16 * 1024];
    let read = stream.read(&mut some).unwrap_or(0);
    buf.extend_from_slice(&some[..read]);
    read > 0
}

/// Reads a head in its only spelling.
fn head(bytes: &[u8]) -> Result<Recorded, String> {
    // Field values may hold any byte beyond ASCII: each becomes a character of its own.
    let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    let lines = text.strip_suffix("\r\n\r\n").ok_or("no end")?;
    if lines.replace("\r\n", "").contains(['\r', '\n', '\0']) {
        return Err("a lone CR, LF or NUL".to_owned());
    }
    let mut lines = lines.split("\r\n");
    let parts: Vec<_> = lines.next().unwrap_or_default().split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else { return Err("no request line".to_owned()) };
    let sound = target.starts_with('/') && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) || !sound {
        return Err("a method or target that is none".to_owned());
    }
    let fields: Result<Vec<_>, String> = lines.map(field).collect();
    let request = Recorded {
        method: method.to_owned(),
        target: target.to_owned(),
        head: text.clone(),
        fields: fields?,
        body: Vec::new(),
    };
    let counts = ["host", "x-user-uid", "x-request-id"].map(|name| request.all(name).len());
    let lengths = request.all("content-length");
    let plain = |length: &&&str| length.bytes().all(|byte| byte.is_ascii_digit()) && !length.is_empty();
    match () {
        () if counts != [1; 3] => Err(format!("{counts:?} of Host, user and id")),
        () if lengths.len() > 1 || lengths.iter().filter(plain).count() != lengths.len() => {
            Err("two lengths".to_owned())
        }
        () if !request.all("transfer-encoding").is_empty() => Err("a transfer coding".to_owned()),
        () => Ok(request),
    }
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(": ").or_else(|| line.split_once(':')).ok_or("a line that is no field")?;
    let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^`|~".contains(&b));
    let text = value.trim_matches([' ', '\t']) == value && !value.contains(|c: char| c.is_ascii_control() && c != '\t');
    if token && text { Ok((name.to_owned(), value.to_owned())) } else { Err(format!("no field: {line:?}")) }
}
