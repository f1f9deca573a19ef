//! `RateLimit`, `RateLimit-Policy` and `Retry-After` values (draft-ietf-httpapi-ratelimit-headers-11; RFC 9110 §10.2.3),
//! written without formatting machinery.

use crate::usage::LimitState;

/// `RateLimit-Policy`: `"user";q=100;w=60`.
pub fn write_rate_limit_policy(out: &mut Vec<u8>, limit: &LimitState) {
    write_name(out, &limit.id);
    out.extend_from_slice(b";q=");
    write_number(out, limit.quota);
    out.extend_from_slice(b";w=");
    write_number(out, limit.window_secs);
}

/// `RateLimit`: `"user";r=42;t=17`.
pub fn write_rate_limit(out: &mut Vec<u8>, limit: &LimitState) {
    write_name(out, &limit.id);
    out.extend_from_slice(b";r=");
    write_number(out, limit.remaining);
    out.extend_from_slice(b";t=");
    write_number(out, limit.reset_secs);
}

/// `Retry-After`, in seconds.
pub fn write_retry_after(out: &mut Vec<u8>, secs: u64) {
    write_number(out, secs);
}

/// An sf-string (RFC 9651 §4.1.6). What it cannot hold becomes `?`: a name is ours, not the client's.
fn write_name(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x20..=0x7e => out.push(byte),
            _ => out.push(b'?'),
        }
    }
    out.push(b'"');
}

/// An sf-integer: at most 15 digits (RFC 9651 §3.3.1).
fn write_number(out: &mut Vec<u8>, number: u64) {
    let mut number = number.min(999_999_999_999_999);
    let mut digits = [0; 15];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&mut Vec<u8>, &LimitState), id: &str, remaining: u64) -> String {
        let limit = LimitState { id: id.into(), quota: 100, window_secs: 60, remaining, reset_secs: 17 };
        let mut out = Vec::new();
        write(&mut out, &limit);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn fields_read_as_the_draft_has_them() {
        assert_eq!(written(write_rate_limit_policy, "user", 42), r#""user";q=100;w=60"#);
        assert_eq!(written(write_rate_limit, "user", 42), r#""user";r=42;t=17"#);
        assert_eq!(written(write_rate_limit, "user", 0), r#""user";r=0;t=17"#);
        assert_eq!(written(write_rate_limit, "user", u64::MAX), r#""user";r=999999999999999;t=17"#);
        assert_eq!(written(write_rate_limit, "a\"b\\ü\n", 1), r#""a\"b\\???";r=1;t=17"#);
    }
}
