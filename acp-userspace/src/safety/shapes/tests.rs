use hyperscan::{BlockDatabase, Builder as _, Matching, Pattern, PatternFlags, Patterns};
use proptest::prelude::*;

use super::*;
use crate::config::resolved::Detector;

/// The shapes as Hyperscan knows them; a candidate's end is so many bytes before the match's.
const EXPRESSIONS: [(Anchor, &str, usize); 11] = [
    (Anchor::Digits, r"[0-9][0-9 ().\-/]{6}", 6),
    (Anchor::At, r"[%-\xff]@[0-\xff]", 0),
    (Anchor::Dotted, r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]", 0),
    (Anchor::Colons, ":.{0,4}:", 0),
    (Anchor::Octets, "-..-..-", 0),
    (Anchor::Octets, r"\.....\.", 0),
    (Anchor::Coded, "(?:^|[^A-Za-z0-9])[A-Za-z]{2}[0-9]{2}", 0),
    (Anchor::Pairs, "(?:^|[^A-Za-z0-9])[A-Za-z]{2}[ -][0-9]{2}[ -][0-9]{2}", 0),
    (Anchor::Token, "(?:^|[^A-Za-z0-9])[A-Za-z0-9]{16}", 0),
    (Anchor::Token, "(?:^|[^A-Za-z0-9])[A-Za-z]{5}[0-9]{4}[A-Za-z]", 0),
    (Anchor::Token, "(?:^|[^A-Za-z0-9])[0-9]{6}[A-Za-z][0-9]{3}", 0),
];

static ENGINE: std::sync::LazyLock<BlockDatabase> = std::sync::LazyLock::new(|| {
    let pattern = |(id, (_, expression, _)): (usize, &(Anchor, &str, usize))| {
        let mut pattern = Pattern::with_flags(*expression, PatternFlags::DOTALL).expect("an expression");
        pattern.id = Some(id);
        pattern
    };
    EXPRESSIONS.iter().enumerate().map(pattern).collect::<Patterns>().build().expect("compiles")
});

/// The masks find what the expressions do. `Dotted` may find more: of its first dots the masks only see that they are two.
fn as_by_expression(text: &[u8]) {
    let mut expected = Vec::new();
    let scratch = ENGINE.alloc_scratch().expect("scratch");
    let each = |id: u32, _, to: u64, _| {
        let (anchor, _, before) = EXPRESSIONS[id as usize];
        expected.push((anchor, to as usize - before));
        Matching::Continue
    };
    ENGINE.scan(text, &scratch, each).expect("is scanned");
    let mut found: Vec<_> = shapes(text, Detectors::all()).map(|found| (found.anchor, found.end as usize)).collect();
    found.sort_unstable();
    expected.sort_unstable();
    expected.dedup();
    let exact = |(anchor, _): &&(Anchor, usize)| *anchor != Anchor::Dotted;
    let text = text.escape_ascii();
    assert!(expected.iter().all(|place| found.binary_search(place).is_ok()), "{text}: {expected:?} but {found:?}");
    assert!(found.iter().filter(exact).eq(expected.iter().filter(exact)), "{text}: {expected:?} but {found:?}");
}

#[test]
fn shapes_are_found_wherever_they_stand_in_a_block() {
    let all = "12345678 a@b 10.0.0.1 fe80::1 00-1A-2B-3C-4D-5E 001A.2B3C.4D5E GB82WEST AB 12 34 56 C ABCPD1234Z \
               020594X903P 16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ";
    for before in 0..2 * BLOCK {
        as_by_expression(format!("{}{all}", ".".repeat(before)).as_bytes());
    }
    assert_eq!(shapes(b"", Detectors::all()).next(), None);
}

#[test]
fn masks_find_what_the_expressions_do() {
    let dense = prop::collection::vec(prop::sample::select(b"0123456789 -.()/x@:aF".to_vec()), 0..90);
    let words = prop::sample::select(vec!["GB", "82", "12", " ", "-", ":", ".", "abcde", "1234", "X", "903", "020594"]);
    let words = prop::collection::vec(words, 0..60).prop_map(|words| words.concat().into_bytes());
    proptest!(|(dense in dense, words in words, bytes in prop::collection::vec(any::<u8>(), 0..200))| {
        as_by_expression(&dense);
        as_by_expression(&words);
        as_by_expression(&bytes);
    });
}

#[test]
fn every_byte_is_of_its_classes() {
    for byte in 0..=u8::MAX {
        for place in 0..BLOCK {
            let mut block = [b'!'; BLOCK];
            block[place] = byte;
            let classes = classes(&block);
            let here = |yes: bool| u64::from(yes) << place;
            assert_eq!(classes.digit, here(byte.is_ascii_digit()), "{byte:#x}");
            assert_eq!(classes.letter, here(byte.is_ascii_alphabetic()), "{byte:#x}");
            assert_eq!(classes.run, here(matches!(byte, b'-'..=b'9' | b'(' | b')' | b' ')), "{byte:#x}");
            let single = [(classes.at, b'@'), (classes.colon, b':'), (classes.dot, b'.'), (classes.hyphen, b'-')];
            for (class, of) in single.into_iter().chain([(classes.space, b' ')]) {
                assert_eq!(class, here(byte == of), "{byte:#x}");
            }
        }
    }
}

#[test]
fn what_is_settled_is_not_given_again() {
    let text = [b'7'; 300];
    let mut places = shapes(&text, Detectors::all());
    let first = places.next().expect("a run");
    assert_eq!((first.anchor, first.end), (Anchor::Digits, 1));
    places.settle(Anchor::Digits, 200);
    let next = places.find(|found| found.anchor == Anchor::Digits).expect("the rest");
    assert_eq!(next.end, 201);
    places.settle(Anchor::Digits, 300);
    assert_eq!(places.find(|found| found.anchor == Anchor::Digits), None);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn bytes_are_sorted_alike_however_many_at_once() {
    for byte in 0..=u8::MAX {
        let mut block = [b'~'; BLOCK];
        block[usize::from(byte) % BLOCK] = byte;
        if lanes::is_available() {
            // SAFETY: the CPU has what the function is compiled for, as was just asked.
            assert_eq!(unsafe { classes_wide(&block) }, classes(&block), "{byte:#x}");
        }
        if whole::is_available() {
            // SAFETY: as above.
            assert_eq!(unsafe { classes_whole(&block) }, classes(&block), "{byte:#x}");
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn what_is_left_is_sorted_like_a_whole_block() {
    let block: [u8; BLOCK] = std::array::from_fn(|at| b"7a .@:-("[at % 8]);
    for len in (0..=BLOCK).take_while(|_| whole::is_available()) {
        // SAFETY: the CPU has what the function is compiled for, as was just asked.
        assert_eq!(unsafe { classes_whole(&block[..len]) }, classes_of_rest(&block[..len]), "{len}");
    }
}

#[test]
fn what_is_not_asked_for_is_not_given_and_the_rest_is_the_same() {
    let text =
        "12345678 a@b.cd 10.0.0.1 fe80::1 00-1A-2B-3C-4D-5E GB82WEST AB 12 34 56 C ABCPD1234Z 020594X903P".repeat(3);
    for detector in Detector::ALL {
        let wanted = Detectors::of(&[detector]);
        let asked = shapes(text.as_bytes(), Detectors::all()).filter(|found| wanted.led_to_by(found.anchor));
        assert!(shapes(text.as_bytes(), wanted).eq(asked), "{detector:?}");
    }
}
