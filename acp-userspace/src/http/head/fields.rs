//! The few fields that decide framing and the connection's life.

use super::{HeadError, Header};

/// All values of `name`, in order.
pub(super) fn all<'b, 's>(headers: &'s [Header<'b>], name: &'s str) -> impl DoubleEndedIterator<Item = &'b [u8]> + 's {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// The only value of `name`; `None` when absent or repeated.
pub(super) fn only<'b>(headers: &[Header<'b>], name: &str) -> Option<&'b [u8]> {
    let mut values = all(headers, name);
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// What the framing and connection fields of one head say, gathered in one pass.
#[derive(Default)]
pub(super) struct Facts<'b> {
    /// `Content-Length`.
    pub(super) length: Option<u64>,
    /// `Transfer-Encoding: chunked`.
    pub(super) chunked: bool,
    /// It is spelled in other letters than lower case: one reading by RFC 9112 §7, but not to every parser in front
    /// of us, and no client writes it so.
    pub(super) chunked_odd_case: bool,
    /// `Connection` lists `close`.
    pub(super) close: bool,
    /// `Host`, not validated.
    pub(super) host: Option<&'b [u8]>,
    /// `Expect`.
    pub(super) expect: Option<&'b [u8]>,
    /// `Upgrade` names something else than h2c.
    pub(super) upgrade: bool,
}

impl<'b> Facts<'b> {
    /// What all of a head's fields say.
    ///
    /// # Errors
    /// A repeated or malformed framing field, a repeated Host.
    pub(super) fn of(fields: &[httparse::Header<'b>]) -> Result<Self, HeadError> {
        let mut facts = Self::default();
        for field in fields {
            facts.note(field.name, field.value)?;
        }
        Ok(facts)
    }

    /// Takes note of one field; those of no interest cost a comparison of lengths.
    fn note(&mut self, name: &str, value: &'b [u8]) -> Result<(), HeadError> {
        match name.len() {
            4 if name.eq_ignore_ascii_case("host") => once(&mut self.host, value, HeadError::HostRepeated)?,
            6 if name.eq_ignore_ascii_case("expect") => once(&mut self.expect, value, HeadError::Expectation)?,
            7 if name.eq_ignore_ascii_case("upgrade") => {
                self.upgrade |= !options(value).all(|option| option.eq_ignore_ascii_case(b"h2c"));
            }
            10 if name.eq_ignore_ascii_case("connection") => {
                self.close |= options(value).any(|option| option.eq_ignore_ascii_case(b"close"));
            }
            14 if alike(name, b"content-length")? => once(&mut self.length, length(value)?, HeadError::LengthRepeated)?,
            17 if alike(name, b"transfer-encoding")? => {
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(HeadError::TransferEncoding);
                }
                self.chunked = true;
                self.chunked_odd_case = value != b"chunked";
            }
            _ => {}
        }
        Ok(())
    }

    /// # Errors
    /// [`HeadError::LengthAndTransferEncoding`].
    pub(super) fn check_exclusive(&self) -> Result<(), HeadError> {
        if self.chunked && self.length.is_some() { Err(HeadError::LengthAndTransferEncoding) } else { Ok(()) }
    }
}

/// Whether `name` is `framing`.
///
/// # Errors
/// [`HeadError::HeaderName`] if it only would be to a reader that takes `_` (or another mark) for `-`, as CGI and
/// its heirs do.
fn alike(name: &str, framing: &[u8]) -> Result<bool, HeadError> {
    if name.as_bytes().eq_ignore_ascii_case(framing) {
        return Ok(true);
    }
    let passes = name
        .bytes()
        .zip(framing)
        .all(|(byte, &wanted)| byte.eq_ignore_ascii_case(&wanted) || (wanted == b'-' && !byte.is_ascii_alphanumeric()));
    if passes { Err(HeadError::HeaderName) } else { Ok(false) }
}

/// Fills `slot`, which a field may do once.
fn once<T>(slot: &mut Option<T>, value: T, repeated: HeadError) -> Result<(), HeadError> {
    if slot.replace(value).is_some() { Err(repeated) } else { Ok(()) }
}

/// Elements of a comma-separated list, white space removed, empty ones left out (RFC 9110 §5.6.1).
fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

/// `1*DIGIT` that fits u64, without leading zeros (some readers take those for octal).
fn length(value: &[u8]) -> Result<u64, HeadError> {
    let plain = matches!(value, [b'0'] | [b'1'..=b'9', ..]);
    if !plain {
        return Err(HeadError::LengthInvalid);
    }
    value
        .iter()
        .try_fold(0u64, |sum, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            sum.checked_mul(10)?.checked_add(digit)
        })
        .ok_or(HeadError::LengthInvalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_length(value: &str, expected: Option<u64>) {
        assert_eq!(length(value.as_bytes()).ok(), expected, "{value:?}");
    }

    #[test]
    fn reads_plain_decimal_lengths_only() {
        check_length("0", Some(0));
        check_length("42", Some(42));
        check_length("18446744073709551615", Some(u64::MAX));
        for bad in ["", "+1", "-1", "-0", "0x5", "0o5", "1_0", "1 0", "5, 5", "5,5", "00", "0200", "1.0", "1e3", "٣"] {
            check_length(bad, None);
        }
        check_length("18446744073709551616", None);
        check_length("99999999999999999999999999", None);
    }

    #[test]
    fn reads_connection_options_as_a_list() {
        for (value, close) in [("close", true), ("keep-alive, Close", true), ("x-close", false), (" ,,close ", true)] {
            let mut facts = Facts::default();
            facts.note("CONNECTION", value.as_bytes()).unwrap();
            assert_eq!(facts.close, close, "{value:?}");
        }
    }
}
