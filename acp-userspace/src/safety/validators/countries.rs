//! Country codes that identifiers of many kinds begin with.

/// ISO 3166-1 alpha-2, and `XK`, which banks and tax offices use for Kosovo.
const COUNTRIES: &[u8] = b"ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCN\
COCRCUCVCWCXCYCZDEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISITJE\
JMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZNANCNENFNGNINLNONPNRNUNZOMPAPE\
PFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZTCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVC\
VEVGVIVNVUWFWSXKYEYTZAZMZW";

/// Whether `text` begins with the code of a country.
pub(super) fn begins_with_country(text: &[u8]) -> bool {
    let Some(code) = text.first_chunk::<2>() else { return false };
    COUNTRIES.as_chunks::<2>().0.binary_search(code).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_in_order_and_found() {
        assert!(COUNTRIES.as_chunks::<2>().0.is_sorted() && COUNTRIES.len() == 2 * 250);
        for (text, expected) in [("AD", true), ("ZW1", true), ("XK", true), ("ZZ", false), ("D", false), ("", false)] {
            assert_eq!(begins_with_country(text.as_bytes()), expected, "{text}");
        }
    }
}
