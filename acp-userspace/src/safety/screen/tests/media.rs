//! Files in base64: told as such, flagged unless a rule says more.

use std::fmt::Write as _;

use super::*;

/// A picture of one pixel.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/// The first bytes of `head` and more, in base64 of either alphabet.
fn base64(head: &[u8], url: bool) -> String {
    let bytes: Vec<u8> = head.iter().copied().chain((0..60_u8).map(|n| n.wrapping_mul(37))).collect();
    let alphabet: Vec<char> =
        ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(if url { "-_" } else { "+/" }.chars()).collect();
    let mut out = String::new();
    for three in bytes.as_chunks::<3>().0 {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | usize::from(*byte));
        for shift in [18, 12, 6, 0] {
            write!(out, "{}", alphabet[bits >> shift & 63]).expect("a string");
        }
    }
    out
}

fn set(rules: Vec<SafetyRule>) -> RuleSet {
    compiled(SafetyConfig { rules, ..SafetyConfig::default() })
}

/// What is found in `body`, under a rule about something else.
fn flagged(body: &str) -> Vec<Finding> {
    static RULES: LazyLock<RuleSet> = LazyLock::new(|| set(vec![SafetyRule::new("mail", &[Detector::Email], Redact)]));
    let mut walker = Walker::new();
    let document = walker.walk(body.as_bytes(), &Limits::default()).expect("valid JSON");
    let content = Content::body(Body::Json(document));
    let screened = screen_response(&content, RULES.request(0).unwrap(), &mut Scan::default()).expect("passes");
    assert!(screened.edits.is_empty(), "it passes as it is: {body}");
    screened.findings
}

#[test]
fn threat_a14_a_file_in_base64_is_flagged_wherever_anything_is_looked_for() {
    let [found] = &*flagged(&format!(r#"{{"image": "data:image/png;base64,{PNG}"}}"#)) else { panic!("one finding") };
    assert_eq!((found.detector, found.action, found.count), (Detector::UnscannableMedia, Flag, 1));
    assert!(set(Vec::new()).request(0).unwrap().is_empty(), "where nothing is looked for, nothing is read");
}

#[test]
fn threat_a14_a_file_in_base64_is_blocked_or_taken_out_where_a_rule_says_so() {
    let body = format!(r#"{{"n": 1, "image": "data:image/png;base64,{PNG}", "alt": "a dot"}}"#);
    check(&body, Redact, r#"{"n": 1, "image": "data:image/png;base64,[REDACTED:UNSCANNABLE_MEDIA]", "alt": "a dot"}"#);
    let refused = screened(&Content::body(Body::Raw(body.as_bytes())), Block).expect_err("blocked");
    assert_eq!((refused.reason, &*refused.rule.expect("a rule")), (Reason::ContentBlocked, "rule"));
}

#[test]
fn pictures_sound_documents_archives_and_programs_are_told_in_either_alphabet() {
    let heads: [&[u8]; 12] = [
        b"\xff\xd8\xff\xe0\0\x10JFIF\0",
        b"\xff\xd8\xff\xdb\0C",
        b"GIF89a\x01\0\x01\0",
        b"RIFF\x24\x08\0\0WEBPVP8 ",
        b"OggS\0\x02",
        b"\0\0\0\x20ftypheic",
        b"%PDF-1.7\n%\xe2\xe3\xcf\xd3",
        b"PK\x03\x04\x14\0\x06\0",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"\x1f\x8b\x08\0\0\0\0\0",
        b"\x28\xb5\x2f\xfd\x04",
        b"\x7fELF\x02\x01\x01\0",
    ];
    for head in heads {
        for url in [false, true] {
            let found = flagged(&format!(r#"["{}"]"#, base64(head, url)));
            assert_eq!(found.iter().map(|found| found.count).sum::<u32>(), 1, "{head:x?}");
        }
    }
}

#[test]
fn other_runs_of_base64_are_no_media() {
    // Too short, in the middle of a run, noise, a hash, and a word.
    let noise = base64(b"\x8f\x13\x99\x04", false);
    for text in [
        &PNG[..36],
        &format!("abc{PNG}"),
        &noise,
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "supercalifragilisticexpialidocious/antidisestablishmentarianism",
    ] {
        assert_eq!(flagged(&format!(r#"["{text}"]"#)), [], "{text}");
    }
}

#[test]
fn media_behind_escapes_and_wrapped_lines_are_told() {
    let escaped = PNG.replace("iV", r"\u0069V");
    assert_eq!(flagged(&format!(r#"["{escaped}"]"#)).len(), 1);
    let percent = PNG.replace('=', "%3D").replace("iV", "%69V");
    assert_eq!(flagged(&format!(r#"["{percent}"]"#)).len(), 1);
    let long = base64(&b"PK\x03\x04".iter().copied().chain([7; 200]).collect::<Vec<_>>(), false);
    let wrapped: Vec<_> = long.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    check(&format!(r#"["{}"]"#, wrapped.join(r"\r\n")), Redact, r#"["[REDACTED:UNSCANNABLE_MEDIA]"]"#);
}
