//! HTML character references (HTML Living Standard §13.2.5.72): numeric ones, and the named ones that a number or an
//! address can be written with.

/// Longest reference that is read; leading zeros of numbers count.
const BYTES_MAX: usize = 18;

/// Names, without `&`, and what they stand for.
const NAMED: &[(&str, char)] = &[
    ("amp;", '&'),
    ("lt;", '<'),
    ("gt;", '>'),
    ("quot;", '"'),
    ("apos;", '\''),
    ("nbsp;", '\u{a0}'),
    ("NonBreakingSpace;", '\u{a0}'),
    ("ensp;", '\u{2002}'),
    ("emsp;", '\u{2003}'),
    ("thinsp;", '\u{2009}'),
    ("ThinSpace;", '\u{2009}'),
    ("hairsp;", '\u{200a}'),
    ("numsp;", '\u{2007}'),
    ("puncsp;", '\u{2008}'),
    ("Tab;", '\t'),
    ("NewLine;", '\n'),
    ("hyphen;", '\u{2010}'),
    ("dash;", '\u{2010}'),
    ("ndash;", '\u{2013}'),
    ("mdash;", '\u{2014}'),
    ("horbar;", '\u{2015}'),
    ("minus;", '\u{2212}'),
    ("shy;", '\u{ad}'),
    ("ZeroWidthSpace;", '\u{200b}'),
    ("zwnj;", '\u{200c}'),
    ("zwj;", '\u{200d}'),
    ("NoBreak;", '\u{2060}'),
    ("commat;", '@'),
    ("period;", '.'),
    ("comma;", ','),
    ("colon;", ':'),
    ("semi;", ';'),
    ("sol;", '/'),
    ("bsol;", '\\'),
    ("lpar;", '('),
    ("rpar;", ')'),
    ("num;", '#'),
    ("plus;", '+'),
    ("equals;", '='),
    ("lowbar;", '_'),
    ("percnt;", '%'),
    ("middot;", '\u{b7}'),
];

/// What `&` is written as in a reference to a reference.
const AGAIN: &[u8] = b"amp;";

/// The character that the reference at the beginning of `text` stands for, and how long it is. `&amp;#48;` is a zero.
pub(super) fn read(text: &[u8]) -> Option<(char, usize)> {
    let rest = text.strip_prefix(b"&")?;
    let again = rest.chunks_exact(AGAIN.len()).take_while(|part| *part == AGAIN).count();
    // The last may be one that the character itself is written with.
    let (times, (c, len)) = match (again, once(&rest[again * AGAIN.len()..])) {
        (times, Some(last)) => (times, last),
        (0, None) => return None,
        (times, None) => (times - 1, ('&', AGAIN.len())),
    };
    Some((c, 1 + times * AGAIN.len() + len))
}

/// A reference whose `&` was taken off, and how long the rest is.
fn once(text: &[u8]) -> Option<(char, usize)> {
    let rest = &text[..text.len().min(BYTES_MAX - 1)];
    match rest {
        [b'#', b'x' | b'X', digits @ ..] => numeric(digits, 16).map(|(c, len)| (c, len + 2)),
        [b'#', digits @ ..] => numeric(digits, 10).map(|(c, len)| (c, len + 1)),
        [first, ..] if first.is_ascii_alphabetic() && memchr::memchr(b';', rest).is_some() => {
            let (name, c) = NAMED.iter().find(|(name, _)| rest.starts_with(name.as_bytes()))?;
            Some((*c, name.len()))
        }
        _ => None,
    }
}

/// A number, and the `;` that may be missing.
fn numeric(text: &[u8], radix: u32) -> Option<(char, usize)> {
    let digits = text.iter().take_while(|byte| char::from(**byte).is_digit(radix)).count();
    let mut number = 0u32;
    for digit in &text[..digits] {
        number = number.saturating_mul(radix).saturating_add(char::from(*digit).to_digit(radix)?);
    }
    let c = char::from_u32(number).filter(|_| digits > 0)?;
    Some((c, digits + usize::from(text.get(digits) == Some(&b';'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_what_is_none_is_left() {
        for (text, expected) in [
            ("&#48;", Some(('0', 5))),
            ("&#x30;", Some(('0', 6))),
            ("&#0000048", Some(('0', 9))),
            ("&#X1D7CE;", Some(('\u{1d7ce}', 9))),
            ("&nbsp;", Some(('\u{a0}', 6))),
            ("&amp;#48;", Some(('0', 9))),
            ("&amp;amp;#x30;", Some(('0', 14))),
            ("&amp;amp;", Some(('&', 9))),
            ("&amp;amp", Some(('&', 5))),
            ("&amp; x", Some(('&', 5))),
            ("&#;", None),
            ("&#x110000;", None),
            ("&nope;", None),
            ("&", None),
            ("#48;", None),
        ] {
            assert_eq!(read(text.as_bytes()), expected, "{text}");
        }
    }
}
