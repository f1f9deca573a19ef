//! Whether a text is an identifier of some kind: pure functions that read the whole of it and answer yes or no.
//!
//! What can be checked without a register is: length, alphabet, structure, dates, check digits. A `true` says that the
//! text may be such an identifier, not that it was ever issued. The separators people write an identifier with are read;
//! text around it is not, that is for whoever finds it. Each function names the source of its rule.
//!
//! Invariants: nothing is allocated, no input panics, no clock is read (see `text::is_birthday`), and a text longer than
//! any identifier is refused before it is read. All functions are linear in their input.
//!
//! The rules are grouped by what they identify, and then by region; `checksums` has the arithmetic they share. The names
//! under which [`by_name`] knows them are the country (or none), then what the identifier is called there.

pub mod africa_middle_east;
pub mod alpine;
pub mod central_europe;
pub mod checksums;
mod countries;
pub mod crypto;
pub mod east_asia;
pub mod eastern_europe;
pub mod europe;
pub mod finance;
pub mod france_benelux;
pub mod germany;
pub mod health;
pub mod iban;
pub mod iberia;
pub mod industry;
pub mod italy_greece;
pub mod latin_america;
pub mod nordic_baltic;
pub mod north_america;
pub mod publishing;
pub mod south_asia_oceania;
pub(super) mod text;
pub mod uk_ireland;

/// Whether the whole of `value` (with the separators people write it with) is a valid identifier of one kind.
pub type Validator = fn(value: &str) -> bool;

/// Validators by name.
type Kinds = &'static [(&'static str, Validator)];

/// What every module knows.
const MODULES: [Kinds; 21] = [
    africa_middle_east::KINDS,
    alpine::KINDS,
    central_europe::KINDS,
    checksums::KINDS,
    crypto::KINDS,
    east_asia::KINDS,
    eastern_europe::KINDS,
    europe::KINDS,
    finance::KINDS,
    france_benelux::KINDS,
    germany::KINDS,
    health::KINDS,
    iberia::KINDS,
    industry::KINDS,
    italy_greece::KINDS,
    latin_america::KINDS,
    nordic_baltic::KINDS,
    north_america::KINDS,
    publishing::KINDS,
    south_asia_oceania::KINDS,
    uk_ireland::KINDS,
];

/// The validator of this name: `US_SSN`, `IBAN`, `PL_PESEL`. For configuration, not for the request path: names are
/// searched one after another.
#[must_use]
pub fn by_name(name: &str) -> Option<Validator> {
    kinds().find_map(|(known, validator)| (known == name).then_some(validator))
}

/// All names that [`by_name`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    kinds().map(|(name, _)| name)
}

fn kinds() -> impl Iterator<Item = (&'static str, Validator)> {
    MODULES.into_iter().flatten().copied()
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod tests;
