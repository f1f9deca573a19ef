//! Records as text: nothing that reaches a terminal or a pipe holds a control character.

use serde_json::Value;

use super::Record;
use crate::audit::json::text::string;

/// A text fit for a terminal: what JSON would escape is escaped, without the quotes.
#[must_use]
pub fn shown(text: &str) -> String {
    let mut buf = Vec::with_capacity(text.len() + 2);
    string(&mut buf, text);
    let inner = buf.get(1..buf.len().saturating_sub(1)).unwrap_or_default();
    String::from_utf8_lossy(inner).replace("\\\"", "\"")
}

/// The record as one line of JSON, with `subject` and `client_address` in clear where the key is there and
/// `"erased":true` where it is not.
#[must_use]
pub fn json_line(record: &Record) -> String {
    let mut fields = record.fields.clone();
    if let Some(personal) = &record.personal {
        if !personal.subject.is_empty() {
            fields.insert("subject".to_owned(), personal.subject.as_str().into());
        }
        fields.insert("client_address".to_owned(), address(record).into());
    }
    if record.erased {
        fields.insert("erased".to_owned(), true.into());
    }
    let mut buf = Vec::new();
    write(&mut buf, &Value::Object(fields));
    String::from_utf8(buf).unwrap_or_default()
}

/// The client's address, or the source block a summary is about.
#[must_use]
pub fn address(record: &Record) -> String {
    match &record.personal {
        None => String::new(),
        Some(personal) if personal.address.port() != 0 => personal.address.to_string(),
        Some(personal) if personal.address.is_ipv6() => format!("{}/64", personal.address.ip()),
        Some(personal) => personal.address.ip().to_string(),
    }
}

fn write(buf: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => string(buf, text),
        Value::Array(items) => {
            buf.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    buf.push(b',');
                }
                write(buf, item);
            }
            buf.push(b']');
        }
        Value::Object(fields) => {
            buf.push(b'{');
            for (n, (key, item)) in fields.iter().enumerate() {
                if n > 0 {
                    buf.push(b',');
                }
                string(buf, key);
                buf.push(b':');
                write(buf, item);
            }
            buf.push(b'}');
        }
        plain => buf.extend_from_slice(plain.to_string().as_bytes()),
    }
}
