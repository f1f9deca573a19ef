//! JSON that has one reading: an object that names a member twice is an error, at any depth.
//!
//! `serde_json` keeps the last of two equal members, other readers the first, so a token or key document with a
//! repeated member says different things to different parties (RFC 8259 §4, RFC 7515 §4, RFC 8725 §2.4). Everything
//! identity reads goes through here. Depth is bounded by `serde_json` (128), size by the callers.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A value none of whose objects repeats a member.
struct Unambiguous(Value);

/// Reads one JSON object and nothing after it.
///
/// # Errors
/// Not UTF-8, not JSON, not an object, nested too deeply, or a member repeated.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, serde_json::Error> {
    match serde_json::from_slice::<Unambiguous>(bytes)?.0 {
        Value::Object(members) => Ok(members),
        _ => Err(serde_json::Error::custom("not an object")),
    }
}

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnambiguousVisitor).map(Self)
    }
}

struct UnambiguousVisitor;

impl<'de> Visitor<'de> for UnambiguousVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value without repeated members")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Unambiguous(element)) = elements.next_element()? {
            array.push(element);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Unambiguous(value))) = members.next_entry::<String, Unambiguous>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("repeated member"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, accepted: bool) {
        assert_eq!(object(text.as_bytes()).is_ok(), accepted, "{text}");
    }

    #[test]
    fn refuses_whatever_two_readers_could_read_differently() {
        check(r#"{"a":1,"b":[{"a":1},{"a":2}],"c":{"a":-1.5e3}}"#, true);
        check(r#"{"a":1,"a":1}"#, false);
        check(r#"{"a":1,"\u0061":2}"#, false);
        check(r#"{"x":{"a":1,"a":2}}"#, false);
        check(r#"{"x":[[{"a":1,"a":2}]]}"#, false);
        check(r#"{"a":1}{"#, false);
        check("[]", false);
        check("\"a\"", false);
        check("", false);
        check(&format!("{{\"x\":{}1{}}}", "[".repeat(200), "]".repeat(200)), false);
    }

    #[test]
    fn keeps_every_value_as_serde_json_reads_it() {
        let text = r#"{"s":"\u00e9\n","n":null,"t":true,"u":18446744073709551615,"i":-9223372036854775808,"f":0.1}"#;
        let plain: Value = serde_json::from_str(text).unwrap();
        assert_eq!(Value::Object(object(text.as_bytes()).unwrap()), plain);
    }
}
