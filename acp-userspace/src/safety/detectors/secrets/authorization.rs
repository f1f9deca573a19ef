//! Credentials in HTTP fields: `Authorization: Basic …` (RFC 7617), `Bearer …` (RFC 6750 §2.1), `Token …`, and the same
//! scheme alone, as commands and code write it.
//!
//! Basic is taken when it decodes to a user, a colon and a password that stands for none; the others when the value
//! looks like a key. A JWT or a provider's token behind `Bearer` is found by its own form too.

use super::base64::decode;
use super::chars::{BASE64, BEARER};
use super::value::{self, Promise};
use super::{Kind, Secret, placeholder};

/// A scheme, and the beginning of what it carries.
pub(super) const EXPRESSION: &str = concat!(
    r#"(?:bearer [A-Za-z0-9_.+/~=\-]{12}|basic [A-Za-z0-9+/]{12}|"#,
    r#"authorization["'\\]{0,3}[ ]{0,2}[:=][ "'\\]{0,4}(?:token|bot|apikey|ssws|genie-?key) [A-Za-z0-9_.+/~=\-]{12})"#
);

/// How much of the value the expression holds.
const EXPRESSION_VALUE_BYTES: usize = 12;

/// The credentials whose first twelve characters end at `end`.
pub(super) fn find(text: &[u8], end: usize) -> Option<Secret> {
    let start = end.checked_sub(EXPRESSION_VALUE_BYTES)?;
    let scheme = text[..start].strip_suffix(b" ")?;
    let value = &text[start..start + BEARER.run(&text[start..], value::BYTES_MAX)];
    let is_basic = scheme.len() >= 5 && scheme[scheme.len() - 5..].eq_ignore_ascii_case(b"basic");
    judge(is_basic, value, start)
}

/// Whether credentials are the value of the member `name`.
pub(super) fn is_name(name: &[u8]) -> bool {
    [&b"authorization"[..], b"proxy-authorization", b"auth"].iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// The credentials that are the value of the member `name`.
pub(super) fn of_member(name: &[u8], value: &[u8]) -> Option<Secret> {
    let space = is_name(name).then(|| value.iter().position(|byte| *byte == b' '))??;
    let credentials = &value[space + 1..];
    let len = BEARER.run(credentials, value::BYTES_MAX);
    judge(value[..space].eq_ignore_ascii_case(b"basic"), &credentials[..len], space + 1)
}

fn judge(is_basic: bool, value: &[u8], start: usize) -> Option<Secret> {
    let (kind, confidence) = if is_basic {
        (Kind::ConnectionString, is_pair(value).then_some(90)?)
    } else {
        (Kind::GenericSecret, value::judge(Promise::Key, value, true)?)
    };
    Some(Secret { kind, range: start..start + value.len(), confidence })
}

/// Whether `value` decodes to a user and a password, printable both.
fn is_pair(value: &[u8]) -> bool {
    const PASSWORD_BYTES_MIN: usize = 6;
    let value = &value[..BASE64.run(value, value.len())];
    let printable = decode(value).all(|byte| !byte.is_ascii_control());
    let mut password = [0u8; 64];
    let mut len = 0;
    for byte in decode(value).skip_while(|byte| *byte != b':').skip(1).take(password.len()) {
        password[len] = byte;
        len += 1;
    }
    printable && len >= PASSWORD_BYTES_MIN && !placeholder::is_value(&password[..len])
}
