//! Days as people write them: `1979-12-05`, `12/5/1979`, `5.12.79`, `5 December 1979`, `Dec 5th, 1979`.
//!
//! Only a day that the calendar has and on which somebody living may have been born is one: from 1900 to 2035 (no clock
//! is read, and a later one is mistyped). A day and a month may stand in either order; a year of two digits, behind.

use std::ops::Range;

use crate::safety::validators::text::is_day;

/// Years somebody may have been born in.
const YEARS: Range<u32> = 1900..2036;

/// Beginnings of the months' names in English, German, French, Spanish, Portuguese, Italian and Dutch.
const MONTHS: [&[&str]; 12] = [
    &["jan", "jän", "ene", "gen"],
    &["feb", "fev", "fév"],
    &["mar", "mär", "maa", "mrz"],
    &["apr", "avr", "abr"],
    &["may", "mai", "mei", "mag"],
    &["jun", "juin", "giu"],
    &["jul", "juil", "lug"],
    &["aug", "aoû", "ago"],
    &["sep", "set"],
    &["oct", "okt", "out", "ott"],
    &["nov"],
    &["dec", "dez", "dic", "déc"],
];

/// The end of the date that begins at `at`.
pub(super) fn read(text: &[u8], at: usize) -> Option<usize> {
    let text = text.get(at..)?;
    let end = numeric(text).or_else(|| day_first(text)).or_else(|| month_first(text))?;
    let free = !text.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric() && *byte != b'T');
    (free && !goes_on(&text[end..])).then_some(at + end)
}

/// The end of eight digits that are a year, a month and a day.
pub(super) fn read_plain(text: &[u8], at: usize) -> Option<usize> {
    let text = text.get(at..)?;
    let (number, len) = number(text, 0)?;
    let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
    (len == 8 && is_birthday(year, month, day)).then_some(at + len)
}

/// Whether more numbers are joined behind.
fn goes_on(rest: &[u8]) -> bool {
    matches!(rest, [b'-' | b'/' | b'.', digit, ..] if digit.is_ascii_digit())
}

/// Three numbers, the same sign between.
fn numeric(text: &[u8]) -> Option<usize> {
    let (first, len) = number(text, 0)?;
    let sign = *text.get(len).filter(|sign| matches!(sign, b'-' | b'/' | b'.' | b' '))?;
    // "5. 12. 1979"
    let spaced = usize::from(sign == b'.' && text.get(len + 1) == Some(&b' '));
    let second_at = len + 1 + spaced;
    let (second, second_len) = number(text, second_at)?;
    let third_at = second_at + second_len + 1 + spaced;
    if text.get(second_at + second_len) != Some(&sign) || (spaced == 1 && text.get(third_at - 1) != Some(&b' ')) {
        return None;
    }
    let (third, third_len) = number(text, third_at)?;
    let fits = match (len, second_len, third_len) {
        (4, 1 | 2, 1 | 2) => is_birthday(first, second, third),
        (1 | 2, 1 | 2, 4) => is_birthday(third, first, second) || is_birthday(third, second, first),
        // Two digits of a year: any century will do. A blank is too weak a sign there.
        (1 | 2, 1 | 2, 2) if sign != b' ' => is_birthday(2000, first, second) || is_birthday(2000, second, first),
        _ => false,
    };
    fits.then_some(third_at + third_len)
}

/// A day, the name of a month, a year.
fn day_first(text: &[u8]) -> Option<usize> {
    let (day, len) = number(text, 0)?;
    let at = len + suffix(&text[len..]);
    let at = at + between(&text[at..]);
    let at =
        at + usize::from(text.get(at..)?.starts_with(b"de ")) * 3 + usize::from(text[at..].starts_with(b"of ")) * 3;
    let (month, len) = month(text.get(at..)?)?;
    let at = at + len;
    let at = at + between(&text[at..]);
    let at = at + usize::from(text.get(at..)?.starts_with(b"de ")) * 3;
    year(text, at).filter(|(year, _)| is_birthday(*year, month, day)).map(|(_, end)| end)
}

/// The name of a month, a day, a year.
fn month_first(text: &[u8]) -> Option<usize> {
    let (month, len) = month(text)?;
    let at = len + between(&text[len..]);
    let (day, len) = number(text, at)?;
    let at = at + len + suffix(&text[at + len..]);
    let at = at + between(&text[at..]);
    year(text, at).filter(|(year, _)| is_birthday(*year, month, day)).map(|(_, end)| end)
}

/// A number of up to eight digits, and how many those are.
fn number(text: &[u8], at: usize) -> Option<(u32, usize)> {
    let digits = text.get(at..)?.iter().take(9).take_while(|byte| byte.is_ascii_digit());
    let (number, len) = digits.fold((0, 0), |(number, len), digit| (number * 10 + u32::from(digit - b'0'), len + 1));
    (1..=8).contains(&len).then_some((number, len))
}

fn year(text: &[u8], at: usize) -> Option<(u32, usize)> {
    let at = at + usize::from(text.get(at) == Some(&b'\''));
    match number(text, at)? {
        (year, 4) => Some((year, at + 4)),
        (_, 2) => Some((2000, at + 2)),
        _ => None,
    }
}

/// The ending of an ordinal.
fn suffix(text: &[u8]) -> usize {
    match text {
        [b's', b't', ..] | [b'n', b'd', ..] | [b'r', b'd', ..] | [b't', b'h', ..] | [b'e', b'r', ..] => 2,
        [b'.', ..] => 1,
        _ => 0,
    }
}

/// Signs between the parts: blanks, commas, dots, dashes.
fn between(text: &[u8]) -> usize {
    text.iter().take(3).take_while(|byte| matches!(byte, b' ' | b',' | b'-' | b'.' | b'/')).count()
}

/// The month whose name begins `text`, and how long the name is.
fn month(text: &[u8]) -> Option<(u32, usize)> {
    let len = text.iter().take(12).take_while(|byte| byte.is_ascii_alphabetic() || **byte >= 0x80).count();
    let name = &text[..len];
    let first = name.first()?.to_ascii_lowercase();
    let begins = |start: &&str| {
        let start = start.as_bytes();
        start[0] == first && name.get(..start.len()).is_some_and(|name| name.eq_ignore_ascii_case(start))
    };
    let month = MONTHS.iter().position(|starts| starts.iter().any(begins))?;
    Some((month as u32 + 1, len))
}

fn is_birthday(year: u32, month: u32, day: u32) -> bool {
    YEARS.contains(&year) && is_day(year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(read(text.as_bytes(), 0).map(|end| &text[..end]), expected, "{text}");
    }

    #[test]
    fn days_are_read_as_people_write_them() {
        for text in [
            "1979-12-05",
            "12/5/1979",
            "5.12.79",
            "5. 12. 1979",
            "05-DEC-1979",
            "5 December 1979",
            "Dec 5th, 1979",
            "December 5, 1979",
            "5 de diciembre de 1979",
            "12 Mar 1962",
            "3. März 1962",
            "1er août 1990",
            "1979/12/05",
        ] {
            check(text, Some(text));
        }
        check("1979-12-05T00:00:00Z", Some("1979-12-05"));
        check("12/5/1979. Her", Some("12/5/1979"));
    }

    #[test]
    fn what_the_calendar_lacks_is_no_day() {
        for text in [
            "1979-13-05",
            "31/04/1979",
            "29.2.1979",
            "1879-12-05",
            "2979-12-05",
            "10.4.2.1",
            "1.2.3",
            "12/1979",
            "12",
            "",
            "May",
            "Dec 45, 1979",
            "192.168.1.1",
        ] {
            check(text, None);
        }
        assert_eq!(read_plain(b"19791205", 0), Some(8));
        assert_eq!(read_plain(b"19791305", 0), None);
    }
}
