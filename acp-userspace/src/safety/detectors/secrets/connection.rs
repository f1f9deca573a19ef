//! Passwords beside what they open: in URLs (RFC 3986 §3.2.1: `scheme://user:password@host`), in the settings of a
//! database driver (`Server=…;Password=…`), and in a command's `--user name:password`.
//!
//! Taken: the password. Left: one that stands for a password (`user:pass@`, `${DB_PASSWORD}`), is the user's name again,
//! or is shorter than [`PASSWORD_BYTES_MIN`].

use super::chars::{ALNUM, URL_DOT, Words, contains_any};
use super::{Kind, Secret, placeholder};

/// A scheme's end, a user, a colon, a password, an `@`.
pub(super) const URL_EXPRESSION: &str = r#"://[^\x00- /?#@:"'<>`\\]{0,64}:[^\x00- "'<>`\\/]{5,100}@"#;
/// A command's option, and a user and a password.
pub(super) const CURL_EXPRESSION: &str = r#"(?: -u|--user|--proxy-user)[ =]"#;

const PASSWORD_BYTES_MIN: usize = 6;
/// Most bytes of a scheme's end, a user and a password: what the expression takes, in whole.
const URL_BYTES: usize = 3 + 64 + 1 + 100;

/// The password before the `@` that ends at `end`.
pub(super) fn in_url(text: &[u8], end: usize) -> Option<Secret> {
    let at = end.checked_sub(1)?;
    let before = &text[at.saturating_sub(URL_BYTES)..at];
    let scheme = before.windows(3).rposition(|window| window == b"://")?;
    let user_info = &before[scheme + 3..];
    let colon = user_info.iter().position(|byte| *byte == b':')?;
    let user = &user_info[..colon];
    let start = at - (user_info.len() - colon - 1);
    // A password may hold an `@` of its own; what is behind the last is the host.
    let rest = &text[at..text.len().min(at + 64)];
    let authority = rest
        .iter()
        .take_while(|byte| !matches!(byte, b'/' | b'?' | b'#' | 0..=b' ' | b'"' | b'\'' | b'<' | b'`'))
        .count();
    let last = rest[..authority].iter().rposition(|byte| *byte == b'@')?;
    let password = &text[start..at + last];
    let host = &rest[last + 1..authority];
    let fits = is_host(host) && is_password(user, password) && !begins_path(password);
    fits.then(|| Secret { kind: Kind::ConnectionString, range: start..at + last, confidence: 90 })
}

/// What is a port and a path is no password: `http://host:8080/a@b`.
fn begins_path(password: &[u8]) -> bool {
    password.contains(&b'/')
}

fn is_host(host: &[u8]) -> bool {
    let name = host.iter().position(|byte| *byte == b':').map_or(host, |colon| &host[..colon]);
    let first = name.first().copied().unwrap_or_default();
    (ALNUM.has(first) || first == b'[' || !first.is_ascii())
        && !name.ends_with(b"}")
        && name
            .iter()
            .all(|byte| URL_DOT.has(*byte) || !byte.is_ascii() || matches!(byte, b'[' | b']' | b',' | b')' | b';'))
}

fn is_password(user: &[u8], password: &[u8]) -> bool {
    let template = user.contains(&b'{') || user.starts_with(b"$") || user == b"[REDACTED";
    // CVS has the method first: `:pserver:anoncvs@`.
    let method = user.is_empty() && password.contains(&b':');
    let stands_for_one = template || method || user.eq_ignore_ascii_case(password) || placeholder::is_value(password);
    password.len() >= PASSWORD_BYTES_MIN && !stands_for_one
}

/// How far before its option a command is looked for: URLs and headers stand between.
const COMMAND_BYTES: usize = super::BACK_BYTES_MAX;
/// Commands that take a user and a password, and what their other arguments hold.
const COMMANDS: Words = Words::of(&["curl", "wget", "http"]);

/// The password of the pair behind the option that ends at `end`, in a command that is curl's or like it.
pub(super) fn in_curl(text: &[u8], end: usize) -> Option<Secret> {
    let rest = &text[end..text.len().min(end + 128)];
    let (quote, pair) = match rest.first()? {
        quote @ (b'"' | b'\'') => (*quote, &rest[1..]),
        _ => (b' ', rest),
    };
    let len = pair.iter().position(|byte| *byte == quote || byte.is_ascii_control()).unwrap_or(pair.len());
    let pair = &pair[..len];
    let colon = pair.iter().position(|byte| *byte == b':')?;
    let (user, password) = (&pair[..colon], &pair[colon + 1..]);
    let start = end + usize::from(quote != b' ') + colon + 1;
    let command = &text[end.saturating_sub(COMMAND_BYTES)..end];
    (is_password(user, password) && contains_any(command, &COMMANDS)).then(|| Secret {
        kind: Kind::ConnectionString,
        range: start..start + password.len(),
        confidence: 85,
    })
}

/// What a driver's settings begin with.
const SETTINGS: Words = Words::of(&["server=", "host=", "data source=", "uid=", "user id="]);
/// A URL's scheme that says so too.
const JDBC: &[u8] = b"jdbc";

/// Whether the password at `start` stands among a driver's settings: a server or a user is set before or after it.
pub(super) fn is_in_settings(text: &[u8], start: usize) -> bool {
    const NEAR_BYTES: usize = 96;
    let near = &text[start.saturating_sub(NEAR_BYTES)..text.len().min(start + NEAR_BYTES)];
    let is_jdbc = |colon: usize| {
        colon.checked_sub(JDBC.len()).is_some_and(|scheme| near[scheme..colon].eq_ignore_ascii_case(JDBC))
    };
    (near.contains(&b';') && contains_any(near, &SETTINGS)) || memchr::memchr_iter(b':', near).any(is_jdbc)
}
