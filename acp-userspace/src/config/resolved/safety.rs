//! Content rules: what is looked for, and what happens to it.

use std::path::PathBuf;
use std::sync::Arc;

use regex::bytes::Regex;

use super::{Mode, Secret};
use crate::safety::validators::Validator;

/// `[safety]`.
#[derive(Debug, Default)]
pub struct SafetyConfig {
    /// Rules in file order; of several that match a finding the strictest acts ([`ContentAction`] says the order).
    pub rules: Vec<SafetyRule>,
    /// Risk score from which on content is refused, 1..=100; `None` = it is recorded only.
    pub block_score: Option<u8>,
    /// Whether `block_score` refuses, or records what it would have refused.
    pub score_mode: Mode,
    /// Forms of the operator's own.
    pub detectors: Vec<CustomDetector>,
    /// What tokens are made with; no key, no tokens.
    pub tokens: TokensConfig,
    /// Who may have values back.
    pub detokenize: Vec<DetokenizeRule>,
}

/// One `[[safety.detector]]`: a form of a custom type.
#[derive(Debug, Clone)]
pub struct CustomDetector {
    /// One of [`Detector::CUSTOM`].
    pub detector: Detector,
    /// The form; its matches are bounded in length, and UTF-8.
    pub regex: Regex,
    /// Words, in lower case, one of which has to stand before it or name its member; none = it needs no word.
    pub context: Vec<String>,
    /// What a match has to pass.
    pub validator: Option<Validator>,
    /// How sure a match is, percent.
    pub confidence: u8,
}

/// `[safety.tokens]`.
#[derive(Debug, Default)]
pub struct TokensConfig {
    /// Master keys: the first makes tokens, all turn them back.
    pub keys: Vec<TokenKey>,
    /// Distinct values of one subject in an hour (default 1 000; THREATS A26).
    pub values_per_hour: u32,
}

/// One `[[safety.tokens.key]]`.
#[derive(Debug, Clone)]
pub struct TokenKey {
    /// Its id in tokens.
    pub id: Arc<str>,
    /// 32 bytes.
    pub secret: Secret,
    /// The file they came from.
    pub file: PathBuf,
}

/// One `[[safety.detokenize]]`: to whom (a subject named here or in one of the roles), of what, for which tool, where.
#[derive(Debug, Clone)]
pub struct DetokenizeRule {
    /// Stable id (default `safety.detokenize.N`).
    pub id: Arc<str>,
    /// Types.
    pub detect: Vec<Detector>,
    /// Tool ids.
    pub tools: Vec<String>,
    /// JSON pointers below the arguments; a segment `*` is any one.
    pub pointers: Vec<String>,
    /// Roles.
    pub roles: Vec<String>,
    /// Subjects.
    pub subjects: Vec<String>,
    /// Tenants it is limited to; empty = all.
    pub tenants: Vec<String>,
}

/// One `[[safety.rule]]`.
#[derive(Debug, Clone)]
pub struct SafetyRule {
    /// Stable id, for records (default `safety.rule.N`).
    pub id: Arc<str>,
    /// What it looks for.
    pub detect: Vec<Detector>,
    /// What happens.
    pub action: ContentAction,
    /// Least confidence of a finding it acts on, percent.
    pub min_confidence: u8,
    /// Which way.
    pub direction: Direction,
    /// Names of the routes it is limited to; empty = all. A limit to upstreams is one to the routes that lead there.
    pub routes: Vec<String>,
    /// Tool ids it is limited to; empty = all, and what calls no tool.
    pub tools: Vec<String>,
    /// Tenants it is limited to, as tokens claim them; empty = all.
    pub tenants: Vec<String>,
    /// Enforce or observe.
    pub mode: Mode,
}

impl SafetyRule {
    /// An enforced rule for everything, whatever the confidence, both ways, everywhere.
    #[must_use]
    pub fn new(id: &str, detect: &[Detector], action: ContentAction) -> Self {
        Self {
            id: id.into(),
            detect: detect.to_vec(),
            action,
            min_confidence: 0,
            direction: Direction::Both,
            routes: Vec::new(),
            tools: Vec::new(),
            tenants: Vec::new(),
            mode: Mode::Enforce,
        }
    }
}

/// Declares [`Detector`]: what each is, its number, its name in configuration and records, its label in reports.
macro_rules! detectors {
    ($($(#[$meaning:meta])+ $detector:ident = $number:literal, $name:literal, $label:literal;)+) => {
        /// What can be detected.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u8)]
        pub enum Detector {
            $($(#[$meaning])+ $detector = $number,)+
        }

        impl Detector {
            /// Every detector, in numeric order.
            pub const ALL: [Self; [$($number),+].len()] = [$(Self::$detector),+];

            /// The type in reports and placeholders, as corpora and other scanners name it: all secrets are `SECRET`.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$detector => $label,)+
                }
            }

            /// What stands in the place of a value that was redacted.
            #[must_use]
            pub const fn placeholder(self) -> &'static str {
                match self {
                    $(Self::$detector => concat!("[REDACTED:", $label, "]"),)+
                }
            }

            /// The name in configuration and records.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$detector => $name,)+
                }
            }
        }
    };
}

detectors! {
    /// US social security number.
    UsSsn = 0, "us_ssn", "US_SSN";
    /// E-mail address.
    Email = 1, "email", "EMAIL";
    /// Payment card number (ISO/IEC 7812, Luhn).
    CreditCard = 2, "credit_card", "CREDIT_CARD";
    /// Telephone number.
    Phone = 3, "phone", "PHONE";
    /// Amazon Web Services key (access key id, secret access key, session token).
    AwsKey = 4, "aws_key", "SECRET";
    /// Google Cloud key, OAuth secret or token.
    GcpKey = 5, "gcp_key", "SECRET";
    /// Microsoft Azure key, client secret or shared access signature.
    AzureKey = 6, "azure_key", "SECRET";
    /// GitHub token.
    GithubToken = 7, "github_token", "SECRET";
    /// GitLab token.
    GitlabToken = 8, "gitlab_token", "SECRET";
    /// Slack token or incoming webhook.
    SlackToken = 9, "slack_token", "SECRET";
    /// Stripe secret key, restricted key or webhook secret.
    StripeKey = 10, "stripe_key", "SECRET";
    /// `OpenAI` key.
    OpenaiKey = 11, "openai_key", "SECRET";
    /// Anthropic key.
    AnthropicKey = 12, "anthropic_key", "SECRET";
    /// Private key in PEM or age form.
    PrivateKey = 13, "private_key", "SECRET";
    /// JSON Web Token (RFC 7519).
    Jwt = 14, "jwt", "SECRET";
    /// Password in a URL, a header or a driver's settings.
    ConnectionString = 15, "connection_string", "SECRET";
    /// Token of another provider, known by its form.
    OtherToken = 16, "other_token", "SECRET";
    /// Value of high entropy under a secret's name.
    GenericSecret = 17, "generic_secret", "SECRET";
    /// US individual taxpayer identification number.
    UsItin = 18, "us_itin", "US_ITIN";
    /// US employer identification number.
    UsEin = 19, "us_ein", "US_EIN";
    /// US bank routing number (ABA).
    UsAbaRouting = 20, "us_aba_routing", "US_ABA_ROUTING";
    /// Bank account number, by a word beside it.
    UsBankAccount = 21, "us_bank_account", "US_BANK_ACCOUNT";
    /// US passport number, by a word beside it.
    UsPassport = 22, "us_passport", "US_PASSPORT";
    /// US driver's licence number, by a word beside it.
    UsDriverLicense = 23, "us_driver_license", "US_DRIVER_LICENSE";
    /// International bank account number (ISO 13616).
    Iban = 24, "iban", "IBAN";
    /// Business identifier code of a bank (ISO 9362), by a word beside it.
    SwiftBic = 25, "swift_bic", "SWIFT_BIC";
    /// UK NHS number.
    UkNhs = 26, "uk_nhs", "UK_NHS";
    /// UK national insurance number.
    UkNino = 27, "uk_nino", "UK_NINO";
    /// Canadian social insurance number.
    CaSin = 28, "ca_sin", "CA_SIN";
    /// Australian tax file number.
    AuTfn = 29, "au_tfn", "AU_TFN";
    /// Australian Medicare number.
    AuMedicare = 30, "au_medicare", "AU_MEDICARE";
    /// Indian Aadhaar number.
    InAadhaar = 31, "in_aadhaar", "IN_AADHAAR";
    /// Indian permanent account number.
    InPan = 32, "in_pan", "IN_PAN";
    /// Spanish DNI.
    EsDni = 33, "es_dni", "ES_DNI";
    /// Spanish NIE.
    EsNie = 34, "es_nie", "ES_NIE";
    /// Italian codice fiscale.
    ItFiscalCode = 35, "it_fiscal_code", "IT_FISCAL_CODE";
    /// French NIR (social security number).
    FrNir = 36, "fr_nir", "FR_NIR";
    /// German tax id (Steuer-IdNr.).
    DeTaxId = 37, "de_tax_id", "DE_TAX_ID";
    /// Brazilian CPF.
    BrCpf = 38, "br_cpf", "BR_CPF";
    /// Brazilian CNPJ.
    BrCnpj = 39, "br_cnpj", "BR_CNPJ";
    /// Polish PESEL.
    PlPesel = 40, "pl_pesel", "PL_PESEL";
    /// IP address, version 4 or 6.
    IpAddress = 41, "ip_address", "IP_ADDRESS";
    /// MAC address.
    MacAddress = 42, "mac_address", "MAC_ADDRESS";
    /// Address of a cryptocurrency wallet.
    CryptoWallet = 43, "crypto_wallet", "CRYPTO_WALLET";
    /// Date of birth, by a word beside it.
    DateOfBirth = 44, "date_of_birth", "DATE_OF_BIRTH";
    /// Medical record number, by a word beside it.
    Mrn = 45, "mrn", "MRN";
    /// ICD-10 diagnosis code, by a word beside it.
    Icd10 = 46, "icd10", "ICD10";
    /// US national provider identifier.
    UsNpi = 47, "us_npi", "US_NPI";
    /// US Medicare beneficiary identifier.
    UsMbi = 48, "us_mbi", "US_MBI";
    /// US DEA registration number.
    UsDea = 49, "us_dea", "US_DEA";
    /// Postal address.
    Address = 50, "address", "ADDRESS";
    /// US health insurance member number, by a word beside it.
    UsHealthInsuranceId = 51, "us_health_insurance_id", "US_HEALTH_INSURANCE_ID";
    /// Finnish personal identity code.
    FiPersonalIdentityCode = 52, "fi_personal_identity_code", "FI_PERSONAL_IDENTITY_CODE";
    /// Swedish personal identity number.
    SePersonnummer = 53, "se_personnummer", "SE_PERSONNUMMER";
    /// Singaporean NRIC or FIN.
    SgNricFin = 54, "sg_nric_fin", "SG_NRIC_FIN";
    /// South Korean resident registration number.
    KrRrn = 55, "kr_rrn", "KR_RRN";
    /// Thai national identity number.
    ThTnin = 56, "th_tnin", "TH_TNIN";
    /// Turkish identity number.
    TrNationalId = 57, "tr_national_id", "TR_NATIONAL_ID";
    /// South African identity number.
    ZaIdNumber = 58, "za_id_number", "ZA_ID_NUMBER";
    /// Name of a person, from a list; weak.
    Person = 59, "person", "PERSON";
    /// Phrase that tries to override instructions, from a list; weak.
    PromptInjection = 60, "prompt_injection", "PROMPT_INJECTION";
    /// Phrase that tries to lift a model's restrictions, from a list; weak.
    Jailbreak = 61, "jailbreak", "JAILBREAK";
    /// Passport number of a country other than the US, or of one that is not told, by a word beside it.
    Passport = 62, "passport", "PASSPORT";
    /// Text that nobody sees: a run of tag characters or variation selectors.
    HiddenText = 63, "hidden_text", "HIDDEN_TEXT";
    /// Of the operator's own making ([`CustomDetector`]).
    Custom1 = 64, "custom1", "CUSTOM1";
    /// The same.
    Custom2 = 65, "custom2", "CUSTOM2";
    /// The same.
    Custom3 = 66, "custom3", "CUSTOM3";
    /// The same.
    Custom4 = 67, "custom4", "CUSTOM4";
    /// The same.
    Custom5 = 68, "custom5", "CUSTOM5";
    /// The same.
    Custom6 = 69, "custom6", "CUSTOM6";
    /// The same.
    Custom7 = 70, "custom7", "CUSTOM7";
    /// The same.
    Custom8 = 71, "custom8", "CUSTOM8";
    /// A file in base64 that no detector reads: a picture, sound, a document, an archive.
    UnscannableMedia = 72, "unscannable_media", "UNSCANNABLE_MEDIA";
}

impl Detector {
    /// Those whose form the configuration says, in numeric order.
    pub const CUSTOM: &[Self] = Self::ALL.split_at(Self::Custom8 as usize + 1).0.split_at(Self::Custom1 as usize).1;

    /// Those that lists of phrases find: weak evidence, off unless a rule names them or their group.
    pub const WEAK: &[Self] = &[Self::Person, Self::PromptInjection, Self::Jailbreak];

    /// Those that open something, in numeric order.
    pub const SECRETS: &[Self] = Self::ALL.split_at(Self::UsItin as usize).0.split_at(Self::AwsKey as usize).1;
}

/// What becomes of a finding, in rising strictness.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentAction {
    /// No rule's: a token was turned back into its value, as a permit allows.
    Detokenize,
    /// Record only.
    Flag,
    /// Keep the last four characters, star the rest.
    Mask,
    /// Replace by a value of the same form, for good; what has too few forms is redacted.
    Pseudonymize,
    /// Replace by a token that this gateway can turn back.
    Tokenize,
    /// Replace by `[REDACTED:<TYPE>]`.
    Redact,
    /// Refuse the request, or withhold the answer.
    Block,
}

impl ContentAction {
    /// Every action, in rising strictness.
    pub const ALL: [Self; 7] =
        [Self::Detokenize, Self::Flag, Self::Mask, Self::Pseudonymize, Self::Tokenize, Self::Redact, Self::Block];

    /// The name in configuration and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Detokenize => "detokenize",
            Self::Flag => "flag",
            Self::Mask => "mask",
            Self::Pseudonymize => "pseudonymize",
            Self::Tokenize => "tokenize",
            Self::Redact => "redact",
            Self::Block => "block",
        }
    }
}

/// Which way content flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Client to upstream.
    Request,
    /// Upstream to client.
    Response,
    /// Both ways.
    #[default]
    Both,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_labels_agree() {
        for (number, detector) in Detector::ALL.into_iter().enumerate() {
            assert_eq!(detector as usize, number);
            assert_eq!(serde_json::to_value(detector).expect("a name"), detector.name());
            let label = if Detector::SECRETS.contains(&detector) { "SECRET" } else { &detector.name().to_uppercase() };
            assert_eq!(detector.label(), label);
        }
        assert_eq!(Detector::SECRETS.first(), Some(&Detector::AwsKey));
        assert_eq!(Detector::SECRETS.last(), Some(&Detector::GenericSecret));
    }
}
