//! Names for several detectors at once, in `safety.rule.detect`, and how grave each type is.

use super::Detector;

/// A kind of data that rules are written about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Everything but [`Group::Phrases`] and [`Group::Media`], which have to be asked for by name.
    All,
    /// Keys, tokens and passwords.
    Secrets,
    /// What identifies a person to a state.
    NationalIds,
    /// Cards, accounts and wallets.
    Financial,
    /// What identifies a patient, a diagnosis or who treats them.
    Health,
    /// How a person is reached, and when it was born.
    Contact,
    /// What identifies a device or a connection.
    Network,
    /// Names and phrases from lists: weak evidence, off unless named.
    Phrases,
    /// What the configuration itself describes.
    Custom,
    /// What no detector reads: flagged wherever anything is looked for.
    Media,
}

impl Group {
    /// Every group.
    pub const ALL: [Self; 10] = [
        Self::All,
        Self::Secrets,
        Self::NationalIds,
        Self::Financial,
        Self::Health,
        Self::Contact,
        Self::Network,
        Self::Phrases,
        Self::Custom,
        Self::Media,
    ];

    /// The name in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Secrets => "secrets",
            Self::NationalIds => "national_ids",
            Self::Financial => "financial",
            Self::Health => "health",
            Self::Contact => "contact",
            Self::Network => "network",
            Self::Phrases => "phrases",
            Self::Custom => "custom",
            Self::Media => "media",
        }
    }

    /// The group of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.name() == name)
    }

    /// The one group of a type.
    #[must_use]
    pub const fn of(detector: Detector) -> Self {
        match detector {
            Detector::UsSsn
            | Detector::UsItin
            | Detector::UsPassport
            | Detector::Passport
            | Detector::UsDriverLicense
            | Detector::UkNino
            | Detector::CaSin
            | Detector::AuTfn
            | Detector::InAadhaar
            | Detector::InPan
            | Detector::EsDni
            | Detector::EsNie
            | Detector::ItFiscalCode
            | Detector::FrNir
            | Detector::DeTaxId
            | Detector::BrCpf
            | Detector::PlPesel
            | Detector::FiPersonalIdentityCode
            | Detector::SePersonnummer
            | Detector::SgNricFin
            | Detector::KrRrn
            | Detector::ThTnin
            | Detector::TrNationalId
            | Detector::ZaIdNumber => Self::NationalIds,
            Detector::CreditCard
            | Detector::UsEin
            | Detector::UsAbaRouting
            | Detector::UsBankAccount
            | Detector::Iban
            | Detector::SwiftBic
            | Detector::BrCnpj
            | Detector::CryptoWallet => Self::Financial,
            Detector::UkNhs
            | Detector::AuMedicare
            | Detector::Mrn
            | Detector::Icd10
            | Detector::UsNpi
            | Detector::UsMbi
            | Detector::UsDea
            | Detector::UsHealthInsuranceId => Self::Health,
            Detector::Email | Detector::Phone | Detector::Address | Detector::DateOfBirth => Self::Contact,
            Detector::IpAddress | Detector::MacAddress => Self::Network,
            Detector::Person | Detector::PromptInjection | Detector::Jailbreak | Detector::HiddenText => Self::Phrases,
            Detector::Custom1
            | Detector::Custom2
            | Detector::Custom3
            | Detector::Custom4
            | Detector::Custom5
            | Detector::Custom6
            | Detector::Custom7
            | Detector::Custom8 => Self::Custom,
            Detector::UnscannableMedia => Self::Media,
            Detector::AwsKey
            | Detector::GcpKey
            | Detector::AzureKey
            | Detector::GithubToken
            | Detector::GitlabToken
            | Detector::SlackToken
            | Detector::StripeKey
            | Detector::OpenaiKey
            | Detector::AnthropicKey
            | Detector::PrivateKey
            | Detector::Jwt
            | Detector::ConnectionString
            | Detector::OtherToken
            | Detector::GenericSecret => Self::Secrets,
        }
    }

    /// Its types, in numeric order.
    pub fn detectors(self) -> impl Iterator<Item = Detector> {
        Detector::ALL.into_iter().filter(move |detector| match self {
            Self::All => !matches!(Self::of(*detector), Self::Phrases | Self::Media),
            group => Self::of(*detector) == group,
        })
    }
}

impl Detector {
    /// What a certain finding of this type adds to the risk score, 1..=100: what somebody can do with the value alone.
    ///
    /// A secret opens a door at once (100), a private key most of all; a number that stands for a person to a state or
    /// pays a bill is hard to change (90); health data cannot be changed (80); what an operator describes is worth
    /// describing (60); ways to reach somebody are on business
    /// cards (30); addresses of machines are in every log (15); what was not read may be nothing (1).
    #[must_use]
    pub const fn severity(self) -> u8 {
        match self {
            // What anybody may look up: who a company, a bank or a doctor is.
            Self::UsEin | Self::BrCnpj | Self::UsAbaRouting | Self::SwiftBic | Self::UsNpi | Self::UsDea => 30,
            // Means a diagnosis only beside a person.
            Self::Icd10 => 40,
            other => match Group::of(other) {
                Group::Secrets => 100,
                Group::NationalIds | Group::Financial => 90,
                Group::Health => 80,
                Group::Custom => 60,
                Group::Phrases => 40,
                Group::Contact => 30,
                Group::Network => 15,
                // It tells of nothing but that something was not read.
                Group::Media => 1,
                // No type's own group.
                Group::All => 0,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_one_group_and_a_severity() {
        for detector in Detector::ALL {
            let of: Vec<_> = Group::ALL.into_iter().filter(|group| group.detectors().any(|d| d == detector)).collect();
            let all = !matches!(Group::of(detector), Group::Phrases | Group::Media);
            assert_eq!(of.len(), 1 + usize::from(all), "{detector:?}");
            assert!((1..=100).contains(&detector.severity()), "{detector:?}");
        }
        for secret in Detector::SECRETS {
            assert_eq!(Group::of(*secret), Group::Secrets);
        }
        let named = |group: Group| Detector::ALL.iter().any(|detector| detector.name() == group.name());
        assert!(!Group::ALL.into_iter().any(named), "a type and a group are never called the same");
    }
}
