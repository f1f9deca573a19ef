use super::*;
use crate::safety::detectors::tests::{check, check_confidence, check_in};
use Detector::*;

#[test]
fn a_grouping_of_its_own_is_enough() {
    for (number, detector) in [
        ("529.982.247-25", BrCpf),
        ("11.222.333/0001-81", BrCnpj),
        ("2 69 05 49 588 157 80", FrNir),
        ("19910924-2397", SePersonnummer),
        ("910924-2397", SePersonnummer),
        ("Y8063915-Z", EsNie),
        ("Y8063915Z", EsNie),
        ("12345678Z", EsDni),
        ("131052-308T", FiPersonalIdentityCode),
        ("912-70-5678", UsItin),
        ("3123 4567 8909", InAadhaar),
        ("1 85 05 2A 006 084 35", FrNir),
        ("2 69 05 2B 050 012 33", FrNir),
        ("18190417+2382", SePersonnummer),
    ] {
        for text in [number.to_owned(), format!("no {number}."), format!("({number})")] {
            check(&text, &[(detector, number)]);
        }
        for text in [format!("x{number}"), format!("{number}x"), format!("{number}-1"), format!("1-{number}")] {
            assert!(
                super::super::tests::find(text.as_bytes(), None).iter().all(|(found, _)| *found != detector),
                "{text}"
            );
        }
    }
}

#[test]
fn digits_in_a_row_need_a_word_or_to_be_everything() {
    check("pesel 44051401458", &[(PlPesel, "44051401458")]);
    check_in("44051401458", Some("pesel"), &[(PlPesel, "44051401458")]);
    check("44051401458", &[(PlPesel, "44051401458")]);
    check_confidence("44051401458", 50);
    check_in("44051401458", Some("order"), &[]);
    check("order 44051401458", &[]);
    check("routing number 021000021", &[(UsAbaRouting, "021000021")]);
    check("SSN 134-77-9981, routing number 021000021.", &[(UsSsn, "134-77-9981"), (UsAbaRouting, "021000021")]);
    check("NHS no 943 476 5919", &[(UkNhs, "943 476 5919")]);
    check("EIN 92-7315401", &[(UsEin, "92-7315401")]);
}

#[test]
fn what_a_word_names_is_taken_without_its_checksum_but_less_surely() {
    check_confidence("NPI: 1234567893", 95);
    check_confidence("NPI: 8595143461", 60);
    check("Provider | NPI\nDr A | 0877834719 |", &[(UsNpi, "0877834719")]);
}

#[test]
fn every_form_can_be_taken() {
    for (form, led) in FORMS.iter().zip(LED) {
        assert!(form.said > 0 && form.said >= form.alone.max(form.whole), "{}", form.pattern);
        assert!(led.digits > 0 && led.before < 3, "{}", form.pattern);
    }
}

#[test]
fn a_word_behind_says_what_a_number_is() {
    check("198112189876 is my personnummer.", &[(SePersonnummer, "198112189876")]);
    check_confidence("198112189876 is my personnummer.", 95);
    check("198112189876, personnummer unknown", &[]);
    check("198112189876 and pesel 44051401458", &[(PlPesel, "44051401458")]);
}

#[test]
fn a_prescriber_is_told_by_the_check_digit_and_a_word() {
    check_confidence("BF5836979", 50);
    check_confidence("his certificate BF5836979", 90);
    check_confidence("prescriber F95836979", 90);
    for left in ["code BF5836979", "BF5836978", "ZF5836979", "BF58369791"] {
        check(left, &[]);
    }
}

#[test]
fn people_of_other_alphabets_speak_of_their_numbers_too() {
    check("เลขประจำตัวประชาชน 1101700203450", &[(ThTnin, "1101700203450")]);
    check("bu ki\u{15f}i: 31284765040", &[(TrNationalId, "31284765040")]);
}
