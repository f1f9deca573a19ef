//! Mexico, Central and South America, and the Caribbean.

use super::checksums::{complement, luhn, rising, weighted};
use super::text::{
    all_digits, base36, compact, digits, exactly, is_birthday, is_shaped, is_short_birthday, is_uniform, number,
    padded, two, without,
};

/// Argentine bank account: bank and account, each modulo 10 with weights 7, 1, 3, 9. Source: BCRA, Comunicación A 2622.
pub fn ar_cbu(value: &str) -> bool {
    digits::<22>(value, b" -").is_some_and(|digits| {
        let bank = weighted(&digits, &[7, 1, 3, 9, 7, 1, 3]);
        let account = weighted(&digits[8..], &[3, 9, 7, 1, 3, 9, 7, 1, 3, 9, 7, 1, 3]);
        complement(bank, 10) == u32::from(digits[7]) && complement(account, 10) == u32::from(digits[21])
    })
}

/// Argentine taxpayer: kind, number, weights 5 4 3 2 7 6 5 4 3 2 modulo 11. Source: AFIP, Resolución General 10/1997.
pub fn ar_cuit(value: &str) -> bool {
    digits::<11>(value, b" -").is_some_and(|digits| {
        let check = complement(weighted(&digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]), 11);
        let kind = matches!(two(&digits, 0), 20 | 23..=27 | 30 | 33 | 34 | 50 | 51 | 55);
        kind && u32::from(digits[10]) == check.min(9)
    })
}

/// Argentine identity document: seven or eight digits. It has no checksum. Source: Ley 17.671.
pub fn ar_dni(value: &str) -> bool {
    compact(value, b" .").is_some_and(|text| padded::<8>(&text, 7).is_some())
}

/// Brazilian person: two check digits modulo 11. Source: Receita Federal, Instrução Normativa 1548/2015.
pub fn br_cpf(value: &str) -> bool {
    digits::<11>(value, b" -.").is_some_and(|digits| {
        br_check(rising(&digits[..9], 11)) == u32::from(digits[9])
            && br_check(rising(&digits[..10], 11)) == u32::from(digits[10])
            && !is_uniform(&digits)
    })
}

/// Brazilian company: twelve digits, since July 2026 letters too, and two check digits modulo 11.
/// Source: Receita Federal, Instrução Normativa 2229/2024.
pub fn br_cnpj(value: &str) -> bool {
    compact(value, b" -./").is_some_and(|text| {
        if !is_shaped(&text, "XXXXXXXXXXXX00") {
            return false;
        }
        let mut values = [0; 14];
        for (value, byte) in values.iter_mut().zip(text.iter()) {
            *value = byte - b'0';
        }
        br_check(rising(&values[..12], 9)) == u32::from(values[12])
            && br_check(rising(&values[..13], 9)) == u32::from(values[13])
            && values.iter().any(|value| *value > 0)
    })
}

/// The check digit of a sum: ten is written as 0.
fn br_check(sum: u32) -> u32 {
    complement(sum, 11) % 10
}

/// Chilean person or company: weights 2 to 7 modulo 11, `K` for ten. Source: Servicio de Impuestos Internos, *RUT*.
pub fn cl_rut(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        let Some((check, digits)) = without(&text, "CL").split_last() else { return false };
        padded::<8>(digits, 7)
            .is_some_and(|digits| *check == b"0123456789K"[complement(rising(&digits, 7), 11) as usize])
    })
}

/// Colombian taxpayer: weights of primes from 3 on, modulo 11. Source: DIAN, Orden Administrativa 4/1989.
pub fn co_nit(value: &str) -> bool {
    const WEIGHTS: [u32; 15] = [3, 7, 13, 17, 19, 23, 29, 37, 41, 43, 47, 53, 59, 67, 71];
    compact(value, b" -.,").is_some_and(|text| {
        padded::<16>(&text, 8).is_some_and(|digits| {
            let sum: u32 =
                digits[..15].iter().rev().zip(WEIGHTS).map(|(digit, weight)| u32::from(*digit) * weight).sum();
            let remainder = sum % 11;
            u32::from(digits[15]) == if remainder < 2 { remainder } else { 11 - remainder }
        })
    })
}

/// Costa Rican person: province from 1 on, volume and entry; ten digits with a zero before. Groups may be written without
/// their leading zeros. Source: Tribunal Supremo de Elecciones, *cédula de identidad*.
pub fn cr_person(value: &str) -> bool {
    let mut groups = value.split('-');
    if let (Some(a), Some(b), Some(c), None) = (groups.next(), groups.next(), groups.next(), groups.next()) {
        let group = |group: &str| padded::<4>(group.as_bytes(), 1);
        let first = padded::<2>(a.as_bytes(), 1).is_some_and(|digits| digits[0] == 0 && digits[1] > 0);
        return first && group(b).is_some() && group(c).is_some();
    }
    compact(value, b" ")
        .is_some_and(|text| padded::<10>(&text, 9).is_some_and(|digits| digits[0] == 0 && digits[1] > 0))
}

/// Costa Rican company: class, kind and serial. Source: Registro Nacional, Decreto 34691-J.
pub fn cr_company(value: &str) -> bool {
    digits::<10>(value, b" -").is_some_and(|digits| match (digits[0], number(&digits[1..4])) {
        (2, kind) => matches!(kind, 100 | 200 | 300 | 400),
        (3, kind) => matches!(kind, 2..=14 | 101..=110),
        (4, kind) => kind == 0,
        (5, kind) => kind == 1,
        _ => false,
    })
}

/// Costa Rican resident: from 1 on, eleven or twelve digits. Source: Dirección General de Migración, *DIMEX*.
pub fn cr_resident(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| matches!(text.len(), 11 | 12) && all_digits(&text) && text[0] == b'1')
}

/// Cuban person: birthday, a digit of the century, and serial. Source: Oficina Nacional de Estadística, *NI*.
pub fn cu_person(value: &str) -> bool {
    digits::<11>(value, b" ").is_some_and(|digits| {
        let century = match digits[6] {
            0..=5 => 1900,
            6..=8 => 2000,
            _ => 1800,
        };
        is_birthday(century + two(&digits, 0), two(&digits, 2), two(&digits, 4))
    })
}

/// Dominican person: Luhn. Some old cards do not carry it; they are taken for wrong.
/// Source: Junta Central Electoral, *cédula de identidad y electoral*.
pub fn do_cedula(value: &str) -> bool {
    digits::<11>(value, b" -").is_some_and(|digits| number(&digits) > 0 && luhn(&digits))
}

/// Dominican taxpayer: weights 7, 9, 8, 6, 5, 4, 3, 2 modulo 11, in 1 to 9. Source: DGII, *RNC*.
pub fn do_rnc(value: &str) -> bool {
    digits::<9>(value, b" -").is_some_and(|digits| {
        let remainder = weighted(&digits, &[7, 9, 8, 6, 5, 4, 3, 2]) % 11;
        (10 - remainder) % 9 + 1 == u32::from(digits[8])
    })
}

/// Dominican fiscal receipt: `B` and ten digits, `E` and twelve, or as until 2018 `A` or `P` and eighteen; the kind of
/// document is two of them. Source: DGII, Norma General 06-2018.
pub fn do_ncf(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        let Some((series, rest)) = text.split_first() else { return false };
        let (len, at) = match series {
            b'B' => (10, 0),
            b'E' => (12, 0),
            b'A' | b'P' => (18, 8),
            _ => return false,
        };
        let kind = rest.get(at..at + 2).and_then(exactly::<2>).map(|digits| number(&digits));
        rest.len() == len && all_digits(rest) && matches!(kind, Some(1..=4 | 11..=17 | 31..=34 | 41 | 43..=47))
    })
}

/// Ecuadorian person: province, Luhn. Source: Dirección General de Registro Civil, *cédula de identidad*.
pub fn ec_person(value: &str) -> bool {
    digits::<10>(value, b" -")
        .is_some_and(|digits| matches!(two(&digits, 0), 1..=24 | 30 | 50) && digits[2] <= 6 && luhn(&digits))
}

/// Guatemalan taxpayer: two to twelve characters, weights from 2 on, modulo 11, `K` for ten. Source: SAT, *NIT*.
pub fn gt_nit(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let Some((check, digits)) = text.split_last() else { return false };
        padded::<11>(digits, 1)
            .is_some_and(|digits| *check == b"0123456789K"[complement(rising(&digits, 12), 11) as usize])
    })
}

/// Mexican person: letters of the name, birthday, sex, state, consonants, and a check digit.
/// Source: Instructivo Normativo para la Asignación de la CURP, DOF 18 October 2021.
pub fn mx_curp(value: &str) -> bool {
    const STATES: &[u8] = b"ASBCBSCCCHCLCMCSDFDGGRGTHGJCMCMNMSNENLNTOCPLQRQTSLSPSRTCTLTSVZYNZS";
    compact(value, b" -").is_some_and(|text| {
        if !is_shaped(&text, "AAAA000000AAAAAAX0") {
            return false;
        }
        let Some(birth) = exactly::<6>(&text[4..10]) else { return false };
        let century = if text[16].is_ascii_digit() { 1900 } else { 2000 };
        // The alphabet has an Ñ between N and O.
        let value = |byte: &u8| base36(*byte).map_or(0, u32::from) + u32::from(*byte > b'N');
        let sum: u32 = text[..17].iter().zip((2..=18).rev()).map(|(byte, weight)| value(byte) * weight).sum();
        is_birthday(century + two(&birth, 0), two(&birth, 2), two(&birth, 4))
            && matches!(text[10], b'H' | b'M' | b'X')
            && STATES.as_chunks::<2>().0.iter().any(|state| state == &text[11..13])
            && complement(sum, 10) == u32::from(text[17] - b'0')
    })
}

/// Mexican taxpayer: four letters of a person or three of a company (`Ñ` and `&` among them), a date, and possibly three
/// more characters. Many in use do not carry the check digit of the rule. Source: SAT, *RFC*, Anexo 19.
pub fn mx_rfc(value: &str) -> bool {
    let value = value.trim();
    let mut letters = 0;
    let is_letter = |c: char| c.is_ascii_alphabetic() || matches!(c, 'Ñ' | 'ñ' | '&');
    let rest = value.trim_start_matches(|c| {
        letters += 1;
        letters <= 4 && is_letter(c)
    });
    let letters = value[..value.len() - rest.len()].chars().count();
    compact(rest, b" -").is_some_and(|text| {
        let (date, code) = text.split_at(text.len().min(6));
        let dated = exactly::<6>(date)
            .is_some_and(|digits| is_short_birthday(two(&digits, 0), two(&digits, 2), two(&digits, 4)));
        let coded = is_shaped(code, "XX0") || is_shaped(code, "XXa");
        dated && ((letters == 4 && code.is_empty()) || (matches!(letters, 3 | 4) && coded))
    })
}

/// Peruvian person: eight digits and a check digit or letter. Source: RENIEC, *código único de identificación*.
pub fn pe_cui(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let (head, check) = text.split_at(text.len().min(8));
        exactly::<8>(head).is_some_and(|digits| {
            let place = (weighted(&digits, &[3, 2, 7, 6, 5, 4, 3, 2]) % 11) as usize;
            check.is_empty() || *check == [b"65432110987"[place]] || *check == [b"KJIHGFEDCBA"[place]]
        })
    })
}

/// Peruvian taxpayer: kind, weights 5 4 3 2 7 6 5 4 3 2 modulo 11. Source: SUNAT, *RUC*.
pub fn pe_ruc(value: &str) -> bool {
    digits::<11>(value, b" ").is_some_and(|digits| {
        let check = (11 - weighted(&digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]) % 11) % 10;
        matches!(two(&digits, 0), 10 | 15..=17 | 20) && check == u32::from(digits[10])
    })
}

/// Paraguayan taxpayer: five to nine digits, weights from 2 on, modulo 11. Source: SET, *RUC*.
pub fn py_ruc(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        padded::<9>(&text, 5)
            .is_some_and(|digits| complement(rising(&digits[..8], 11), 11) % 10 == u32::from(digits[8]))
    })
}

/// Salvadoran taxpayer: place, birthday, serial, and a check digit whose rule depends on the serial.
/// Source: Ministerio de Hacienda, *NIT*.
pub fn sv_nit(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        exactly::<14>(without(&text, "SV")).is_some_and(|digits| {
            let check = if number(&digits[10..13]) <= 100 {
                weighted(&digits, &[14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]) % 11 % 10
            } else {
                complement(weighted(&digits, &[2, 7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]), 11) % 10
            };
            matches!(digits[0], 0 | 1 | 9) && check == u32::from(digits[13])
        })
    })
}

/// Uruguayan taxpayer: kind 01 to 22, serial, 001, weights 4 3 2 9 8 7 6 5 4 3 2 modulo 11. Source: DGI, *RUT*.
pub fn uy_rut(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        exactly::<12>(without(&text, "UY")).is_some_and(|digits| {
            (1..=22).contains(&two(&digits, 0))
                && number(&digits[2..8]) > 0
                && digits[8..11] == [0, 0, 1]
                && complement(weighted(&digits, &[4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]), 11) == u32::from(digits[11])
        })
    })
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("AR_CBU", ar_cbu),
    ("AR_CUIT", ar_cuit),
    ("AR_DNI", ar_dni),
    ("BR_CNPJ", br_cnpj),
    ("BR_CPF", br_cpf),
    ("CL_RUT", cl_rut),
    ("CO_NIT", co_nit),
    ("CR_CPF", cr_person),
    ("CR_CPJ", cr_company),
    ("CR_CR", cr_resident),
    ("CU_NI", cu_person),
    ("DO_CEDULA", do_cedula),
    ("DO_NCF", do_ncf),
    ("DO_RNC", do_rnc),
    ("EC_CI", ec_person),
    ("GT_NIT", gt_nit),
    ("MX_CURP", mx_curp),
    ("MX_RFC", mx_rfc),
    ("PE_CUI", pe_cui),
    ("PE_RUC", pe_ruc),
    ("PY_RUC", py_ruc),
    ("SV_NIT", sv_nit),
    ("UY_RUT", uy_rut),
];
