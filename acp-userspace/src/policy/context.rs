//! What Cedar is shown of a call, and nothing more: the context values that the applicable policies read.
//!
//! Values go through one byte encoding. The decision cache compares it, whole or by SHA-256, and Cedar's context is
//! built *from it*: two calls share a decision only if Cedar would be shown the same values. Types come from the
//! policies ([`super::shape`]); a value of another JSON type, or a number that the type cannot hold exactly (i64, or
//! four decimal places; THREATS A9), is an error, and an error denies. `null` counts as absent: JSON APIs commonly
//! treat the two alike, and a policy that needs the value says so with `has`.
//!
//! Bounds: a string of [`TEXT_BYTES_MAX`], a list of [`LIST_LEN_MAX`], an encoding of [`ENCODED_BYTES_MAX`] bytes;
//! beyond them the read is an error, since matching is linear or worse in them.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use cedar_policy::{Context, RestrictedExpression};

use super::number;
use super::reads::Reads;
use super::shape::{Kind, Scalar, Shape};
use crate::config::resolved::Detector;
use crate::safety::Finding;

/// Longest string a policy reads, in bytes: `like` is quadratic at worst.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;
/// Longest list a policy reads.
pub const LIST_LEN_MAX: usize = 1_024;
/// All that one decision reads of a call, in bytes.
pub const ENCODED_BYTES_MAX: usize = 256 * 1024;

/// One JSON value as it will be sent.
pub enum Argument<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as its JSON text: never through floating point.
    Number(Cow<'a, str>),
    /// A string, unescaped.
    Text(Cow<'a, str>),
    /// An array, in order.
    List(Box<dyn Iterator<Item = Argument<'a>> + 'a>),
    /// An object; its fields are asked for by path.
    Object,
}

/// A call's arguments *as they will be sent*: after every edit.
pub trait ArgumentView {
    /// The value at these object keys below the arguments' root; `None` when any of them is missing or when a value
    /// above it is no object.
    fn value(&self, path: &[&str]) -> Option<Argument<'_>>;

    /// JSON pointer (RFC 6901) of the root in the body, where edits are told apart: empty for a body that *is* the
    /// arguments, `/params/arguments` for MCP.
    fn root(&self) -> &str;
}

/// A call without arguments.
#[derive(Debug, Clone, Copy)]
pub struct NoArguments;

impl ArgumentView for NoArguments {
    fn value(&self, _: &[&str]) -> Option<Argument<'_>> {
        None
    }

    fn root(&self) -> &str {
        ""
    }
}

/// A value that policies read cannot be shown to them as it is; the call is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Its JSON type is not the one an applicable policy takes it for.
    #[error("an argument is not of the type a policy takes it for")]
    Type,
    /// A custom claim is not of the type an applicable policy takes it for.
    #[error("a claim is not of the type a policy takes it for")]
    Claim,
    /// A number beyond i64, or with more than four decimal places.
    #[error("a number that a policy reads cannot be represented exactly")]
    Number,
    /// A string, list, or all of them are beyond their bound.
    #[error("an argument that a policy reads is too large")]
    Size,
}

/// Everything outside the identity and the tool that a decision may depend on.
pub(super) struct Facts<'a> {
    pub(super) arguments: &'a dyn ArgumentView,
    pub(super) findings: &'a [Finding],
    pub(super) source: IpAddr,
}

/// Appends to `out` what `reads` asks for.
///
/// # Errors
/// If a value cannot be shown exactly.
pub(super) fn encode(reads: &Reads, facts: &Facts<'_>, out: &mut Vec<u8>) -> Result<(), ReadError> {
    for detector in &reads.findings {
        out.extend_from_slice(&count(facts.findings, *detector).to_le_bytes());
    }
    if reads.source {
        encode_address(facts.source, out);
    }
    if reads.arguments.is_empty() {
        return Ok(());
    }
    let mut path = smallvec::SmallVec::<[&str; 8]>::new();
    encode_fields(&reads.arguments, facts.arguments, &mut path, out)
}

/// Findings of one type, whatever was done about them.
fn count(findings: &[Finding], detector: Detector) -> i64 {
    findings.iter().filter(|finding| finding.detector == detector).map(|finding| i64::from(finding.count)).sum()
}

fn encode_address(address: IpAddr, out: &mut Vec<u8>) {
    match address {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
}

const ABSENT: u8 = 0;
const PRESENT: u8 = 1;

fn encode_fields<'s>(
    shape: &'s Shape,
    view: &dyn ArgumentView,
    path: &mut smallvec::SmallVec<[&'s str; 8]>,
    out: &mut Vec<u8>,
) -> Result<(), ReadError> {
    for (name, field) in &shape.fields {
        path.push(name);
        match (field.kind, view.value(path)) {
            (_, None | Some(Argument::Null)) => out.push(ABSENT),
            (Kind::Presence, Some(_)) => out.push(PRESENT),
            (Kind::Scalar(scalar), Some(value)) => {
                out.push(PRESENT);
                encode_scalar(scalar, value, out)?;
            }
            (Kind::Set(scalar), Some(Argument::List(items))) => {
                out.push(PRESENT);
                encode_list(scalar, items, out)?;
            }
            (Kind::Record, Some(Argument::Object)) => {
                out.push(PRESENT);
                encode_fields(field, view, path, out)?;
            }
            (Kind::Set(_) | Kind::Record, Some(_)) => return Err(ReadError::Type),
        }
        path.pop();
    }
    Ok(())
}

fn encode_scalar(scalar: Scalar, value: Argument<'_>, out: &mut Vec<u8>) -> Result<(), ReadError> {
    match (scalar, value) {
        (Scalar::Bool, Argument::Bool(value)) => out.push(u8::from(value)),
        (Scalar::Long, Argument::Number(text)) => {
            out.extend_from_slice(&number::exact(&text, 0).ok_or(ReadError::Number)?.to_le_bytes());
        }
        (Scalar::Decimal, Argument::Number(text)) => {
            let scaled = number::exact(&text, number::DECIMAL_PLACES).ok_or(ReadError::Number)?;
            out.extend_from_slice(&scaled.to_le_bytes());
        }
        (Scalar::Text, Argument::Text(text)) => encode_text(&text, out)?,
        _ => return Err(ReadError::Type),
    }
    if out.len() > ENCODED_BYTES_MAX { Err(ReadError::Size) } else { Ok(()) }
}

fn encode_text(text: &str, out: &mut Vec<u8>) -> Result<(), ReadError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(ReadError::Size);
    }
    out.extend_from_slice(&length(text.len()));
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn encode_list<'a>(
    scalar: Scalar,
    items: Box<dyn Iterator<Item = Argument<'a>> + 'a>,
    out: &mut Vec<u8>,
) -> Result<(), ReadError> {
    let at = out.len();
    out.extend_from_slice(&length(0));
    let mut len = 0;
    for item in items {
        len += 1;
        if len > LIST_LEN_MAX {
            return Err(ReadError::Size);
        }
        encode_scalar(scalar, item, out)?;
    }
    out[at..at + 4].copy_from_slice(&length(len));
    Ok(())
}

/// Lengths are bounded far below 2³².
#[expect(clippy::cast_possible_truncation, reason = "bounded by TEXT_BYTES_MAX and LIST_LEN_MAX")]
const fn length(len: usize) -> [u8; 4] {
    (len as u32).to_le_bytes()
}

/// Builds Cedar's context from an encoding that [`encode`] made for the same `reads`; `call` says whether the action
/// has arguments.
///
/// `None` would mean that the two disagree; the caller denies.
pub(super) fn decode(reads: &Reads, call: bool, encoded: &[u8]) -> Option<Context> {
    let mut reader = Reader(encoded);
    let mut findings = Vec::with_capacity(reads.findings.len());
    for detector in &reads.findings {
        findings.push((detector.name().to_owned(), RestrictedExpression::new_long(reader.long()?)));
    }
    let mut pairs = vec![("findings".to_owned(), RestrictedExpression::new_record(findings).ok()?)];
    if reads.source {
        let address = RestrictedExpression::new_ip(reader.address()?.to_string());
        let source = RestrictedExpression::new_record([("address".to_owned(), address)]).ok()?;
        pairs.push(("source".to_owned(), source));
    }
    if call {
        pairs.push(("arguments".to_owned(), reader.record(&reads.arguments)?));
    }
    if !reader.0.is_empty() {
        return None;
    }
    Context::from_pairs(pairs).ok()
}

struct Reader<'e>(&'e [u8]);

impl<'e> Reader<'e> {
    fn take(&mut self, len: usize) -> Option<&'e [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn long(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.take(4)?.try_into().ok()?)).ok()
    }

    fn address(&mut self) -> Option<IpAddr> {
        match self.byte()? {
            4 => Some(IpAddr::from(<[u8; 4]>::try_from(self.take(4)?).ok()?)),
            6 => Some(IpAddr::from(<[u8; 16]>::try_from(self.take(16)?).ok()?)),
            _ => None,
        }
    }

    fn record(&mut self, shape: &Shape) -> Option<RestrictedExpression> {
        let mut fields = Vec::with_capacity(shape.fields.len());
        for (name, field) in &shape.fields {
            if self.byte()? == PRESENT {
                fields.push((name.to_string(), self.value(field)?));
            }
        }
        RestrictedExpression::new_record(fields).ok()
    }

    fn value(&mut self, shape: &Shape) -> Option<RestrictedExpression> {
        match shape.kind {
            Kind::Presence => Some(RestrictedExpression::new_bool(true)),
            Kind::Scalar(scalar) => self.scalar(scalar),
            Kind::Set(scalar) => {
                let len = self.length()?;
                let items = (0..len).map(|_| self.scalar(scalar)).collect::<Option<Vec<_>>>()?;
                Some(RestrictedExpression::new_set(items))
            }
            Kind::Record => self.record(shape),
        }
    }

    fn scalar(&mut self, scalar: Scalar) -> Option<RestrictedExpression> {
        Some(match scalar {
            Scalar::Bool => RestrictedExpression::new_bool(self.byte()? == 1),
            Scalar::Long => RestrictedExpression::new_long(self.long()?),
            Scalar::Decimal => RestrictedExpression::new_decimal(number::decimal_text(self.long()?)),
            Scalar::Text => {
                let len = self.length()?;
                RestrictedExpression::new_string(std::str::from_utf8(self.take(len)?).ok()?.to_owned())
            }
        })
    }
}

/// Custom claims as a record, through the same encoding. Claims whose value does not fit are left out and their names
/// noted in `unfit`: a policy that reads one of them cannot be evaluated.
pub(super) fn claim_value(
    claims: &serde_json::Map<String, serde_json::Value>,
    shape: &Shape,
    unfit: &mut BTreeSet<Arc<str>>,
) -> RestrictedExpression {
    let mut fields = Vec::with_capacity(shape.fields.len());
    for (name, field) in &shape.fields {
        let one = Shape { kind: Kind::Record, fields: vec![(Arc::clone(name), field.clone())] };
        let mut encoded = Vec::new();
        let value = match encode_fields(&one, claims, &mut smallvec::SmallVec::new(), &mut encoded) {
            Ok(()) if encoded == [ABSENT] => continue,
            Ok(()) => Reader(&encoded[1..]).value(field),
            Err(_) => None,
        };
        match value {
            Some(value) => fields.push((name.to_string(), value)),
            None => _ = unfit.insert(Arc::clone(name)),
        }
    }
    // Field names of a shape are unique, so the record is well-formed; an empty one reads as "no claim".
    RestrictedExpression::new_record(fields).unwrap_or_else(|_| RestrictedExpression::new_set([]))
}

/// Claims are read like arguments. Exact for every number that `serde_json` keeps exactly.
impl ArgumentView for serde_json::Map<String, serde_json::Value> {
    fn value(&self, path: &[&str]) -> Option<Argument<'_>> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.get(*first)?, |value, name| value.as_object()?.get(*name)).map(json_argument)
    }

    fn root(&self) -> &str {
        ""
    }
}

fn json_argument(value: &serde_json::Value) -> Argument<'_> {
    use serde_json::Value;
    match value {
        Value::Null => Argument::Null,
        Value::Bool(value) => Argument::Bool(*value),
        Value::Number(number) => Argument::Number(Cow::Owned(number.to_string())),
        Value::String(text) => Argument::Text(Cow::Borrowed(text)),
        Value::Array(items) => Argument::List(Box::new(items.iter().map(json_argument))),
        Value::Object(_) => Argument::Object,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shape(fields: &[(&str, Kind)]) -> Reads {
        let mut reads = Reads::none();
        for (path, kind) in fields {
            let path: Vec<_> = path.split('.').map(Arc::from).collect();
            reads.arguments.read(&path, *kind).unwrap();
        }
        reads
    }

    fn encoding(reads: &Reads, arguments: &serde_json::Value) -> Result<Vec<u8>, ReadError> {
        let mut out = Vec::new();
        let facts =
            Facts { arguments: arguments.as_object().unwrap(), findings: &[], source: IpAddr::from([192, 0, 2, 1]) };
        encode(reads, &facts, &mut out).map(|()| out)
    }

    /// What Cedar is shown of `arguments`.
    #[track_caller]
    fn check(fields: &[(&str, Kind)], arguments: &serde_json::Value, expected: &str) {
        let reads = shape(fields);
        let encoded = encoding(&reads, arguments).unwrap();
        let context = decode(&reads, true, &encoded).unwrap();
        let shown = context.get("arguments").unwrap().to_string();
        assert_eq!(shown, expected);
    }

    const LONG: Kind = Kind::Scalar(Scalar::Long);
    const TEXT: Kind = Kind::Scalar(Scalar::Text);
    const DECIMAL: Kind = Kind::Scalar(Scalar::Decimal);

    #[test]
    fn cedar_sees_what_is_read_and_nothing_else() {
        check(&[("a", LONG)], &json!({"a": 5, "b": 6}), "{\"a\": 5}");
        check(&[("a.b", TEXT)], &json!({"a": {"b": "x", "c": 1}}), "{\"a\": {\"b\": \"x\"}}");
        check(&[("a.b", TEXT)], &json!({}), "{}");
        check(&[("a", Kind::Presence)], &json!({"a": [1, "x"]}), "{\"a\": true}");
        check(&[("a", LONG)], &json!({"a": null}), "{}");
        check(&[("a", DECIMAL)], &json!({"a": 1.25}), "{\"a\": decimal(\"1.2500\")}");
        check(&[("a", Kind::Set(Scalar::Long))], &json!({"a": [3, 1, 3]}), "{\"a\": [1, 3]}");
    }

    #[test]
    fn a_value_of_another_type_is_an_error() {
        #[track_caller]
        fn refuse(kind: Kind, value: serde_json::Value, expected: ReadError) {
            assert_eq!(encoding(&shape(&[("a", kind)]), &json!({ "a": value })), Err(expected));
        }
        refuse(LONG, json!("5"), ReadError::Type);
        refuse(LONG, json!(5.5), ReadError::Number);
        refuse(LONG, json!(18_446_744_073_709_551_615_u64), ReadError::Number);
        refuse(DECIMAL, json!(0.00001), ReadError::Number);
        refuse(TEXT, json!(["x"]), ReadError::Type);
        refuse(TEXT, json!("x".repeat(TEXT_BYTES_MAX + 1)), ReadError::Size);
        refuse(Kind::Set(Scalar::Long), json!(5), ReadError::Type);
        refuse(Kind::Set(Scalar::Long), json!([5, "x"]), ReadError::Type);
        refuse(Kind::Set(Scalar::Long), json!([5, null]), ReadError::Type);
        refuse(Kind::Set(Scalar::Long), json!(vec![1; LIST_LEN_MAX + 1]), ReadError::Size);
        refuse(Kind::Record, json!("x"), ReadError::Type);
    }

    #[test]
    fn an_inexact_number_matters_only_when_it_is_read() {
        let arguments = json!({"a": 1, "huge": 1e300});
        assert!(encoding(&shape(&[("a", LONG)]), &arguments).is_ok());
        assert_eq!(encoding(&shape(&[("huge", LONG)]), &arguments), Err(ReadError::Number));
    }

    #[test]
    fn different_values_never_share_an_encoding() {
        let reads = shape(&[("a", TEXT), ("b", TEXT), ("c", Kind::Set(Scalar::Text))]);
        let calls = [
            json!({"a": "xy"}),
            json!({"a": "x", "b": "y"}),
            json!({"b": "xy"}),
            json!({"a": ""}),
            json!({"c": ["xy"]}),
            json!({"c": ["x", "y"]}),
            json!({"c": []}),
            json!({}),
        ];
        let encodings: std::collections::HashSet<_> =
            calls.iter().map(|call| encoding(&reads, call).unwrap()).collect();
        assert_eq!(encodings.len(), calls.len());
    }
}
