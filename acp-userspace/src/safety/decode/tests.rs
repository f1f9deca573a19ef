//! Spellings that are seen through, and the bounds of that.

use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

/// Every layer of `text`: what it says, and what of `text` the first `needle` in it came from.
fn layers_of(text: &str, needle: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let mut visit = |layer: &Layer<'_>| {
        let says = String::from_utf8_lossy(layer.text).into_owned();
        let from = says.find(needle).map(|at| text[layer.original(at..at + needle.len())].to_owned());
        found.push((says, from));
        Ok::<_, Exhausted>(())
    };
    Decoder::default().layers(text.as_bytes(), &mut Budget { left: usize::MAX }, &mut visit).expect("no end");
    found
}

/// `text` stands for one that holds `078-05-1120`, which `original` came from.
#[track_caller]
fn check(text: &str, original: &str) {
    assert!(suspect(text.as_bytes(), 0).is_some(), "{text} is suspect");
    let layers = layers_of(text, "078-05-1120");
    assert!(layers.iter().any(|(_, from)| from.as_deref() == Some(original)), "{text}: {layers:?}");
}

#[test]
fn threat_a24_numbers_are_seen_in_other_digits_dashes_and_spaces() {
    check("ssn \u{ff10}\u{ff17}\u{ff18}-05-1120!", "\u{ff10}\u{ff17}\u{ff18}-05-1120");
    check(
        "\u{660}\u{667}\u{668}\u{2013}\u{660}\u{665}\u{2013}\u{661}\u{661}\u{662}\u{660}",
        "\u{660}\u{667}\u{668}\u{2013}\u{660}\u{665}\u{2013}\u{661}\u{661}\u{662}\u{660}",
    );
    check("078\u{2212}05\u{fe63}1120 x", "078\u{2212}05\u{fe63}1120");
    check(
        "\u{24ea}\u{2466}\u{2467}-\u{1d7ce}\u{1d7f1}-1\u{b9}2\u{2070}",
        "\u{24ea}\u{2466}\u{2467}-\u{1d7ce}\u{1d7f1}-1\u{b9}2\u{2070}",
    );
    assert_eq!(layers_of("078\u{a0}05\u{3000}1120", "")[0].0, "078 05 1120");
}

#[test]
fn threat_a24_numbers_are_seen_through_what_does_not_show() {
    check("0\u{200b}7\u{200d}8-05\u{2060}-11\u{ad}20", "0\u{200b}7\u{200d}8-05\u{2060}-11\u{ad}20");
    check("\u{202d}078-05-\u{202c}1120", "078-05-\u{202c}1120");
    check("0\u{301}78-0\u{20e3}5-1\u{fe0f}\u{20e3}120.", "0\u{301}78-0\u{20e3}5-1\u{fe0f}\u{20e3}120");
    check("078\u{e0041}-05-1120", "078\u{e0041}-05-1120");
}

#[test]
fn threat_a24_numbers_are_seen_through_escapes() {
    check("a%3078%2D05-1120b", "%3078%2D05-1120");
    check("%EF%BC%9078-05-1120", "%EF%BC%9078-05-1120");
    check("&#48;78&ndash;05&#x2d;112&#x30;;", "&#48;78&ndash;05&#x2d;112&#x30;");
    check("0%37\u{ff18}&#45;05-1120", "0%37\u{ff18}&#45;05-1120");
    // Twice.
    check("%2530%2537%2538-05-1120", "%2530%2537%2538-05-1120");
    check("&amp;#48;78-05-1120", "&amp;#48;78-05-1120");
}

#[test]
fn threat_a24_numbers_are_seen_in_base64_and_hexadecimal() {
    check("data MDc4LTA1LTExMjA= end", "MDc4LTA1LTExMjA=");
    check("ssn=MDc4LTA1LTExMjA", "MDc4LTA1LTExMjA");
    check("ref/bXkgc3NuIGlzIDA3OC0wNS0xMTIw/x", "bXkgc3NuIGlzIDA3OC0wNS0xMTIw");
    check("x:3037382d30352d31313230", "3037382d30352d31313230");
    // Twice, and of escapes.
    check("TURjNExUQTFMVEV4TWpBPQ==", "TURjNExUQTFMVEV4TWpBPQ==");
    check("JTMwNzglMkQwNSUyRDExMjA=", "JTMwNzglMkQwNSUyRDExMjA=");
    check("MDc4LTA1LTExMjA%3D", "MDc4LTA1LTExMjA");
    check("ssn%20MDc4LTA1LTExMjA", "MDc4LTA1LTExMjA");
    check("%4dDc4LTA1LTExMjA", "%4dDc4LTA1LTExMjA");
    // Wrapped.
    let line = "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eCAwNzgt\r\nMDUtMTEyMA==";
    check(line, line);
}

#[test]
fn threat_a24_what_tags_and_variation_selectors_spell_is_read_and_told() {
    let tags: String = "078-05-1120".chars().map(|c| char::from_u32(0xe0000 + c as u32).expect("a tag")).collect();
    check(&format!("hello{tags}."), &tags);
    let selector =
        |byte: u8| char::from_u32(if byte < 16 { 0xfe00 + u32::from(byte) } else { 0xe0100 + u32::from(byte) - 16 });
    let selectors: String = "078-05-1120".bytes().map(|byte| selector(byte).expect("a selector")).collect();
    check(&format!("\u{1f600}{selectors}"), &selectors);
    let hidden = |text: &str| hidden::runs(text.as_bytes()).count();
    assert_eq!(hidden(&format!("{tags} and {selectors}")), 2);
    // A tag alone is hidden, and so are tags behind another flag.
    assert_eq!(hidden("a\u{e0041}"), 1);
    assert_eq!(hidden("\u{1f3f4}\u{e0075}\u{e0073}\u{e0074}\u{e0078}\u{e007f}"), 1);
    // England's flag, a heart, an ideograph's form, and a keycap are none.
    for shown in [
        "\u{1f3f4}\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
        "\u{2764}\u{fe0f}",
        "\u{845b}\u{e0100}",
        "1\u{fe0f}\u{20e3}",
    ] {
        assert_eq!(hidden(shown), 0, "{shown:?}");
    }
}

#[test]
fn text_that_stands_for_itself_has_no_layers() {
    for text in [
        "",
        "plain text, 078-05-1120",
        "internationalization of application/octet-stream",
        "d41d8cd98f00b204e9800998ecf8427e",
        "550e8400-e29b-41d4-a716-446655440000",
        "100 % sure & done",
        "50%",
        "caf\u{e9} \u{444} \u{4e2d}\u{6587} \u{1f600}",
        "wait\u{2026} \u{2014} what",
        "{\"a\":[1.5,2.25,-3e10]}",
    ] {
        assert_eq!(layers_of(text, ""), [], "{text}");
    }
}

#[test]
fn threat_a25_bytes_of_all_decodings_are_bounded_and_running_out_is_told() {
    // Every layer of it is nearly as long as the one before.
    let text = (0..4).fold("so and so ".repeat(60), |text, _| base64::Engine::encode(&STANDARD, text));
    let mut seen = 0;
    let mut count = |layer: &Layer<'_>| {
        seen += layer.text.len();
        Ok::<_, Exhausted>(())
    };
    let mut budget = Budget { left: text.len() };
    assert_eq!(Decoder::default().layers(text.as_bytes(), &mut budget, &mut count), Err(Exhausted::Bytes));
    assert!(seen <= text.len() && seen > text.len() / 2, "{seen}");
    let mut enough = Budget::for_bytes(text.len());
    assert_eq!(
        Decoder::default().layers(text.as_bytes(), &mut enough, &mut |_: &Layer<'_>| Ok::<_, Exhausted>(())),
        Ok(())
    );
}

#[test]
fn threat_a25_what_is_decoded_deeper_than_is_looked_at_is_told() {
    let decode = |text: &str| {
        let mut seen = Vec::new();
        let mut budget = Budget { left: usize::MAX };
        let mut visit = |layer: &Layer<'_>| {
            seen.push(String::from_utf8_lossy(layer.text).into_owned());
            Ok::<_, Exhausted>(())
        };
        let result = Decoder::default().layers(text.as_bytes(), &mut budget, &mut visit);
        (result, seen.iter().any(|text| text.contains("078-05-1120")))
    };
    let mut text = "my ssn is 078-05-1120".to_owned();
    for depth in 1..=DEPTH_MAX {
        text = base64::Engine::encode(&STANDARD, text);
        assert_eq!(decode(&text), (Ok(()), true), "{depth} times over");
    }
    text = base64::Engine::encode(&STANDARD, text);
    assert_eq!(decode(&text).0, Err(Exhausted::Depth));
    // Escapes of escapes are one decoding, however many.
    let times = 40;
    assert_eq!(decode(&format!("%{}3078-05-1120", "25".repeat(times))), (Ok(()), true));
    assert_eq!(decode(&format!("&{}#48;78-05-1120", "amp;".repeat(times))), (Ok(()), true));
    assert_eq!(decode(&format!("%{}3078-05-1120 100% &amp;amp", "25".repeat(times))), (Ok(()), true));
}

#[test]
fn threat_a24_letters_that_look_latin_are_read_so_in_words_that_pose_as_latin() {
    let reads = |text: &str| layers_of(text, "").first().map(|(says, _)| says.clone());
    for (text, expected) in [
        ("\u{455}\u{455}n: 1", "ssn: 1"),
        ("p\u{430}ssport \u{4e00}", "passport \u{4e00}"),
        ("\u{440}\u{430}\u{455}\u{455}p\u{43e}rt", "passport"),
        ("\u{3bf}ffice and \u{410}KIA1", "office and AKIA1"),
        ("\u{ff53}\u{ff53}\u{ff4e}", "ssn"),
        ("\u{1d42c}\u{1d42c}\u{1d427} \u{1d62d}", "ssn l"),
        ("\u{585}ffice", "office"),
        ("\u{455}\u{441}\u{43e}\u{440}\u{435}", "scope"),
        // Sixty-four bytes and more of one word.
        (&"\u{430}b".repeat(100), &"ab".repeat(100)),
    ] {
        assert_eq!(reads(text).as_deref(), Some(expected), "{text}");
    }
    // Words of their own languages, and those that only mix.
    for own in [
        "телефон",
        "сахар и соус",
        "рус",
        "ааа",
        "αβγ",
        "νους",
        "Հայաստան",
        "5я",
        "DNA-метка",
        "паspортя",
        "straße",
        "été",
    ] {
        assert_eq!(reads(own), None, "{own}");
    }
}

#[test]
fn the_way_back_from_every_layer_is_monotone_and_covers() {
    let part = prop_oneof![
        "[a-z0-9 .@-]{0,12}",
        "(%[0-9a-fA-F]{2}){1,6}",
        "&(#[0-9]{2,5}|#x[0-9a-f]{1,5}|amp|nbsp|ndash);?",
        "[\\u{200b}\\u{ff10}-\\u{ff19}\\u{301}\\u{2013}\\u{e0041}\\u{fe0f}\\u{e0100}\\u{e9}\\u{4e2d}]{1,6}",
        "[ -~]{6,30}".prop_map(|text| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text)),
        "[ -~]{8,20}".prop_map(|text| text.bytes().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))),
    ];
    proptest!(|(parts in prop::collection::vec(part, 0..8), bytes in prop::collection::vec(any::<u8>(), 0..64))| {
        fuzz::decode(parts.concat().as_bytes());
        fuzz::decode(&bytes);
    });
}
