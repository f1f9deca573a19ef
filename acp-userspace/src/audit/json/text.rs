//! Numbers, hexadecimal, strings and times, appended to a byte buffer.

/// Appends `n` in decimal.
pub(in crate::audit) fn number(buf: &mut Vec<u8>, mut n: u64) {
    const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";
    let mut digits = [0; 20];
    let mut at = digits.len();
    while n >= 10 {
        let pair = 2 * (n % 100) as usize;
        n /= 100;
        at -= 2;
        digits[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if n > 0 || at == digits.len() {
        at -= 1;
        digits[at] = b'0' + n as u8;
    }
    // A pair leaves its leading zero behind when the number had an odd count of digits above it.
    if digits[at] == b'0' && at + 1 < digits.len() {
        at += 1;
    }
    buf.extend_from_slice(&digits[at..]);
}

/// Appends `bytes` as lower-case hexadecimal.
pub(in crate::audit) fn hex(buf: &mut Vec<u8>, bytes: &[u8]) {
    let (blocks, rest) = bytes.as_chunks::<16>();
    for block in blocks {
        buf.extend_from_slice(block.map(digits).as_flattened());
    }
    for byte in rest {
        buf.extend_from_slice(&digits(*byte));
    }
}

/// The two digits of a byte, by arithmetic: sixteen bytes at once are a few instructions.
fn digits(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|nibble| nibble + b'0' + u8::from(nibble > 9) * (b'a' - b'0' - 10))
}

/// Appends `text` as a JSON string (RFC 8259 §7).
pub(in crate::audit) fn string(buf: &mut Vec<u8>, text: &str) {
    buf.push(b'"');
    // All of it, not up to the first: sixteen bytes at once.
    if text.bytes().fold(true, |plain, b| plain & (0x20..0x7f).contains(&b) & (b != b'"') & (b != b'\\')) {
        buf.extend_from_slice(text.as_bytes());
    } else {
        text.chars().for_each(|c| escaped(buf, c));
    }
    buf.push(b'"');
}

fn escaped(buf: &mut Vec<u8>, c: char) {
    match c {
        '"' => buf.extend_from_slice(b"\\\""),
        '\\' => buf.extend_from_slice(b"\\\\"),
        c if c.is_control() || is_invisible(c) => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                buf.extend_from_slice(b"\\u");
                hex(buf, &unit.to_be_bytes());
            }
        }
        c => buf.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Prints as nothing, ends a line for some readers, or reorders what follows.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Writes times; remembers the second it wrote last, for records come in runs of the same second.
#[derive(Debug)]
pub struct Stamp {
    second: u64,
    text: [u8; 19],
}

impl Default for Stamp {
    fn default() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00" }
    }
}

impl Stamp {
    /// Appends `wall_ns` as RFC 3339 in UTC with microseconds.
    pub fn write(&mut self, buf: &mut Vec<u8>, wall_ns: u64) {
        let second = wall_ns / 1_000_000_000;
        if second != self.second {
            self.text = civil(second);
            self.second = second;
        }
        buf.extend_from_slice(&self.text);
        let micros = wall_ns % 1_000_000_000 / 1000;
        buf.push(b'.');
        let digits = [100_000, 10_000, 1000, 100, 10, 1].map(|unit| b'0' + (micros / unit % 10) as u8);
        buf.extend_from_slice(&digits);
        buf.push(b'Z');
    }
}

/// `second` as date and time. Years beyond 9999 (a clock that is far off) print as the epoch.
fn civil(second: u64) -> [u8; 19] {
    let time = i64::try_from(second).ok().and_then(|s| jiff::Timestamp::from_second(s).ok()).unwrap_or_default();
    let text = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    text.as_bytes().try_into().unwrap_or(*b"1970-01-01T00:00:00")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut buf = Vec::new();
        write(&mut buf);
        String::from_utf8(buf).unwrap()
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        let mut stamp = Stamp::default();
        assert_eq!(written(|b| stamp.write(b, 0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(written(|b| stamp.write(b, 1_795_435_200_012_345_678)), "2026-11-23T12:00:00.012345Z");
        assert_eq!(written(|b| stamp.write(b, u64::MAX)), "2554-07-21T23:34:33.709551Z");
    }

    proptest! {
        #[test]
        fn bytes_print_as_the_standard_library_prints_them(bytes: Vec<u8>) {
            let expected: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(written(|b| hex(b, &bytes)), expected);
        }

        #[test]
        fn numbers_print_as_the_standard_library_prints_them(n: u64, shift in 0u32..64) {
            prop_assert_eq!(written(|b| number(b, n >> shift)), (n >> shift).to_string());
        }

        #[test]
        fn strings_parse_back_and_hold_no_control_character(text: String) {
            let json = written(|b| string(b, &text));
            prop_assert!(!json.chars().any(|c| c.is_control() || is_invisible(c)));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
