//! What words tell, and what they do not.

use std::ops::Range;

use super::*;

/// Something that is told by words.
#[derive(Debug, PartialEq, Eq)]
struct Personal {
    kind: Kind,
    range: Range<usize>,
}

/// What the word of this number tells where its needle ends at `end`.
fn find(text: &[u8], word: usize, end: usize, mut report: impl FnMut(Personal)) {
    let announced = Announced { text, from: end, said: &text[..end], name: None };
    (WORDS[word].look)(&announced, &mut |kind, range, _| report(Personal { kind, range }));
}

/// What the name of a member tells of its value: the engine's part is played by looking everywhere.
fn assigned(key: &str, value: &[u8], mut report: impl FnMut(Personal)) {
    for (end, word) in (1..=key.len()).flat_map(|end| WORDS.iter().map(move |word| (end, word))) {
        let said = &key.as_bytes()[..end];
        let start = end.checked_sub(word.needle.len());
        if start.is_some_and(|start| said[start..].eq_ignore_ascii_case(word.needle.as_bytes())) {
            let announced = Announced { text: value, from: 0, said, name: Some(key) };
            (word.look)(&announced, &mut |kind, range, _| report(Personal { kind, range }));
        }
    }
}

/// Everything told in `text`: the engine's part is played by looking everywhere.
fn find_all(text: &[u8]) -> Vec<Personal> {
    let mut found = Vec::new();
    for (index, word) in WORDS.iter().enumerate() {
        let needle = word.needle.as_bytes();
        for end in needle.len()..=text.len() {
            if text[end - needle.len()..end].eq_ignore_ascii_case(needle) {
                find(text, index, end, |personal| found.push(personal));
            }
        }
    }
    found.sort_by_key(|personal| (personal.range.start, personal.range.end));
    found.dedup();
    found
}

#[track_caller]
fn check(text: &str, expected: &[(Kind, &str)]) {
    let found = find_all(text.as_bytes());
    let found: Vec<_> = found.iter().map(|personal| (personal.kind, &text[personal.range.clone()])).collect();
    assert_eq!(found, expected, "{text}");
}

#[track_caller]
fn check_member(key: &str, value: &str, expected: &[(Kind, &str)]) {
    let mut found = Vec::new();
    assigned(key, value.as_bytes(), |personal| found.push((personal.kind, &value[personal.range])));
    found.dedup();
    assert_eq!(found, expected, "{key}: {value}");
}

#[test]
fn a_date_of_birth_is_a_day_behind_a_word_for_birth() {
    use Kind::DateOfBirth as Birth;
    check("She was born on 12/5/1979. Her", &[(Birth, "12/5/1979")]);
    check("Please tell me your date of birth. It's 11/10/1936", &[(Birth, "11/10/1936")]);
    check(r#"{"dateOfBirth": "1979-12-05"}"#, &[(Birth, "1979-12-05")]);
    check("DOB: 3 May 1962; D.O.B. 19620503", &[(Birth, "3 May 1962")]);
    check("dob=19620503", &[(Birth, "19620503")]);
    check("née Martin, date de naissance : 5 mai 1962", &[(Birth, "5 mai 1962")]);
    check("geboren am 5.12.1979 in Bonn", &[(Birth, "5.12.1979")]);
    check("fecha de nacimiento: 5 de mayo de 1962", &[(Birth, "5 de mayo de 1962")]);
    for text in [
        "born in 1979",
        "reborn on 12/5/1979",
        "airborne 12/5/1979",
        "born 31/31/1979",
        "Today is 12/5/1979",
        "dob 1.2.3",
    ] {
        check(text, &[]);
    }
}

#[test]
fn a_passport_number_stands_behind_the_word_or_before_it() {
    use Kind::{Passport, UsPassport};
    check("his passport number EP564912 and", &[(Passport, "EP564912")]);
    check("US passport no. 512345678.", &[(UsPassport, "512345678")]);
    check("Passports: AB1234567 and XY9876543", &[(Passport, "AB1234567"), (Passport, "XY9876543")]);
    check("AaA123456 es mi n\u{fa}mero de pasaporte", &[(Passport, "AaA123456")]);
    check("Reisepass C01234565 ausgestellt am 01.01.2020.", &[(Passport, "C01234565")]);
    check("passportNumber='A12345678'", &[(UsPassport, "A12345678")]);
    for text in [
        "passport photo 35x45 mm",
        "passport. Call 5551234567",
        "passport issued 2021-05-03",
        "PASSPORT = 0x00000004",
        "compassport A1234567",
        "passport",
    ] {
        check(text, &[]);
    }
}

#[test]
fn a_licence_has_to_be_a_drivers() {
    use Kind::UsDriverLicense as Licence;
    check("My driver's license number is 425700624", &[(Licence, "425700624")]);
    check("driver\u{2019}s licence: LH329609T", &[(Licence, "LH329609T")]);
    check("license number D245-938-19-203 in the", &[(Licence, "D245-938-19-203")]);
    check("driver license ID 567-890-123 were", &[(Licence, "567-890-123")]);
    check("driver's license number DL:US98765432 and", &[(Licence, "US98765432")]);
    check("F\u{fc}hrerscheinnummer: B072RRE2I55", &[(Licence, "B072RRE2I55")]);
    check_member("drivers_license", "A125325867", &[(Licence, "A125325867")]);
    for text in [
        "License: MIT",
        "licensed under 2.0",
        "license number 12345678",
        "driver license holder 555-123-4567",
        "license plate AB12345",
        "SPDX-License-Identifier: Apache-2.0",
        "medical license number A1234567",
    ] {
        check(text, &[]);
    }
}

#[test]
fn an_account_has_to_be_a_banks_or_a_number() {
    use Kind::UsBankAccount as Account;
    check("bank account 7391028373 linked", &[(Account, "7391028373")]);
    check("account details like 3012345678 for", &[(Account, "3012345678")]);
    check("Account Number 'HDFC012345678901', IFSC", &[(Account, "HDFC012345678901")]);
    check("checking acct #1234-5678-9012", &[(Account, "1234-5678-9012")]);
    check_member("account_number", "123456789", &[(Account, "123456789")]);
    for text in [
        "account 12345678",
        "AWS account number 123456789012",
        "accounts: 12",
        "my account, 555-123-4567",
        "accountant 12345678",
        "account number on 2021-05-03",
    ] {
        check(text, &[]);
    }
}

#[test]
fn medical_numbers_are_told_by_their_words() {
    use Kind::{Mrn, UsDea, UsHealthInsuranceId as Plan, UsMbi};
    check("MRN:      559664", &[(Mrn, "559664")]);
    check("Medical Record # 4309634", &[(Mrn, "4309634")]);
    check("Med Rec No: 62839762", &[(Mrn, "62839762")]);
    check("Medical Record Numbers: MED87443421, MED4156611", &[(Mrn, "MED87443421"), (Mrn, "MED4156611")]);
    check("Incident ID MRN-607260 occurred", &[(Mrn, "MRN-607260")]);
    check("MED24535084, a medical record b", &[(Mrn, "MED24535084")]);
    check("insurance number 77422-AZC were", &[(Plan, "77422-AZC")]);
    check("Health Plan Beneficiary Number: HPBN-71888176.", &[(Plan, "HPBN-71888176")]);
    check("health plan, member ID W123456789", &[(Plan, "W123456789")]);
    check("Medicare ID: 3CD5-FG7-HJ89", &[(UsMbi, "3CD5-FG7-HJ89")]);
    check("DEA number: BB1388568", &[(UsDea, "BB1388568")]);
    check_member("patientId", "PHX-839221", &[(Mrn, "PHX-839221")]);
    for text in [
        "medical record of 2021-05-03",
        "member id 12345678",
        "national insurance number QQ123456C",
        "The DEA number is  BG8207031",
        "ideas BB1388568",
        "medicare 12G4-TE5-MK73",
        "patient 12345678",
    ] {
        check(text, &[]);
    }
}

#[test]
fn a_diagnosis_needs_its_dot_or_the_name_of_the_code() {
    use Kind::Icd10;
    check("ICD-10: E11.9, I10 and Z79.4", &[(Icd10, "E11.9"), (Icd10, "I10"), (Icd10, "Z79.4")]);
    check("icd10 code A10", &[(Icd10, "A10")]);
    check("Diagnosis: E11.9", &[(Icd10, "E11.9")]);
    check_member("icd10_code", "S72.001A", &[(Icd10, "S72.001A")]);
    for text in ["diagnosis A10", "paper A10", "ICD-9", "ICD-10 A1", "diagnosed with A10-B"] {
        check(text, &[]);
    }
}

#[test]
fn an_address_is_told_by_its_street_flat_or_post_office() {
    use Kind::Address;
    check("123 Maple Street, Springfield, IL 62704 is", &[(Address, "123 Maple Street, Springfield, IL 62704")]);
    check("at 4901 Elm Dr, Portland, OR 97201\n", &[(Address, "4901 Elm Dr, Portland, OR 97201")]);
    check(
        "51818 Bouci\u{f1}a 65\n Apt. 244\n Altafulla\n Spain 43893",
        &[(Address, "51818 Bouci\u{f1}a 65\n Apt. 244\n Altafulla\n Spain 43893")],
    );
    check("to PSC 5783, Box 4979\nAPO AA 90742", &[(Address, "PSC 5783, Box 4979\nAPO AA 90742")]);
    check("P.O. Box 1234, Austin, TX 78701", &[(Address, "P.O. Box 1234, Austin, TX 78701")]);
    check("address is 806 Christopher Meadow.", &[(Address, "806 Christopher Meadow")]);
    check_member("shipping_address", "Via Roma 131", &[(Address, "Via Roma 131")]);
    for text in [
        "Wall Street",
        "on the street",
        "12 tests in suite 3",
        "IP address 10.0.0.1",
        "address 0 so",
        "2 days on the road",
        "adaptive 5 apt 7",
        "a long street 5",
    ] {
        check(text, &[]);
    }
}

#[test]
fn a_look_reads_no_further_than_it_says_and_takes_any_bytes() {
    use proptest::prelude::*;
    let literals = WORDS.iter().map(|word| word.needle.to_owned()).collect::<Vec<_>>();
    let part = prop_oneof![
        prop::sample::select(literals).prop_map(String::into_bytes),
        prop::sample::select(vec![
            " number is ",
            ": ",
            "12345678",
            "12/5/1979",
            " Main ",
            "APO AE 09123",
            "A1B.2",
            "\\n"
        ])
        .prop_map(|part: &str| part.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..12),
    ];
    proptest!(|(parts in prop::collection::vec(part, 0..12), pad in 0usize..300, at in any::<prop::sample::Index>())| {
        let text = parts.concat();
        let end = at.index(text.len() + 1);
        let window = &text[end.saturating_sub(BACK_BYTES_MAX)..text.len().min(end + FORWARD_BYTES_MAX)];
        let padded = [vec![b'x'; pad], text.clone()].concat();
        for word in 0..WORDS.len() {
            let mut found = Vec::new();
            find(&text, word, end, |personal| found.push(personal));
            for personal in &found {
                prop_assert!(personal.range.start < personal.range.end && personal.range.end <= text.len());
            }
            let mut within = Vec::new();
            find(window, word, end.min(BACK_BYTES_MAX), |personal| within.push(personal));
            prop_assert_eq!(found.len(), within.len());
            if end > BACK_BYTES_MAX {
                let mut moved = Vec::new();
                find(&padded, word, pad + end, |personal| moved.push(personal));
                prop_assert_eq!(found.len(), moved.len());
            }
        }
    });
}

#[test]
fn a_word_tells_a_tax_number_that_is_mistyped_or_in_groups() {
    use Kind::{ItFiscalCode, UsItin};
    check("tax ID ATIN: 912345678B on file", &[(UsItin, "912345678B")]);
    check("taxpayer id 912-93-5678", &[(UsItin, "912-93-5678")]);
    for left in [
        "tax id 812345678B",
        "tax id 91234567B",
        "tax id 9123456789",
        "tax id 912-34-5678",
        "tax idea 912345678",
        "itinerary 912345678",
    ] {
        check(left, &[]);
    }
    check("Codice fiscale: RSS MRA 85T10 A562S.", &[(ItFiscalCode, "RSS MRA 85T10 A562S")]);
    check("cod. fiscale RSSMRA-85T10-A562S", &[(ItFiscalCode, "RSSMRA-85T10-A562S")]);
    check_member("codiceFiscale", "RSS MRA 85T10 A562S", &[(ItFiscalCode, "RSS MRA 85T10 A562S")]);
    for left in [
        "Codice fiscale: RSS MRA 85T10 A562T",
        "anno fiscale RSS MRA 85T10 A562S",
        "codice fiscale RSS MRA 85T10 A562SX",
    ] {
        check(left, &[]);
    }
}
