//! Values that were split over the items of an array.

use super::*;
use crate::corpora;

#[test]
fn threat_a24_a_value_split_over_items_of_an_array_is_found_in_each() {
    let (ssn, card, email) = ("[REDACTED:US_SSN]", "[REDACTED:CREDIT_CARD]", "[REDACTED:EMAIL]");
    check(r#"["123-45","-6789"]"#, Redact, &format!(r#"["{ssn}","{ssn}"]"#));
    check(r#"{"a":["no","by 123-","45-","6789!"]}"#, Redact, &format!(r#"{{"a":["no","by {ssn}","{ssn}","{ssn}!"]}}"#));
    check(r#"["to bob","@mail.example"]"#, Redact, &format!(r#"["to {email}","{email}"]"#));
    check(r#"["4111 1111 ","1111 1111"]"#, Redact, &format!(r#"["{card}","{card}"]"#));
    check(r#"["4111","1111","1111","1111"]"#, Redact, &format!(r#"["{card}","{card}","{card}","{card}"]"#));
    check(r#"{"ssn":["123","45","6789"]}"#, Redact, &format!(r#"{{"ssn":["{ssn}","{ssn}","{ssn}"]}}"#));
    check(r#"{"ssn":[123,45,6789]}"#, Redact, &format!(r#"{{"ssn":["{ssn}","{ssn}","{ssn}"]}}"#));
    let digits = "4111111111111111".chars().map(|digit| format!("\"{digit}\"")).collect::<Vec<_>>().join(",");
    let all = vec![format!("\"{card}\""); 16].join(",");
    check(&format!("[{digits}]"), Redact, &format!("[{all}]"));
}

#[test]
fn no_part_of_a_split_value_keeps_its_end() {
    check(r#"["123-45","-6789"]"#, Mask, r#"["[REDACTED:US_SSN]","[REDACTED:US_SSN]"]"#);
    check(r#"["078-05-1120","x"]"#, Mask, r#"["*******1120","x"]"#);
}

/// Nothing is found in it, whatever is looked for.
#[track_caller]
fn check_clean(body: &str) {
    assert_eq!(edited(body, Redact), (body.to_owned(), 0));
}

#[test]
fn arrays_of_numbers_and_words_are_no_values() {
    for clean in [
        "[4111,1111,1111,1111]",
        r#"{"values":[4111,1111,1111,1111]}"#,
        r#"{"sizes":[123,45,6789]}"#,
        r#"["123","45","6789"]"#,
        r#"["2024","10","12","08","30"]"#,
        r#"["555","0132"]"#,
        r#"["--port","8080","-v","-x9"]"#,
        r#"["1.5","-2.25","-3.125"]"#,
        r#"["well-","known words","- of one-","self"]"#,
        "[0.5,0.25,0.125,4111,1111,1111,1111]",
        // Fewer digits than any number has, and one that is not sure.
        r#"{"phone":["555","0132"]}"#,
        r#"{"ssn":["666","12","3456"]}"#,
        // What tells of a value lies over the seam, the value does not.
        r#"["219099999"," ssn"]"#,
    ] {
        check_clean(clean);
    }
    let many: Vec<_> = (0..5000).map(|n| n.to_string()).collect();
    check_clean(&format!("[{}]", many.join(",")));
    check_clean(&format!("[\"{}\"]", many.join("\",\"")));
}

/// An item of a sentence or more is no part of a value.
#[test]
fn items_of_any_length_are_not_put_together() {
    let words = "so ".repeat(22);
    check_clean(&format!(r#"["{words}123-45","-6789"]"#));
    let fits = &words[..57];
    let expected = format!(r#"["{fits}[REDACTED:US_SSN]","[REDACTED:US_SSN]"]"#);
    check(&format!(r#"["{fits}123-45","-6789"]"#), Redact, &expected);
}

/// However many items go on in each other, a value over any of their seams is found.
#[test]
fn a_split_value_is_found_behind_any_number_of_joined_items() {
    for before in [0, 1, 37, 38, 39, 40, 77, 78, 79, 80, 81, 200] {
        let filler = "\"a-\",".repeat(before);
        let ssn = "[REDACTED:US_SSN]";
        check(
            &format!(r#"[{filler}"b 123-","45-","6789"]"#),
            Redact,
            &format!(r#"[{filler}"b {ssn}","{ssn}","{ssn}"]"#),
        );
    }
}

/// The words of every text in which nothing may be found, as one array, say no more than each by itself.
#[test]
fn the_words_of_clean_texts_make_no_value_together() {
    let files = ["negatives_tool_calls", "negatives_http_headers", "negatives_hashes_and_ids"];
    let records = files.into_iter().filter_map(|file| corpora::records(&format!("pii/{file}.jsonl"))).flatten();
    let (mut count, mut scan, mut walker) = (0, Scan::default(), Walker::new());
    let rules = rules(Flag, Mode::Enforce).request(0).unwrap();
    for record in records {
        let words: Vec<_> = corpora::member(&record, "text").split_whitespace().collect();
        let body = json!({ "items": words }).to_string();
        let document = walker.walk(body.as_bytes(), &Limits::default()).unwrap();
        scan.search(&Content::body(Body::Json(document)), 0, rules).unwrap();
        let parts: Vec<_> = scan.hits.iter().filter(|hit| hit.is_part).collect();
        assert!(parts.is_empty(), "{parts:?} in {body}");
        count += 1;
    }
    println!("{count} texts");
}

/// What is refused of a body, and why.
fn blocked(body: &str) -> ContentRefused {
    let mut walker = Walker::new();
    let document = walker.walk(body.as_bytes(), &Limits::default()).expect("valid JSON");
    screened(&Content::body(Body::Json(document)), Block).expect_err(body)
}

#[test]
fn a_split_value_is_blocked_wherever_it_was_cut_and_each_part_is_told() {
    for (body, detector, parts) in [
        (r#"["123-45","-6789"]"#, Detector::UsSsn, 2),
        (r#"{"a":["no","by 123-","45-","6789!"]}"#, Detector::UsSsn, 3),
        (r#"{"ssn":[123,45,6789]}"#, Detector::UsSsn, 3),
        (r#"["to bob","@mail.example"]"#, Detector::Email, 2),
        (r#"["4111","1111","1111","1111"]"#, Detector::CreditCard, 4),
    ] {
        let refused = blocked(body);
        assert_eq!((refused.reason, refused.rule.as_deref()), (Reason::ContentBlocked, Some("rule")), "{body}");
        let told: Vec<_> = refused.findings.iter().map(|one| (one.detector, one.count, one.action)).collect();
        assert_eq!(told, [(detector, parts, Block)], "{body}");
        let places: Vec<_> = refused.evidence.places.iter().map(|found| found.detector).collect();
        assert_eq!(places, vec![detector; parts as usize], "each part has its place in {body}");
    }
}
