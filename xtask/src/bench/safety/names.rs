//! What the corpora's labels, the gateway and Presidio call the same thing.
//!
//! A [`Kind`] is a line of the table: one thing that can be found, under every name that somebody has for it. Where
//! sources cut the world differently, two lists below say what is one thing all the same: [`FAMILIES`] (either finding
//! finds the label) and [`TOLERATED`] (a finding there is not wrong, yet finds nothing). Names that nobody here knows
//! are reported, never dropped in silence.

use super::forms::Class;
use Class::{Context, Format};

/// One thing that can be found.
#[derive(Debug)]
pub(super) struct Kind {
    /// As the table shows it.
    pub(super) name: &'static str,
    /// Whether its form alone says what it is.
    pub(super) class: Class,
    /// As labelled. A `scope` with one of these names is complete for the kind.
    labels: &'static [&'static str],
    /// As `acp scan` reports it; empty if the gateway has no detector for it.
    acp: &'static [&'static str],
    /// As Presidio reports it.
    presidio: &'static [&'static str],
}

/// A [`Kind`], by its place in [`KINDS`]: tables come out in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct KindId(u16);

/// Who names a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `acp scan`.
    Acp,
    /// Presidio's entities.
    Presidio,
}

impl KindId {
    /// The line.
    pub(super) fn kind(self) -> &'static Kind {
        &KINDS[usize::from(self.0)]
    }

    /// Whether the engine has a detector for it, or for one of its family.
    pub(super) fn offered_by(self, dialect: Dialect) -> bool {
        KindId::all().any(|other| other.finds(self) && !other.kind().names(dialect).is_empty())
    }

    /// What a label names.
    pub(super) fn of_label(label: &str) -> Option<Self> {
        let narrower = NARROWER.iter().find(|(narrow, _)| *narrow == label);
        let label = narrower.map_or(label, |(_, kind)| kind);
        KindId::all().find(|id| id.kind().name == label || id.kind().labels.contains(&label))
    }

    /// What a `scope` is complete for, if it says `label`.
    pub(super) fn of_scope(label: &str) -> Option<Self> {
        NARROWER.iter().all(|(narrow, _)| *narrow != label).then(|| Self::of_label(label)).flatten()
    }

    /// What an engine's finding says.
    pub(super) fn of_finding(name: &str, dialect: Dialect) -> Option<Self> {
        KindId::all().find(|id| id.kind().names(dialect).contains(&name))
    }

    /// Whether a finding of this kind finds a label of `label`.
    pub(super) fn finds(self, label: KindId) -> bool {
        let (own, other) = (self.kind().name, label.kind().name);
        own == other || FAMILIES.iter().any(|family| family.contains(&own) && family[0] == other)
    }

    /// Whether a finding of this kind over a label of `label` is not wrong.
    pub(super) fn agrees_with(self, label: KindId) -> bool {
        let pair = (label.kind().name, self.kind().name);
        self.finds(label) || TOLERATED.contains(&pair)
    }

    fn all() -> impl Iterator<Item = Self> {
        (0..KINDS.len()).filter_map(|index| Some(Self(u16::try_from(index).ok()?)))
    }
}

impl Kind {
    fn names(&self, dialect: Dialect) -> &'static [&'static str] {
        match dialect {
            Dialect::Acp => self.acp,
            Dialect::Presidio => self.presidio,
        }
    }
}

/// The first is what a source calls any of the rest, not knowing or not saying which.
const FAMILIES: &[&[&str]] = &[
    &[
        "PASSPORT",
        "US_PASSPORT",
        "UK_PASSPORT",
        "IN_PASSPORT",
        "DE_PASSPORT",
        "ES_PASSPORT",
        "IT_PASSPORT",
        "KR_PASSPORT",
    ],
    &["DRIVER_LICENSE", "US_DRIVER_LICENSE", "UK_DRIVING_LICENCE", "IT_DRIVER_LICENSE", "KR_DRIVER_LICENSE"],
    &["TAX_ID", "US_EIN", "US_ITIN", "US_PROVIDER_TAX_ID", "DE_TAX_ID", "AU_TFN", "IN_PAN"],
    &["ZIP_CODE", "UK_POSTCODE", "CA_POSTAL_CODE", "DE_PLZ"],
];

/// Label and finding: the finding is part of what is labelled, or a special case of it.
const TOLERATED: &[(&str, &str)] = &[
    ("DATE_TIME", "DATE_OF_BIRTH"),
    ("ADDRESS", "LOCATION"),
    ("ADDRESS", "ZIP_CODE"),
    ("ADDRESS", "UK_POSTCODE"),
    ("ADDRESS", "CA_POSTAL_CODE"),
    ("LOCATION", "ADDRESS"),
    ("ZIP_CODE", "ADDRESS"),
    ("EMAIL", "URL"),
    ("IP_ADDRESS", "URL"),
    ("TAX_ID", "US_SSN"),
    ("US_PASSPORT", "PASSPORT"),
    ("UK_PASSPORT", "PASSPORT"),
    ("IN_PASSPORT", "PASSPORT"),
    ("DE_PASSPORT", "PASSPORT"),
    ("ES_PASSPORT", "PASSPORT"),
    ("IT_PASSPORT", "PASSPORT"),
    ("KR_PASSPORT", "PASSPORT"),
    // Made as a US number is, which no word says it is not.
    ("KR_PASSPORT", "US_PASSPORT"),
];

/// Labels for some of a kind: found by the kind's detector, but their `scope` is not complete for it.
const NARROWER: &[(&str, &str)] = &[
    ("PH_MOBILE_NUMBER", "PHONE"),
    ("TR_PHONE_NUMBER", "PHONE"),
    ("PASSWORD", "SECRET"),
    ("DOMAIN", "URL"),
    ("ORG", "ORGANIZATION"),
];

const fn kind(
    name: &'static str,
    class: Class,
    labels: &'static [&'static str],
    acp: &'static [&'static str],
    presidio: &'static [&'static str],
) -> Kind {
    Kind { name, class, labels, acp, presidio }
}

/// A kind that the gateway and Presidio call as the label does.
macro_rules! same {
    ($name:literal, $class:expr) => {
        kind($name, $class, &[], &[$name], &[$name])
    };
}

/// A kind that only Presidio has, under the label's name.
macro_rules! theirs {
    ($name:literal, $class:expr) => {
        kind($name, $class, &[], &[], &[$name])
    };
}

/// A kind that only the gateway has, under the label's name.
macro_rules! ours {
    ($name:literal, $class:expr) => {
        kind($name, $class, &[], &[$name], &[])
    };
}

/// Everything that somebody labels or finds.
const KINDS: &[Kind] = &[
    kind("EMAIL", Format, &[], &["EMAIL"], &["EMAIL_ADDRESS"]),
    kind("PHONE", Format, &[], &["PHONE"], &["PHONE_NUMBER", "ZA_MOBILE_NUMBER", "ZA_TELEPHONE_NUMBER"]),
    same!("CREDIT_CARD", Format),
    same!("US_SSN", Format),
    kind("IBAN", Format, &[], &["IBAN"], &["IBAN_CODE"]),
    same!("IP_ADDRESS", Format),
    same!("MAC_ADDRESS", Format),
    kind("CRYPTO_WALLET", Format, &[], &["CRYPTO_WALLET"], &["CRYPTO"]),
    ours!("SECRET", Format),
    kind("US_ABA_ROUTING", Format, &["ROUTING_NUMBER"], &["US_ABA_ROUTING"], &["ABA_ROUTING_NUMBER"]),
    same!("US_NPI", Format),
    same!("US_MBI", Format),
    kind("US_DEA", Format, &["MEDICAL_LICENSE"], &["US_DEA"], &["MEDICAL_LICENSE"]),
    same!("UK_NHS", Format),
    same!("CA_SIN", Format),
    same!("AU_TFN", Format),
    same!("AU_MEDICARE", Format),
    theirs!("AU_ABN", Format),
    theirs!("AU_ACN", Format),
    same!("IN_AADHAAR", Format),
    theirs!("IN_GSTIN", Format),
    kind("ES_NIF", Format, &["ES_DNI"], &["ES_NIF", "ES_DNI"], &["ES_NIF"]),
    same!("ES_NIE", Format),
    kind("IT_FISCAL_CODE", Format, &[], &["IT_FISCAL_CODE", "IT_CODICE_FISCALE"], &["IT_FISCAL_CODE"]),
    theirs!("IT_VAT_CODE", Format),
    ours!("FR_NIR", Format),
    same!("DE_TAX_ID", Format),
    theirs!("DE_TAX_NUMBER", Context),
    theirs!("DE_VAT_ID", Format),
    theirs!("DE_SOCIAL_SECURITY", Format),
    theirs!("DE_ID_CARD", Format),
    theirs!("DE_PASSPORT", Format),
    theirs!("DE_HEALTH_INSURANCE", Format),
    theirs!("DE_LANR", Format),
    theirs!("DE_BSNR", Context),
    ours!("BR_CPF", Format),
    ours!("BR_CNPJ", Format),
    same!("PL_PESEL", Format),
    same!("FI_PERSONAL_IDENTITY_CODE", Format),
    same!("SE_PERSONNUMMER", Format),
    theirs!("SE_ORGANISATIONSNUMMER", Format),
    same!("KR_RRN", Format),
    theirs!("KR_FRN", Format),
    theirs!("KR_BRN", Format),
    same!("SG_NRIC_FIN", Format),
    theirs!("SG_UEN", Format),
    same!("TH_TNIN", Format),
    same!("TR_NATIONAL_ID", Format),
    kind("ZA_ID_NUMBER", Format, &["ZA_IDNR"], &["ZA_ID_NUMBER"], &["ZA_ID_NUMBER"]),
    theirs!("NG_NIN", Format),
    same!("US_ITIN", Context),
    ours!("US_EIN", Context),
    kind("TAX_ID", Context, &["TAXID"], &[], &[]),
    kind("US_BANK_ACCOUNT", Context, &ACCOUNTS, &["US_BANK_ACCOUNT", "BANK_ACCOUNT"], &["US_BANK_NUMBER"]),
    ours!("SWIFT_BIC", Context),
    same!("US_PASSPORT", Context),
    same!("US_DRIVER_LICENSE", Context),
    kind("PASSPORT", Context, &["PASSPORT_NUM"], &["PASSPORT"], &["PH_PASSPORT", "ZA_PASSPORT"]),
    kind("DRIVER_LICENSE", Context, &["DRIVER_LICENSE_NUM", "LICENSE"], &[], &["ZA_DRIVER_LICENSE"]),
    theirs!("KR_PASSPORT", Context),
    theirs!("KR_DRIVER_LICENSE", Context),
    theirs!("UK_PASSPORT", Context),
    theirs!("UK_DRIVING_LICENCE", Format),
    same!("UK_NINO", Context),
    same!("IN_PAN", Context),
    theirs!("IN_PASSPORT", Context),
    theirs!("IN_VOTER", Context),
    theirs!("ES_PASSPORT", Context),
    theirs!("IT_PASSPORT", Context),
    theirs!("IT_DRIVER_LICENSE", Context),
    theirs!("IT_IDENTITY_CARD", Context),
    kind("MRN", Context, &["PATIENT_ID"], &["MRN"], &[]),
    ours!("ICD10", Context),
    kind(
        "US_HEALTH_INSURANCE_ID",
        Context,
        &["INSURANCE_ID"],
        &["US_HEALTH_INSURANCE_ID"],
        &["US_HEALTH_INSURANCE_MEMBER_ID"],
    ),
    ours!("DATE_OF_BIRTH", Context),
    kind("ADDRESS", Context, &[], &["ADDRESS"], &[]),
    theirs!("UK_POSTCODE", Context),
    theirs!("CA_POSTAL_CODE", Context),
    theirs!("DE_PLZ", Context),
    kind("ZIP_CODE", Context, &[], &[], &[]),
    theirs!("DE_KFZ", Context),
    theirs!("DE_HANDELSREGISTER", Context),
    theirs!("DE_FUEHRERSCHEIN", Context),
    theirs!("IN_VEHICLE_REGISTRATION", Context),
    theirs!("NG_VEHICLE_REGISTRATION", Context),
    theirs!("TR_LICENSE_PLATE", Context),
    theirs!("UK_VEHICLE_REGISTRATION", Context),
    theirs!("PH_TIN", Context),
    theirs!("PH_UMID", Context),
    theirs!("US_PROVIDER_TAX_ID", Context),
    theirs!("URL", Context),
    theirs!("UUID", Format),
    ours!("HIDDEN_TEXT", Context),
    // The gateway's rule list for names is off unless configured, and a scan without configuration does not run it.
    theirs!("PERSON", Context),
    theirs!("LOCATION", Context),
    theirs!("NRP", Context),
    theirs!("DATE_TIME", Context),
    kind("ORGANIZATION", Context, &[], &[], &[]),
    kind("AGE", Context, &[], &[], &[]),
    kind("TITLE", Context, &[], &[], &[]),
    kind("USER_ID", Context, &["USERID"], &[], &[]),
    kind("POLICE_ID", Context, &["POLICE_ID_NUM"], &[], &[]),
    kind("SYSTEM", Context, &[], &[], &[]),
    kind("EVENT", Context, &[], &[], &[]),
];

/// A bank account, as the corpora's sources call it.
const ACCOUNTS: [&str; 3] = ["ACCOUNT", "ACCOUNT_NUMBER", "BANK_ACCOUNT"];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn label(name: &str) -> KindId {
        KindId::of_label(name).expect(name)
    }

    #[test]
    fn no_name_means_two_kinds() {
        for names in [|kind: &Kind| kind.acp, |kind: &Kind| kind.presidio, |kind: &Kind| kind.labels] {
            let mut all: Vec<_> = KINDS.iter().flat_map(names).collect();
            all.sort_unstable();
            assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
        }
    }

    #[test]
    fn families_and_tolerances_name_kinds() {
        let names =
            FAMILIES.iter().copied().flatten().chain(TOLERATED.iter().flat_map(|(label, found)| [label, found]));
        for name in names.chain(NARROWER.iter().map(|(_, kind)| kind)) {
            assert_eq!(label(name).kind().name, *name);
        }
    }

    #[test]
    fn each_engine_has_its_own_name_for_an_address() {
        assert_eq!(KindId::of_finding("EMAIL_ADDRESS", Dialect::Presidio), KindId::of_label("EMAIL"));
        assert_eq!(KindId::of_finding("EMAIL", Dialect::Acp), KindId::of_label("EMAIL"));
        assert_eq!(KindId::of_finding("EMAIL_ADDRESS", Dialect::Acp), None);
    }

    #[test]
    fn any_country_s_passport_finds_a_passport_and_no_other_country_s() {
        assert!(label("UK_PASSPORT").finds(label("PASSPORT_NUM")));
        assert!(!label("UK_PASSPORT").finds(label("US_PASSPORT")));
        assert!(!label("PASSPORT").finds(label("US_PASSPORT")));
    }

    #[test]
    fn a_part_of_an_address_is_not_wrong_and_does_not_find_it() {
        assert!(label("ZIP_CODE").agrees_with(label("ADDRESS")));
        assert!(!label("ZIP_CODE").finds(label("ADDRESS")));
        assert!(!label("PERSON").agrees_with(label("ADDRESS")));
    }

    #[test]
    fn a_scope_of_some_phone_numbers_is_not_complete_for_phone_numbers() {
        assert_eq!(KindId::of_label("TR_PHONE_NUMBER"), KindId::of_label("PHONE"));
        assert_eq!(KindId::of_scope("TR_PHONE_NUMBER"), None);
        assert_eq!(KindId::of_scope("PHONE"), KindId::of_label("PHONE"));
    }

    #[test]
    fn an_engine_offers_what_one_of_the_family_finds() {
        assert!(label("PASSPORT").offered_by(Dialect::Acp));
        assert!(!label("UK_PASSPORT").offered_by(Dialect::Acp));
        assert!(!label("SECRET").offered_by(Dialect::Presidio));
    }
}
