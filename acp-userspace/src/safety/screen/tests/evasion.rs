//! Values that somebody wrote so that they are not seen (THREATS A24), and content that is too much to look at (A25).

use super::*;

#[test]
fn threat_a24_a_number_in_another_spelling_is_redacted_where_it_stands() {
    let ssn = "[REDACTED:US_SSN]";
    for written in [
        "078\u{2013}05\u{2013}1120",
        "\u{ff10}\u{ff17}\u{ff18}-05-1120",
        "\u{660}\u{667}\u{668}-\u{660}\u{665}-\u{661}\u{661}\u{662}\u{660}",
        "0\u{200b}78-0\u{2060}5-11\u{ad}20",
        "078-0\u{301}5-1120",
        "07%38-05%2d1120",
        "&#48;78&ndash;05&#x2d;1120",
        "%25307%2538-05-1120",
        "MDc4LTA1LTExMjA=",
        "3037382d30352d31313230",
        "TURjNExUQTFMVEV4TWpBPQ==",
    ] {
        check(&format!(r#"{{"note":"ssn: {written}, ok"}}"#), Redact, &format!(r#"{{"note":"ssn: {ssn}, ok"}}"#));
        check(&format!(r#"{{"{written}":1}}"#), Redact, &format!(r#"{{"{ssn}":1}}"#));
        // In a string with escapes, and twice in one text.
        check(&format!(r#"["\n{written} {written}"]"#), Redact, &format!(r#"["\n{ssn} {ssn}"]"#));
        let raw = format!("ssn: {written}!");
        let screened = screened(&Content::body(Body::Raw(raw.as_bytes())), Redact).expect("passes");
        let [edit] = &screened.edits[..] else { panic!("{:?}", screened.edits) };
        assert_eq!(edit.range, 5..5 + written.len());
    }
}

#[test]
fn threat_a24_an_encoded_value_in_path_query_or_form_is_found() {
    for text in ["x=MDc4LTA1LTExMjA=", "x=%2530%2537%2538-05-1120", "x=078%E2%80%9305%E2%80%931120"] {
        let query = Content { body: Body::Empty, query: Some(text), path: "" };
        let path = Content { body: Body::Empty, query: None, path: text };
        for content in [query, path, Content::body(Body::Form(text.as_bytes()))] {
            assert_eq!(screened(&content, Redact).expect_err(text).reason, Reason::ContentBlocked, "{content:?}");
        }
    }
}

#[test]
fn threat_a24_the_name_of_a_member_tells_of_its_decoded_value() {
    check(r#"{"mrn":"%34%33%30%39%36%33%34"}"#, Redact, r#"{"mrn":"[REDACTED:MRN]"}"#);
    check(r#"{"password":"tR5%21kq9Zw2%23v"}"#, Redact, r#"{"password":"[REDACTED:SECRET]"}"#);
}

#[test]
fn threat_a24_text_that_nobody_sees_is_a_finding() {
    let hidden: String = "ignore all".chars().map(|c| char::from_u32(0xe0000 + c as u32).expect("a tag")).collect();
    check(&format!(r#"["hello{hidden} you"]"#), Redact, r#"["hello[REDACTED:HIDDEN_TEXT] you"]"#);
    let percent: String = hidden.bytes().map(|byte| format!("%{byte:02x}")).collect();
    check(&format!(r#"["hello{percent} you"]"#), Redact, r#"["hello[REDACTED:HIDDEN_TEXT] you"]"#);
    let entities: String = hidden.chars().map(|c| format!("&#{};", c as u32)).collect();
    check(&format!(r#"["hello{entities} you"]"#), Redact, r#"["hello[REDACTED:HIDDEN_TEXT] you"]"#);
    let flag = "\u{1f3f4}\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}";
    let body = format!("[\"{flag} \u{2764}\u{fe0f}\"]");
    assert_eq!(edited(&body, Redact), (body.clone(), 0));
}

/// Letters that look like others, in addresses and in the words that tell of a number.
#[test]
fn threat_a24_look_alike_letters_hide_neither_an_address_nor_what_tells_of_a_number() {
    let email = "[REDACTED:EMAIL]";
    for written in [
        "al\u{456}ce@example.com",
        "\u{430}lice@ex\u{430}mple.c\u{43e}m",
        "alice@exampl\u{435}.com",
        "\u{ff41}lice\u{ff20}example\u{ff0e}com",
        "\u{1d41a}lice@example.com",
        "alice@example\u{3002}com",
        "al\u{200b}ice@exam\u{ad}ple.com",
        "jose\u{301}@example.com",
        "al\u{301}ice@exa\u{308}mple.com",
    ] {
        check(&format!(r#"["to {written}, ok"]"#), Redact, &format!(r#"["to {email}, ok"]"#));
    }
    for word in
        ["\u{455}\u{455}n", "\u{ff33}\u{ff33}\u{ff2e}", "\u{1d5cc}\u{1d5cc}\u{1d5c7}", "s\u{200b}sn", "SS\u{39d}"]
    {
        check(&format!(r#"["{word} 219099999"]"#), Redact, &format!(r#"["{word} [REDACTED:US_SSN]"]"#));
        check(&format!(r#"["{word}: 219099999"]"#), Redact, &format!(r#"["{word}: [REDACTED:US_SSN]"]"#));
    }
    let key = format!("\u{410}{}", &"AKIAIOSFODNN7EXAMPLQ"[1..]);
    check(&format!(r#"["{key}"]"#), Redact, r#"["[REDACTED:SECRET]"]"#);
}

/// The name of a member is a text like any other.
#[test]
fn threat_a24_a_members_name_in_another_spelling_tells_of_its_value() {
    let ssn = r#""[REDACTED:US_SSN]""#;
    for name in ["s\u{455}n", "\u{ff53}\u{ff53}\u{ff4e}", "s%73n", "s&#115;n", "s\u{200b}sn", "\\u0073sn"] {
        check(&format!(r#"{{"{name}":"219099999"}}"#), Redact, &format!(r#"{{"{name}":{ssn}}}"#));
        check(&format!(r#"{{"{name}":219099999}}"#), Redact, &format!(r#"{{"{name}":{ssn}}}"#));
        check(&format!(r#"{{"{name}":["x","219099999"]}}"#), Redact, &format!(r#"{{"{name}":["x",{ssn}]}}"#));
        check(&format!(r#"{{"{name}":"2190%399999"}}"#), Redact, &format!(r#"{{"{name}":{ssn}}}"#));
        assert_eq!(edited(&format!(r#"{{"{name}":"x","b":"219099999"}}"#), Redact).1, 0, "{name}");
    }
    let bic = r#""[REDACTED:SWIFT_BIC]""#;
    for name in ["b\u{456}c", "bi%63", "\u{ff42}ic"] {
        check(&format!(r#"{{"{name}":"CHASUS33"}}"#), Redact, &format!(r#"{{"{name}":{bic}}}"#));
        check(&format!(r#"{{"{name}":["CHASUS33"]}}"#), Redact, &format!(r#"{{"{name}":[{bic}]}}"#));
    }
    check("{\"p\u{430}ssword\":\"tR5!kq9Zw2#v\"}", Redact, "{\"p\u{430}ssword\":\"[REDACTED:SECRET]\"}");
}

#[test]
fn threat_a25_a_match_at_every_byte_is_refused_and_never_cut_short() {
    let screen = |body: &str| screened(&Content::body(Body::Raw(body.as_bytes())), Flag);
    let found = screen(&"a@b.cc ".repeat(FINDINGS_MAX)).expect("just fits").findings;
    assert_eq!(found.iter().map(|finding| finding.count as usize).sum::<usize>(), FINDINGS_MAX);
    for body in ["a@b.cc ".repeat(FINDINGS_MAX + 1), "a%40b.cc ".repeat(FINDINGS_MAX + 1), "a@".repeat(1 << 20)] {
        // The last holds no address, and is searched to its end.
        match screen(&body) {
            Ok(screened) => assert!(screened.findings.is_empty() && body.starts_with("a@a"), "{}", &body[..9]),
            Err(refused) => assert_eq!(refused.reason, Reason::ScannerFailed),
        }
    }
}

#[test]
fn what_is_found_twice_is_counted_once() {
    // The dash makes a second text of it, in which the address stands as in the first.
    let (out, found) = edited("[\"a@b.com 1\u{2013}2\"]", Redact);
    assert_eq!((&*out, found), ("[\"[REDACTED:EMAIL] 1\u{2013}2\"]", 1));
}
