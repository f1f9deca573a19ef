use super::*;
use crate::safety::detectors::digits;

/// Everything found in `text`, of the JSON member `key`, whatever its anchors.
fn find_all(text: &[u8], key: Option<&str>) -> Vec<(std::ops::Range<usize>, u8)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(digit) = text[at..].iter().position(u8::is_ascii_digit) {
        let context = Context::new(text, at + digit, key);
        at = digits::each_window(text, at + digit, |window| {
            let number = find(window, &context);
            number.map_or(1, |number| {
                found.push((number.range, number.confidence));
                number.groups
            })
        });
    }
    found
}

#[track_caller]
fn check_in(key: Option<&str>, text: &str, expected: &[(&str, u8)]) {
    let found = find_all(text.as_bytes(), key);
    let found: Vec<_> = found.iter().map(|(range, confidence)| (&text[range.clone()], *confidence)).collect();
    assert_eq!(found, expected, "{text:?}");
}

#[track_caller]
fn check(text: &str, expected: &[(&str, u8)]) {
    check_in(None, text, expected);
}

/// `number` is found in the middle of a sentence.
#[track_caller]
fn check_number(number: &str, confidence: u8) {
    check(&format!("at {number}, please"), &[(number, confidence)]);
}

#[test]
fn a_number_with_its_calling_code_is_as_long_as_its_country_has_them() {
    for number in [
        "+44 20 7946 0958",
        "+14155550132",
        "+1.415.555.0132",
        "+49 (0)30 1234567",
        "+(49) 30 1234567",
        "+46 (0)8 379 618 71",
        "+2908999",
        "+376661760",
        "0044 20 7946 0958",
        "001-518-640-0854",
    ] {
        check_number(number, 95);
    }
    check_number("+1-140-891-5938", 70);
    for left in ["+45 3212345", "+45 321234567", "+1 684622123", "+28 123 45678", "+0 12345678", "+33 0123456789"] {
        check(left, &[]);
    }
    check("+1-408-555-1234 5 times", &[("+1-408-555-1234", 95)]);
    check("abc+14156667777", &[("+14156667777", 95)]);
    check("tel:+41-44-668-18-00;x", &[("+41-44-668-18-00", 95)]);
    for left in ["abc+14156667777def", "1+14156667777", "0044207946095812", "0069 0308 0301", "0081-1750.00098"] {
        check(left, &[]);
    }
}

#[test]
fn a_north_american_number_is_found_by_its_groups() {
    for number in ["(415) 555-0132", "(415)555-0132", "415-555-0132", "415.555.0132", "415 555-0132", "415-5550132"] {
        check_number(number, 85);
    }
    check_number("1-415-555-0132", 85);
    check_number("1-800-123-4567", 85);
    for left in [
        "at 4155550132",
        "115-555-0132",
        "415-155-0132",
        "415-555-01321",
        "778-782 (1976)",
        "252.227-7013",
        "709.7827129",
    ] {
        check(left, &[]);
    }
    check("\u{8bf7}\u{62e8}\u{6253}415-666-7777\u{6211}", &[("415-666-7777", 85)]);
    check(r"Belgium 35855\n416-623-8833", &[("416-623-8833", 85)]);
    for left in ["e\u{301}415-666-7777", "\u{e9}415-666-7777", "415-666-7777\u{e9}", "415-666-7777%", "$415-666-7777"] {
        check(left, &[]);
    }
}

#[test]
fn a_trunk_zero_or_an_area_code_in_parentheses_tells_a_national_number() {
    for number in [
        "02 234 5678",
        "0379 9492309",
        "01.39.27.97.60",
        "0475 18 01 64",
        "06-10446904",
        "0 532 123 45 67",
        "(0-312) 34567",
        "(20) 3346 1234",
        "(85) 5986-8343",
        "(07700)963324",
        "(11) 96123-4567",
        "8 (912) 345-67-89",
    ] {
        check_number(number, 70);
    }
    for left in [
        "01.02.2024",
        "01-02-2024 0830",
        "0123456789",
        "0.123 0.456",
        "010.020.030.040",
        "00-12-34567",
        "0999-07-15",
        "0300 0315 0062",
        "08-30 09-45.",
        "12 0475 18 01 64",
        "0475 18 01 64 12 99",
        "a1 0475 18 01 64",
        "(2003) 1234-5678",
        "Aug 09 2013 23:54:35",
    ] {
        check(left, &[]);
    }
    check("52364\n041 056 7791", &[("041 056 7791", 70)]);
}

#[test]
fn groups_that_few_other_things_have_tell_a_national_number_less_surely() {
    for number in ["87 12 34 56", "42-71-89-64", "374 780 163", "965 75 772", "99 668472", "131 2345 6789"] {
        check_number(number, 50);
    }
    for left in [
        "12 000 000 people",
        "374 780 163,50",
        "10.20.30.40",
        "1234 5678 each",
        "id 123-456-789",
        "67 026126",
        "28 29 30 31  1  2",
        "459 8677 of them",
        "pages 998-1002.",
        "2024-03-10",
        "91-3456789",
    ] {
        check(left, &[]);
    }
}

#[test]
fn fewer_digits_are_a_number_where_they_are_the_whole_text() {
    for number in ["459 8677", "235-1234", "74 21234", "9138 4547", "04931-49"] {
        check(number, &[(number, 50)]);
        check(&format!("in {number} of"), &[]);
    }
    for left in ["1998-2002", "2019 2020", "1 000 000", "12345", "1234567", "12345-6789"] {
        check(left, &[]);
    }
}

#[test]
fn a_word_makes_digits_a_number_and_a_number_surer() {
    check("id 4155550132", &[]);
    check("call 4155550132", &[("4155550132", 60)]);
    check("call 459 8677 now", &[("459 8677", 60)]);
    check("call +45 3212345", &[("+45 3212345", 60)]);
    check("call 4598677 now", &[]);
    check("4155550132 fax", &[("4155550132", 60)]);
    check("4155550132-Office", &[("4155550132", 60)]);
    check("4155550132 (mobile)", &[("4155550132", 60)]);
    check("4155550132 telescopes", &[]);
    check("call 415-555-0132", &[("415-555-0132", 92)]);
    check("Tel. 0681 319 58 65", &[("0681 319 58 65", 85)]);
    check("call 87 12 34 56", &[("87 12 34 56", 75)]);
    check("call +44 20 7946 0958", &[("+44 20 7946 0958", 95)]);
    check_in(Some("mobile"), "4155550132", &[("4155550132", 60)]);
    check_in(Some("order"), "4155550132", &[]);
    check("call 0681 3195865 0681 3195866", &[("0681 3195865", 60), ("0681 3195866", 60)]);
    check("call me on 2023-03-10", &[]);
    check("call me on 20230310", &[]);
    check("cell rate 1412830.188", &[]);
    check("tell me 4155550132", &[]);
}

#[test]
fn the_extension_is_no_part_of_the_number() {
    check("415-555-0132x4587", &[("415-555-0132", 85)]);
    check("415-555-0132 ext. 4587", &[("415-555-0132", 92)]);
    check("415-555-0132xyz", &[]);
}

#[test]
fn any_text_is_read_to_its_end() {
    use proptest::prelude::*;
    let alphabet = prop::sample::select("0123456789 -.()+xf:,\\n\u{e9}\u{4e2d}".chars().collect::<Vec<_>>());
    proptest!(|(text in prop::collection::vec(alphabet, 0..80), bytes in prop::collection::vec(any::<u8>(), 0..60))| {
        let text: String = text.into_iter().collect();
        let mut last = 0;
        for (range, confidence) in find_all(text.as_bytes(), Some("phone")) {
            prop_assert!(text.get(range.clone()).is_some_and(|found| !found.is_empty()));
            prop_assert!(last <= range.start && confidence <= 100, "{:?}", text);
            last = range.end;
        }
        find_all(&bytes, None);
    });
}

#[test]
fn a_beginning_that_only_telephones_have_allows_any_grouping() {
    for number in ["0800 9876543210", "0800 1234 1234", "1-300-88-2525", "(0)30 - 12 34 56", "(0)3 0 -1 2 34 56 78"] {
        let found = find_all(format!("at {number}, please").as_bytes(), None);
        assert_eq!(found.len(), 1, "{number}: {found:?}");
    }
    check("1800 1-2-3 456", &[("1800 1-2-3 456", 50)]);
    check("542 318 40 60", &[("542 318 40 60", 50)]);
    check("23 4567", &[("23 4567", 50)]);
    for left in [
        "in 1800 1-2-3 456 of",
        "0444 1234 1234",
        "1-078-05-1120",
        "100 200 30 40",
        "at 23 4567",
        "f(0)3 0 12 34 56 78",
    ] {
        check(left, &[]);
    }
}

#[test]
fn an_extension_tells_a_number() {
    check("0512345 ext. 12", &[("0512345", 60)]);
    check("555 321 4 999x123", &[("555 321 4 999", 60)]);
    for left in ["4512345 ext. 12", "0512345 extra", "1920 1080x720", "051234 ext. 12"] {
        check(left, &[]);
    }
}

#[test]
fn digits_in_a_row_are_told_by_a_trunk_zero_or_by_being_all() {
    check("call him? 07911123456", &[("07911123456", 60)]);
    check("second: 07911123456.", &[("07911123456", 40)]);
    check("02071234567", &[("02071234567", 40)]);
    check("2025550123", &[("2025550123", 35)]);
    for left in [
        "07911123456789",
        "00791112345",
        "0791112345",
        "01234567890",
        "no 02071234567",
        "no 2025550123",
        "1025550123",
        "2020550",
        "x07911123456",
        "07911123456-1",
        "1.07911123456",
        "07911123456%",
    ] {
        check(left, &[]);
    }
    check_in(Some("order"), "07911123456", &[]);
    check_in(Some("order"), "2025550123", &[]);
}

#[test]
fn words_of_other_languages_speak_of_telephones_too() {
    for text in ["Telepono: 12345678", "手机12345678", "тел. 12345678", "Desk: 12345678", "reach me on 12345678"] {
        check(text, &[("12345678", 60)]);
    }
    for left in ["desktop 12345678", "reached 12345678 people"] {
        check(left, &[]);
    }
}
