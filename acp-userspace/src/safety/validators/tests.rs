//! Claims about all validators at once, and identifiers of the kinds the corpus has few of.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{by_name, kinds, names};

/// Values known to be right and wrong: examples that the authorities or standards print, and neighbours of them.
const EXAMPLES: &[(&str, &[&str], &[&str])] = &[
    ("AU_ABN", &["51 824 753 556"], &["51 824 753 557", "01 824 753 556"]),
    ("AU_TFN", &["876543210", "459599230"], &["876543211"]),
    ("BR_CNPJ", &["12.ABC.345/01DE-35", "16.727.230/0001-97"], &["12.ABC.345/01DE-36"]),
    ("BR_CPF", &["390.533.447-05"], &["111.111.111-11", "390.533.447-06"]),
    ("CZ_RC", &["710319/2745", "530101123"], &["710319/2746", "711319/2745"]),
    ("CY_VAT", &["CY-10259033P"], &["CY-10259033Z", "CY-20259033P"]),
    ("DE_LANR", &["234567701"], &["234567601"]),
    ("DE_TAX_ID", &["36 574 261 809", "86095742719"], &["36 574 261 890", "01234567896"]),
    ("ES_NIE", &["X1234567L", "Z8078221M"], &["X1234567M"]),
    ("ES_NIF", &["54362315K", "X5253868R", "M1234567L", "B58378431"], &["54362315Z", "B64717839"]),
    ("FR_NIR", &["2 95 10 99 126 111 93"], &["2 95 10 99 126 111 94"]),
    ("HR_OIB", &["33392005961"], &["33392005962"]),
    ("IE_VAT", &["IE 6433435F", "6433435OA", "8D79739I"], &["IE 6433435E"]),
    ("IN_AADHAAR", &["2341 2341 2346"], &["2341 2341 2347", "1341 2341 2346"]),
    ("IT_FISCAL_CODE", &["RCCMNL83S18D969H", "RSSMRA85T10A562S"], &["RCCMNL83S18D969I", "RSSMRA85T40A562S"]),
    ("KR_BRN", &["116-82-00276"], &["116-82-00277"]),
    ("NO_FODSELSNUMMER", &["15108695088"], &["15108695077"]),
    ("PL_NIP", &["8567346215", "PL 856-734-62-15"], &["8567346216"]),
    ("RO_CUI", &["18547290", "RO 185 472 90"], &["18547291"]),
    ("RU_SNILS", &["112-233-445 95"], &["112-233-445 96"]),
    ("SE_PERSONNUMMER", &["19811228-9874", "811228-9874", "701063-2391"], &["811228-9875", "811328-9874"]),
    ("SG_NRIC_FIN", &["S2740116C", "M4332674T", "F5471634Q"], &["S2740116D", "B1234567Z"]),
    ("SV_NIT", &["0614-050707-104-8"], &["0614-050707-104-9"]),
    ("TR_NATIONAL_ID", &["10000000146"], &["10000000147", "02531814694"]),
    ("UK_NINO", &["AB 12 34 56 C", "HH010203D"], &["DB 12 34 56 C", "NT 12 34 56 C", "AB 12 34 56 E", "AO123456C"]),
    ("UK_VEHICLE_REGISTRATION", &["BD62 XYZ", "A123 BCD", "DEF456G", "K1 ABC"], &["AB35 ABC", "I123 BCD", "ABC 123I"]),
    ("YU_JMBG", &["0101006500006"], &["0101006500007"]),
];

#[test]
fn examples_are_judged_right() {
    for (name, right, wrong) in EXAMPLES {
        let holds = by_name(name).expect("known");
        for value in *right {
            assert!(holds(value), "{name} {value}");
        }
        for value in *wrong {
            assert!(!holds(value), "{name} {value}");
        }
    }
}

/// Right values whose last digit checks the others.
const CHECKED: &[(&str, &str)] = &[
    ("AR_CUIT", "20-05536168-2"),
    ("AT_TIN", "59-119/9013"),
    ("AT_UID", "ATU13585627"),
    ("AU_ACN", "004 085 616"),
    ("AU_ACN", "123 456 780"),
    ("BG_EGN", "7523169263"),
    ("BE_NN", "85.07.30-033.28"),
    ("BE_VAT", "BE 0428.759.497"),
    ("CA_BC_PHN", "9698 658 215"),
    ("CA_SIN", "435 418 165"),
    ("CH_UID", "CHE-107.787.577"),
    ("CZ_BANKACCOUNT", "19-2000145399/0800"),
    ("CZ_DIC", "CZ 25123891"),
    ("CZ_ICO", "25596641"),
    ("DE_LEITWEG", "04011000-1234512345-06"),
    ("EE_IK", "36805280109"),
    ("EE_KMKR", "EE 100 931 558"),
    ("EE_REGISTRIKOOD", "12345678"),
    ("EU_AT_02", "DE98ZZZ09999999999"),
    ("FR_TVA", "K7399859412"),
    ("GB_UTR", "1955839661"),
    ("IL_HP", "516179157"),
    ("IMO", "IMO 9074729"),
    ("ISBN", "0-306-40615-2"),
    ("JP_CN", "7000012050002"),
    ("LT_ASMENS", "33309240064"),
    ("LT_PVM", "LT 119511515"),
    ("LT_PVM", "100001919017"),
    ("LV_PVN", "161175-19997"),
    ("MK_EDB", "4030000375897"),
    ("NL_BSN", "111222333"),
    ("NZ_IRD", "136410132"),
    ("NZ_IRD", "49-098-576"),
    ("PE_RUC", "20512333797"),
    ("PT_NIF", "501964843"),
    ("RS_PIB", "101134702"),
    ("SE_VAT", "SE 556188840401"),
    ("SK_DPH", "SK 202 274 96 19"),
    ("UA_RNTRC", "1759013776"),
    ("ZA_TIN", "0001339050"),
];

#[test]
fn check_digits_are_checked() {
    for (name, value) in CHECKED {
        let holds = by_name(name).expect("known");
        assert!(holds(value), "{name} {value}");
        // The bank of a Czech account has no check digit, the branch of a Swedish VAT number neither.
        let end = match *name {
            "CZ_BANKACCOUNT" => value.len() - 5,
            "SE_VAT" => value.len() - 2,
            _ => value.len(),
        };
        let (head, last) = value[..end].split_at(end - 1);
        let other = (last.parse::<u8>().expect("a digit") + 1) % 10;
        assert!(!holds(&format!("{head}{other}{}", &value[end..])), "{name} {value}");
    }
}

#[test]
fn every_name_is_given_once() {
    let all: BTreeSet<_> = names().collect();
    assert_eq!(all.len(), names().count());
    assert!(by_name("US_SSN").is_some() && by_name("us_ssn").is_none() && by_name("").is_none());
}

#[test]
fn nothing_and_separators_are_no_identifier() {
    for (name, holds) in kinds() {
        for value in ["", " ", "-", "--", "/", ".", "1", "A", "0", "()", "(", "é", "\u{0}", "١", "RCS ", "HRA", "J"] {
            let short =
                matches!((name, value), ("EU_NACE", "A" | "J") | ("FI_ASSOCIATIONID" | "SM_COE", "0" | "1" | "١"));
            assert!(!holds(value) || short, "{name} {value:?}");
        }
    }
}

/// Texts near to identifiers: those of the examples, changed, and any.
fn any_text() -> impl Strategy<Value = String> {
    let examples: Vec<_> = EXAMPLES.iter().flat_map(|(_, right, wrong)| right.iter().chain(*wrong)).copied().collect();
    let near = (proptest::sample::select(examples), any::<prop::sample::Index>(), ".{0,3}", any::<bool>()).prop_map(
        |(example, at, added, cut)| {
            let at = at.index(example.len() + 1);
            let (before, behind) = example.split_at(at);
            if cut { format!("{before}{added}") } else { format!("{before}{added}{behind}") }
        },
    );
    prop_oneof![near, "[A-Z]{0,4}[0-9A-Z -/.()]{0,40}", "[0-9]{0,24}", "\\PC{0,80}", ".{0,300}"]
}

proptest! {
    #[test]
    fn no_text_makes_a_validator_panic(text in any_text()) {
        for (_, holds) in kinds() {
            holds(&text);
        }
    }

    #[test]
    fn what_is_longer_than_any_identifier_is_none(text in "[0-9A-F]{300,400}") {
        for (name, holds) in kinds() {
            prop_assert!(!holds(&text), "{}", name);
        }
    }
}
