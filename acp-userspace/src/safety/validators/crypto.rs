//! Addresses of cryptocurrencies: cheap tests of shape first, then the checksum of their encoding.

use aws_lc_rs::digest::{SHA256, digest};
use sha3::{Digest, Keccak256};

/// The longest address: a bech32 one by BIP 173.
const ADDRESS_MAX: usize = 90;

/// Address of any of the kinds below.
pub fn wallet(value: &str) -> bool {
    bitcoin(value) || ethereum(value)
}

/// Bitcoin address: base58check (P2PKH, P2SH) or bech32 and bech32m (segregated witness), main or test network.
pub fn bitcoin(value: &str) -> bool {
    segwit(value) || base58check(value)
}

/// Base58check of 20 bytes behind one of version 0x00, 0x05, 0x6f or 0xc4.
/// Source: Bitcoin Core `base58.h`, `chainparams.cpp`.
pub fn base58check(value: &str) -> bool {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    if !(25..=35).contains(&value.len()) || !matches!(value.as_bytes()[0], b'1' | b'2' | b'3' | b'm' | b'n') {
        return false;
    }
    // 35 characters hold less than 26 bytes.
    let mut bytes = [0_u8; 26];
    for character in value.bytes() {
        let Some(digit) = ALPHABET.iter().position(|known| *known == character) else { return false };
        let carry = bytes.iter_mut().rev().fold(digit as u32, |carry, byte| {
            let sum = u32::from(*byte) * 58 + carry;
            *byte = sum as u8;
            sum >> 8
        });
        if carry != 0 {
            return false;
        }
    }
    let [0, payload @ ..] = &bytes else { return false };
    let (body, check) = payload.split_at(21);
    // Each zero byte in front is written as a `1`, and nothing else is.
    let zeros = body.iter().take_while(|byte| **byte == 0).count();
    let ones = value.bytes().take_while(|byte| *byte == b'1').count();
    matches!(body[0], 0x00 | 0x05 | 0x6f | 0xc4)
        && zeros == ones
        && digest(&SHA256, digest(&SHA256, body).as_ref()).as_ref().starts_with(check)
}

/// Bech32 of witness version 0 and bech32m of later ones. Source: BIP 173, BIP 350, BIP 141 (lengths of programs).
pub fn segwit(value: &str) -> bool {
    const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const BECH32: u32 = 1;
    const BECH32M: u32 = 0x2bc8_30a3;
    let bytes = value.as_bytes();
    let mixed = bytes.iter().any(u8::is_ascii_lowercase) && bytes.iter().any(u8::is_ascii_uppercase);
    if bytes.len() > ADDRESS_MAX || !bytes.is_ascii() || mixed {
        return false;
    }
    let Some((prefix, data)) = value.rsplit_once('1') else { return false };
    let known = ["bc", "tb", "bcrt"].iter().any(|known| known.eq_ignore_ascii_case(prefix));
    if !known || data.len() < 8 {
        return false;
    }
    let prefix = || prefix.bytes().map(|byte| u32::from(byte.to_ascii_lowercase()));
    let expanded = prefix().map(|byte| byte >> 5).chain([0]).chain(prefix().map(|byte| byte & 31));
    let mut sum = expanded.fold(1, polymod);
    let mut version = None;
    for byte in data.bytes() {
        let Some(value) = ALPHABET.iter().position(|known| *known == byte.to_ascii_lowercase()) else { return false };
        version.get_or_insert(value);
        sum = polymod(sum, value as u32);
    }
    // The version, and six characters of checksum; five bits in each of the rest.
    let bits = (data.len() - 7) * 5;
    let program = bits / 8;
    match version {
        Some(0) => sum == BECH32 && bits % 8 < 5 && matches!(program, 20 | 32),
        Some(1..=16) => sum == BECH32M && bits % 8 < 5 && (2..=40).contains(&program),
        _ => false,
    }
}

/// One step of the checksum of BIP 173.
fn polymod(sum: u32, value: u32) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let top = sum >> 25;
    let mixed =
        GENERATOR.iter().enumerate().filter(|(bit, _)| top >> bit & 1 == 1).fold(0, |mixed, (_, word)| mixed ^ word);
    (sum & 0x01ff_ffff) << 5 ^ value ^ mixed
}

/// Ethereum address: `0x` and forty hexadecimal digits; letters of one case only carry no checksum, those of both that
/// of EIP-55.
pub fn ethereum(value: &str) -> bool {
    let Some(digits) = value.strip_prefix("0x").and_then(|digits| <&[u8; 40]>::try_from(digits.as_bytes()).ok()) else {
        return false;
    };
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return false;
    }
    let one_case = !digits.iter().any(u8::is_ascii_lowercase) || !digits.iter().any(u8::is_ascii_uppercase);
    one_case || {
        let hash = Keccak256::digest(digits.map(|digit| digit.to_ascii_lowercase()));
        let nibbles = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let cased = |(digit, nibble): (&u8, u8)| digit.is_ascii_digit() || digit.is_ascii_uppercase() == (nibble >= 8);
        digits.iter().zip(nibbles).all(cased)
    }
}

/// What is known by name.
pub(super) const KINDS: super::Kinds =
    &[("BITCOIN_ADDRESS", bitcoin), ("CRYPTO_WALLET", wallet), ("ETHEREUM_ADDRESS", ethereum)];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(holds: fn(&str) -> bool, right: &[&str], wrong: &[&str]) {
        for value in right {
            assert!(holds(value), "{value}");
        }
        for value in wrong {
            assert!(!holds(value), "{value}");
        }
    }

    #[test]
    fn base58_addresses_have_a_version_and_a_checksum() {
        check(
            base58check,
            &[
                "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ",
                "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
                "1111111111111111111114oLvT2",
            ],
            &[
                "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyY",
                "116Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ",
                "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1Bo0Z",
                "111111111111111111114oLvT2",
                "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
                "3zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
                "",
            ],
        );
    }

    #[test]
    fn segwit_addresses_are_those_of_the_proposals() {
        check(
            segwit,
            &[
                "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
                "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
                "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
                "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
                "BC1SW50QGDZ25J",
            ],
            &[
                "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
                "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
                "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdQ",
                "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdp",
                "tc1qw508d6qejxtdg4y5r3zarvary0c5xw7kg3g4ty",
                "bc1gmk9yu",
                "1",
            ],
        );
    }

    #[test]
    fn ethereum_addresses_of_both_cases_carry_the_checksum() {
        check(
            ethereum,
            &[
                "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
                "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
                "0x52908400098527886E0F7030069857D2E4169EE7",
                "0xde709f2102306220921060314715629080e2fb77",
            ],
            &[
                "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
                "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
                "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe",
                "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg",
            ],
        );
    }
}
