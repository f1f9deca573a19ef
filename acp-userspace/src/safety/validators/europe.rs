//! VAT numbers of any country, and the schemes of the European Union.

use super::countries::begins_with_country;
use super::text::{compact, exactly, is_shaped, number};
use super::{
    Validator, alpine, central_europe, eastern_europe, france_benelux, germany, iberia, italy_greece, latin_america,
    nordic_baltic, uk_ireland,
};

/// Validators of the Union's VAT numbers by prefix. Source: Directive 2006/112/EC, art. 215; VIES FAQ.
const UNION: [(&str, Validator); 28] = [
    ("AT", alpine::at_vat),
    ("BE", france_benelux::be_vat),
    ("BG", eastern_europe::bg_vat),
    ("CY", italy_greece::cy_vat),
    ("CZ", central_europe::cz_vat),
    ("DE", germany::vat),
    ("DK", nordic_baltic::dk_cvr),
    ("EE", nordic_baltic::ee_vat),
    ("EL", italy_greece::gr_vat),
    ("ES", iberia::es_vat),
    ("FI", nordic_baltic::fi_company),
    ("FR", france_benelux::fr_vat),
    ("HR", central_europe::hr_oib),
    ("HU", central_europe::hu_vat),
    ("IE", uk_ireland::ie_vat),
    ("IT", italy_greece::it_vat),
    ("LT", nordic_baltic::lt_vat),
    ("LU", france_benelux::lu_vat),
    ("LV", nordic_baltic::lv_vat),
    ("MT", italy_greece::mt_vat),
    ("NL", france_benelux::nl_vat),
    ("PL", central_europe::pl_nip),
    ("PT", iberia::pt_nif),
    ("RO", central_europe::ro_cui),
    ("SE", nordic_baltic::se_vat),
    ("SI", central_europe::si_vat),
    ("SK", central_europe::sk_vat),
    ("XI", uk_ireland::gb_vat),
];

/// Others that write a country before the number.
const OTHERS: [(&str, Validator); 3] =
    [("BR", latin_america::br_cnpj), ("CH", alpine::ch_vat), ("GB", uk_ireland::gb_vat)];

/// What stands behind the prefix that `kinds` knows, and its validator. A prefix may be in either case.
fn by_prefix<'v>(value: &'v str, kinds: &[(&str, Validator)]) -> Option<(Validator, &'v str)> {
    let value = value.trim();
    let (prefix, rest) = value.split_at_checked(2)?;
    let (_, validator) = kinds.iter().find(|(known, _)| known.eq_ignore_ascii_case(prefix))?;
    Some((*validator, rest))
}

/// VAT number of a member of the Union, behind its prefix.
pub fn eu_vat(value: &str) -> bool {
    by_prefix(value, &UNION).is_some_and(|(holds, rest)| holds(rest.trim_start_matches([' ', '-', '.'])))
}

/// VAT number of any country that this library knows, behind its prefix.
pub fn vat(value: &str) -> bool {
    let other = by_prefix(value, &OTHERS)
        .is_some_and(|(holds, rest)| holds(if value.starts_with("CH") { value } else { rest }));
    eu_vat(value) || other
}

/// One-stop shop: `EU`, three digits of a member's number in ISO 3166-1, and six; imports: `IM`, three and seven.
/// The last digit is a check digit whose rule is not published.
/// Source: European Commission, *Guide to the VAT One Stop Shop*, part 1.
pub fn eu_oss(value: &str) -> bool {
    /// Austria to Sweden.
    const MEMBERS: [u64; 27] = [
        40, 56, 100, 191, 196, 203, 208, 233, 246, 250, 276, 300, 348, 372, 380, 428, 440, 442, 470, 528, 616, 620,
        642, 703, 705, 724, 752,
    ];
    compact(value, b" -").is_some_and(|text| {
        let shaped = is_shaped(&text, "eu000000000") || is_shaped(&text, "im0000000000");
        let member = text.get(2..5).and_then(exactly::<3>).is_some_and(|digits| MEMBERS.contains(&number(&digits)));
        shaped && (member || text.starts_with(b"EU9"))
    })
}

/// Excise number (SEED): country and eleven letters and digits. Source: Regulation (EU) 389/2012, Council Decision 2020/263.
pub fn eu_excise(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| is_shaped(&text, "AAXXXXXXXXXXX") && begins_with_country(&text))
}

/// What is known by name.
pub(super) const KINDS: super::Kinds =
    &[("EU_EXCISE", eu_excise), ("EU_OSS", eu_oss), ("EU_VAT", eu_vat), ("VATIN", vat)];
