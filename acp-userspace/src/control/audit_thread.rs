//! The audit writer's thread: drains the rings on time, takes events from the rest of the control side.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::audit_writer::{AuditHealth, AuditWriter};
use crate::audit::json::event::{EventKind, Value};
use crate::clock::Now;

/// Events that may wait for the writer; more are dropped and counted as a gap by the sender.
const EVENTS_MAX: usize = 4096;

/// A value of an event, owned.
#[derive(Debug, Clone)]
pub enum Detail {
    /// Text.
    Text(String),
    /// A number.
    Number(u64),
    /// Yes or no.
    Bool(bool),
    /// A digest.
    Digest([u8; 32]),
}

enum Message {
    Event(EventKind, Vec<(&'static str, Detail)>),
    Stop,
}

/// A handle on the writer's thread.
#[derive(Debug)]
pub struct AuditThread {
    events: AuditEvents,
    health: Arc<AuditHealth>,
    thread: JoinHandle<std::io::Result<()>>,
}

/// Sends events to the log.
#[derive(Debug, Clone)]
pub struct AuditEvents(SyncSender<Message>);

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Event(kind, _) => write!(f, "Event({kind:?})"),
            Self::Stop => f.write_str("Stop"),
        }
    }
}

impl AuditEvents {
    /// Adds an event to the log's next batch; false when the writer is far behind.
    pub fn send(&self, kind: EventKind, detail: Vec<(&'static str, Detail)>) -> bool {
        self.0.try_send(Message::Event(kind, detail)).is_ok()
    }
}

impl AuditThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn start(writer: AuditWriter) -> std::io::Result<Self> {
        let (sender, receiver) = mpsc::sync_channel(EVENTS_MAX);
        let health = Arc::clone(writer.health());
        let thread = std::thread::Builder::new().name("acp-audit".into()).spawn(move || run(writer, &receiver))?;
        Ok(Self { events: AuditEvents(sender), health, thread })
    }

    /// Sends events.
    #[must_use]
    pub fn events(&self) -> &AuditEvents {
        &self.events
    }

    /// Whether the log takes records, and its numbers.
    #[must_use]
    pub fn health(&self) -> &Arc<AuditHealth> {
        &self.health
    }

    /// Drains for the last time and waits for the disk. Call when no worker runs any more.
    ///
    /// # Errors
    /// The last batch is not on disk; it stays in the rings for the next start.
    pub fn stop(self) -> std::io::Result<()> {
        let _ = self.events.0.send(Message::Stop);
        drop(self.events);
        self.thread.join().unwrap_or_else(|_| Err(std::io::Error::other("the audit thread panicked")))
    }
}

/// Drains every interval, however many events come meanwhile: each closed connection is one, and a log that waited for a
/// pause between them would never write a call's record.
fn run(mut writer: AuditWriter, messages: &mpsc::Receiver<Message>) -> std::io::Result<()> {
    let interval = writer.interval();
    let mut due = Instant::now() + interval;
    loop {
        match messages.recv_timeout(due.saturating_duration_since(Instant::now())) {
            Ok(Message::Event(kind, detail)) => add(&mut writer, kind, &detail),
            Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return writer.close(Now::read()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if Instant::now() >= due {
            let more = writer.drain(Now::read()).more;
            due = Instant::now() + if more { Duration::ZERO } else { interval };
        }
    }
}

fn add(writer: &mut AuditWriter, kind: EventKind, detail: &[(&'static str, Detail)]) {
    let detail: Vec<(&'static str, Value<'_>)> = detail
        .iter()
        .map(|(key, value)| {
            let value = match value {
                Detail::Text(text) => Value::Text(text),
                Detail::Number(number) => Value::Number(*number),
                Detail::Bool(yes) => Value::Bool(*yes),
                Detail::Digest(digest) => Value::Digest(digest),
            };
            (*key, value)
        })
        .collect();
    writer.event(Now::read(), kind, &detail);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolved::{AuditConfig, Durability};

    #[test]
    fn a_steady_stream_of_events_does_not_keep_the_rings_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let config = AuditConfig {
            dir: dir.path().to_owned(),
            durability: Durability::Batch,
            ring_bytes: 64 * 1024,
            segment_bytes: 64 << 20,
            segment_age: Duration::from_secs(86_400),
            min_free_bytes: 0,
            head_interval: Duration::from_secs(60),
        };
        let thread = AuditThread::start(AuditWriter::open(&config, 1, Now::read()).unwrap().writer).unwrap();
        let before = thread.health().numbers().batches;
        let limit = Instant::now() + Duration::from_secs(20);
        while thread.health().numbers().batches == before {
            assert!(Instant::now() < limit, "nothing is drained while events come");
            // Closer together than the writer's interval.
            thread.events().send(EventKind::ConnectionClosed, Vec::new());
            std::thread::sleep(Duration::from_millis(1));
        }
        thread.stop().unwrap();
    }
}
