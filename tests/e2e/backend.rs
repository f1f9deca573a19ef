//! An upstream in the test's own process: records every request that reaches it, and answers as the test says.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::process::{PATIENCE, wait_for};

/// A request as the upstream got it.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Method and target.
    pub(crate) line: String,
    /// The fields, one a line.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }
}

/// What happens to the connection behind an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    Keep,
    Close,
}

type Handler = dyn Fn(&Received, &mut TcpStream) -> Then + Send + Sync;

/// Serves until its test process ends.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    connections: Arc<AtomicUsize>,
}

impl Backend {
    /// Answers every request with `{"ok":true}`.
    pub(crate) fn plain() -> Self {
        Self::start(|_, stream| json(stream, r#"{"ok":true}"#))
    }

    pub(crate) fn start(handler: impl Fn(&Received, &mut TcpStream) -> Then + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (received, connections) = (Arc::default(), Arc::default());
        let (sink, handler): (_, Arc<Handler>) = (Arc::clone(&received), Arc::new(handler));
        let open: Arc<AtomicUsize> = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (sink, handler, open) = (Arc::clone(&sink), Arc::clone(&handler), Arc::clone(&open));
                open.fetch_add(1, Ordering::AcqRel);
                std::thread::spawn(move || {
                    serve(stream, &sink, &*handler);
                    open.fetch_sub(1, Ordering::AcqRel);
                });
            }
        });
        Self { address, received, connections }
    }

    /// Everything that reached it so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Everything that reached it since it was last asked so, once every connection to it is closed.
    #[track_caller]
    pub(crate) fn take_received(&self) -> Vec<Received> {
        wait_for("the upstream's connections to end", || (self.connections.load(Ordering::Acquire) == 0).then_some(()));
        std::mem::take(&mut *self.received.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn serve(stream: TcpStream, sink: &Mutex<Vec<Received>>, handler: &Handler) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut stream = stream;
    while let Some(request) = read_request(&mut reader) {
        sink.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
        if handler(&request, &mut stream) == Then::Close {
            return;
        }
    }
}

/// Reads one request; the gateway frames bodies by their length alone. What cannot be read that way becomes a request
/// of its own, so that a test that looks at all of them sees it.
fn read_request(reader: &mut impl BufRead) -> Option<Received> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut head = String::new();
    loop {
        let mut field = String::new();
        reader.read_line(&mut field).ok().filter(|read| *read > 0)?;
        if field == "\r\n" {
            break;
        }
        head.push_str(&field);
    }
    let mut request = Received { line: line.trim_end().to_owned(), head, body: String::new() };
    let length = request.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Some(request)
}

/// Writes bytes as they are. The gateway may have hung up: what it makes of an answer is the test's business.
pub(crate) fn raw(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    let _ = stream.write_all(bytes.as_ref());
}

/// Answers 200 with JSON.
pub(crate) fn json(stream: &mut TcpStream, body: &str) -> Then {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
    raw(stream, format!("{head}{}\r\n\r\n{body}", body.len()));
    Then::Keep
}

/// Holds a handler until the test lets it go on.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub(crate) fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open; false if it never was.
    pub(crate) fn pass(&self) -> bool {
        let state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.1.wait_timeout_while(state, PATIENCE, |open| !*open);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}
