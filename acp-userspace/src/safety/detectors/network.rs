//! Addresses of the internet protocol (RFC 791, RFC 4291 §2.2, RFC 5952) and of network hardware (IEEE 802: EUI-48, EUI-64).
//!
//! | written | confidence |
//! |---|---|
//! | four numbers up to 255 with dots between | 90 |
//! | so, each below 32 or the last three zero: versions are written alike | 50 |
//! | eight groups of hexadecimal digits, or fewer and `::`; with an IPv4 address at the end; with a zone | 95 |
//! | six or eight pairs of hexadecimal digits with `:` or `-` between, three groups of four with dots | 95 |
//!
//! Left: what continues a word or more numbers (`v1.2.3.4`, `1.2.3.4.5`), a product's version (`Chrome/120.0.0.0`), and
//! of those with `::` what has few digits and no letter, as slices of arrays are written (`[1::2]`), but for `::1`.

use std::net::Ipv6Addr;
use std::ops::Range;

use super::{Hit, text_of};
use crate::config::resolved::Detector;

const QUADS: u8 = 90;
const LIKE_A_VERSION: u8 = 50;
const CERTAIN: u8 = 95;

/// Furthest a look reads to either side. The longest address has 45 bytes.
const REACH: usize = 48;
/// Furthest a look reads back for an IPv4 address, whose fourth number has begun: more than any has, so that a longer run of
/// numbers is seen to be one.
const QUADS_REACH: usize = 20;
/// Bytes of a zone (RFC 4007 §11.2) that count.
const ZONE_MAX: usize = 16;

/// The IPv4 address whose fourth number begins one byte before `end`, and how far the text is settled.
pub(super) fn quads(text: &[u8], end: usize) -> (Option<Hit>, usize) {
    let is_part = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
    let start = end - text[end.saturating_sub(QUADS_REACH)..end].iter().rev().take_while(is_part).count();
    let stop = end + text[end..].iter().take(REACH).take_while(is_part).count();
    let (dots_before, dots_behind) = (
        text[start..stop].iter().take_while(|byte| **byte == b'.').count(),
        text[start..stop].iter().rev().take_while(|byte| **byte == b'.').count(),
    );
    // Dots around it are the sentence's; there is a digit between.
    (version_4(text, start + dots_before..stop - dots_behind), stop)
}

fn version_4(text: &[u8], range: Range<usize>) -> Option<Hit> {
    let (before, behind) = (&text[..range.start], &text[range.end..]);
    let mut numbers = text[range.clone()].split(|byte| *byte == b'.').map(octet);
    let [Some(a), Some(b), Some(c), Some(d)] = std::array::from_fn(|_| numbers.next().flatten()) else { return None };
    let joined = matches!(before.last(), Some(b) if b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        || matches!(behind.first(), Some(b) if b.is_ascii_alphanumeric() || *b == b'_');
    let zeros = (b, c, d) == (0, 0, 0);
    let product = zeros && matches!(*before, [.., name, b'/'] if name.is_ascii_alphanumeric());
    if numbers.next().is_some() || joined || product {
        return None;
    }
    let version = zeros && a != 0 || [a, b, c, d].iter().all(|number| *number < 32) && a != 10;
    Some(Hit::new(Detector::IpAddress, range, if version { LIKE_A_VERSION } else { QUADS }))
}

/// A number up to 255, without zeros before it.
fn octet(digits: &[u8]) -> Option<u8> {
    let plain = digits.len() == 1 || digits.first() != Some(&b'0');
    text_of(digits).filter(|_| plain)?.parse().ok()
}

/// The address that the colon before `end` is of, and how far the text is settled.
pub(super) fn colons(text: &[u8], end: usize) -> (Option<Hit>, usize) {
    let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let start = end - text[end.saturating_sub(REACH)..end].iter().rev().take_while(is_part).count();
    let stop = end + text[end..].iter().take(REACH).take_while(is_part).count();
    let Some(range) = trimmed(text, start, stop) else { return (None, stop) };
    let found = hardware(&text[range.clone()], b':').map(|()| Hit::new(Detector::MacAddress, range.clone(), CERTAIN));
    (found.or_else(|| version_6(text, range)), stop)
}

/// What of the hexadecimal digits, colons and dots can be one address: neither the end of a sentence nor a label before.
fn trimmed(text: &[u8], mut start: usize, mut stop: usize) -> Option<Range<usize>> {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if is_word(text.get(stop)) {
        return None;
    }
    while stop > start && (text[stop - 1] == b'.' || text[..stop].ends_with(b":") && !text[..stop].ends_with(b"::")) {
        stop -= 1;
    }
    if is_word(start.checked_sub(1).map(|before| &text[before])) {
        // "IPv6:2001:db8::1": the label's last letters may be hexadecimal.
        start += text[start..stop].iter().position(|byte| *byte == b':')?;
        if text[start..stop].starts_with(b"::") {
            return None;
        }
    }
    if text[start..stop].starts_with(b":") && !text[start..stop].starts_with(b"::") {
        start += 1;
    }
    (start < stop).then_some(start..stop)
}

fn version_6(text: &[u8], range: Range<usize>) -> Option<Hit> {
    let written = text_of(&text[range.clone()])?;
    let compressed = written.contains("::");
    let digits = written.bytes().filter(u8::is_ascii_hexdigit).count();
    let numbered = written.bytes().any(|byte| byte.is_ascii_digit());
    if compressed && (digits < 4 || !numbered) && written != "::1" {
        return None;
    }
    written.parse::<Ipv6Addr>().ok()?;
    let zone = match text[range.end..] {
        [b'%', ref zone @ ..] => 1 + zone.iter().take(ZONE_MAX).take_while(|byte| byte.is_ascii_alphanumeric()).count(),
        _ => 0,
    };
    let end = if zone > 1 { range.end + zone } else { range.end };
    Some(Hit::new(Detector::IpAddress, range.start..end, CERTAIN))
}

/// The hardware address that the separator before `end` is of, and how far the text is settled.
pub(super) fn octets(text: &[u8], end: usize) -> (Option<Hit>, usize) {
    let separator = text[end - 1];
    let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || **byte == separator;
    let start = end - text[end.saturating_sub(REACH)..end].iter().rev().take_while(is_part).count();
    let settled = end + text[end..].iter().take(REACH).take_while(is_part).count();
    let stop = if separator == b'.' && text[..settled].ends_with(b".") { settled - 1 } else { settled };
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let joined = is_word(text.get(stop)) || is_word(start.checked_sub(1).map(|before| &text[before]));
    let found = hardware(&text[start..stop], separator).filter(|()| !joined);
    (found.map(|()| Hit::new(Detector::MacAddress, start..stop, CERTAIN)), settled)
}

/// Whether `text` is six or eight pairs with `separator` between, or three groups of four with dots.
fn hardware(text: &[u8], separator: u8) -> Option<()> {
    let (groups, len) = if separator == b'.' { (3..=3, 4) } else { (6..=8, 2) };
    let mut count = 0;
    for group in text.split(|byte| *byte == separator) {
        (group.len() == len && group.iter().all(u8::is_ascii_hexdigit)).then_some(())?;
        count += 1;
    }
    // Groups of digits alone are amounts or dates; seven pairs are neither length; all ones is everybody's address.
    let lettered = separator == b':' || text.iter().any(u8::is_ascii_alphabetic);
    let everybody = text.iter().all(|byte| byte | 0x20 == b'f' || *byte == separator);
    (groups.contains(&count) && count != 7 && lettered && !everybody).then_some(())
}

#[cfg(test)]
mod tests {
    use crate::config::resolved::Detector::{IpAddress, MacAddress};
    use crate::safety::detectors::tests::check;

    #[track_caller]
    fn found(address: &str, detector: crate::config::resolved::Detector) {
        for text in [address.to_owned(), format!("from {address}."), format!("({address})"), format!("ip={address},")] {
            check(&text, &[(detector, address)]);
        }
    }

    #[test]
    fn version_4_is_found() {
        for address in ["192.0.2.1", "10.0.0.1", "255.255.255.255", "8.8.8.8", "172.16.254.30"] {
            found(address, IpAddress);
        }
        check("http://192.0.2.1:8080/x", &[(IpAddress, "192.0.2.1")]);
        check("is it...192.0.2.7...", &[(IpAddress, "192.0.2.7")]);
        check("10.0.0.0/8", &[(IpAddress, "10.0.0.0")]);
        check("GET /hosts/192.0.2.77", &[(IpAddress, "192.0.2.77")]);
    }

    #[test]
    fn what_looks_like_version_4_is_left() {
        for left in
            ["256.1.1.1", "1.2.3", "1.2.3.4.5", "v1.2.3.4", "1.2.3.4a", "01.2.3.4", "Chrome/120.0.0.0", "x-1.2.3.4"]
        {
            check(left, &[]);
        }
    }

    #[test]
    fn version_6_is_found_in_every_form() {
        let forms = [
            "2001:db8:0:0:8:800:200c:417a",
            "2001:DB8::8:800:200C:417A",
            "ff01::101",
            "::1",
            "2001:db8::",
            "::ffff:0:0",
            "1:2:3:4:5:6:7:8",
            "fe80::1ff:fe23:4567:890a",
        ];
        for form in forms {
            found(form, IpAddress);
        }
        check("::ffff:192.0.2.128", &[(IpAddress, "::ffff:192.0.2.128"), (IpAddress, "192.0.2.128")]);
        check("fe80::1%eth0 is up", &[(IpAddress, "fe80::1%eth0")]);
        check("IPv6:2001:db8::1234", &[(IpAddress, "2001:db8::1234")]);
        check("[2001:db8::1234]:443", &[(IpAddress, "2001:db8::1234")]);
    }

    #[test]
    fn what_looks_like_version_6_is_left() {
        for left in
            ["12:30:45", "std::fade::x", "a[1::2]", "::", "1:2:3:4:5:6:7", "1::2::3", "dead::beef", "10:20:30 a::b"]
        {
            check(left, &[]);
        }
    }

    #[test]
    fn hardware_addresses_are_found_in_every_form() {
        for form in ["00:1a:2B:3c:4d:5e", "00-1A-2B-3C-4D-5E", "001a.2b3c.4d5e", "00:1a:2b:ff:fe:3c:4d:5e"] {
            found(form, MacAddress);
        }
        for left in
            ["00:1a:2b:3c:4d", "00:1a:2b:3c:4d:5e:6f", "00-1A-2B-3C-4D-5G", "x00-1A-2B-3C-4D-5E", "10-20-30-40-50-60"]
        {
            check(left, &[]);
        }
        check("ff:ff:ff:ff:ff:ff", &[]);
        let fingerprint = "a1:".repeat(31) + "a1";
        check(&fingerprint, &[]);
    }
}
