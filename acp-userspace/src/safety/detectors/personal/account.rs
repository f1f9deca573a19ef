//! Bank accounts: behind "bank account", "checking account", "account number", "acct" and the like.
//!
//! An account number of a bank in the US has up to seventeen digits (NACHA operating rules, appendix three, field DFI
//! account number); in India a bank's letters may stand before them. Accounts are of anything, so "account" alone does
//! not make a number one, and what is made like a telephone number is left. Accounts of clouds and software count
//! against it.

use super::identifier::Identifier;
use super::place::Place;
use super::{Kind, Report};

const KEYWORDS: &[&str] = &["account", "accounts", "acct", "acc"];
/// What makes it a bank's, before the keyword.
const BANKS: &[&str] = &[
    "bank",
    "checking",
    "chequing",
    "savings",
    "saving",
    "deposit",
    "debit",
    "current",
    "beneficiary",
    "payee",
    "routing number and",
    "brokerage",
    "wire to",
    "direct deposit",
];
/// What does so behind it.
const DETAILS: &[&str] = &[
    "account number",
    "account no",
    "account num",
    "account nr",
    "account #",
    "account details",
    "account id",
    "acct",
    "account numbers",
    "acc",
];
/// Accounts of other things.
const OTHERS: &[&str] = &[
    "aws",
    "user",
    "twitter",
    "instagram",
    "facebook",
    "github",
    "gcp",
    "azure",
    "cloud",
    "email",
    "service",
    "google",
    "storage",
    "mastodon",
    "discord",
    "telegram",
    "customer",
    "steam",
    "ledger",
    "gl",
];
const BANK: u8 = 85;
const NUMBER: u8 = 70;

pub(super) fn find(place: &Place<'_>, report: &mut Report<'_>) {
    let Some(account) = place.keyword(KEYWORDS) else { return };
    let bank = place.is_behind(BANKS);
    let number = place.keyword(DETAILS);
    if !bank && (number.is_none() || place.is_behind(OTHERS)) {
        return;
    }
    place.values(account, 0, |at, way| {
        let number = Identifier::read(place.text, at).filter(is_account)?;
        let end = number.range.end;
        report(Kind::UsBankAccount, number.range, way.confidence(if bank { BANK } else { NUMBER }));
        Some(end)
    });
}

fn is_account(number: &Identifier) -> bool {
    let plain = number.letters == 0 && (6..=17).contains(&number.digits) && !number.is_other_number();
    // A bank's letters, or a check letter.
    let affixed = number.has_affix(4) && (8..=17).contains(&number.digits);
    (plain || affixed) && number.groups[0] > 1
}
