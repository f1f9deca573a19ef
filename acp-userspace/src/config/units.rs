//! Durations, sizes, money and address blocks as people write them. Exact: no floating point anywhere.
//!
//! Each function answers with the value or with a sentence that says what to write.

use std::net::IpAddr;
use std::time::Duration;

use super::resolved::Cidr;

/// Pico-dollars of a dollar.
pub(super) const PICOUSD_PER_USD: u128 = 1_000_000_000_000;

/// `30s`, `1m`, `24h`, `30d`, `500ms`: digits and one unit.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let advice = || {
        format!(
            "{text:?} is no duration; write a number and a unit, as in \"500ms\", \"30s\", \"1m\", \"24h\" or \"30d\""
        )
    };
    let (number, unit) = split(text).ok_or_else(advice)?;
    let number: u64 = number.parse().map_err(|_| advice())?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(advice()),
    };
    // Nanoseconds have to fit u64 (the clocks' unit): 584 years.
    number
        .checked_mul(millis)
        .filter(|&ms| ms <= u64::MAX / 1_000_000)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is too long"))
}

/// `8 MiB`, `64KiB`, `1 GiB`, `512 B`: bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let advice = || {
        format!(
            "{text:?} is no size; write a number and a binary unit, as in \"512 B\", \"64 KiB\", \"8 MiB\" or \"1 GiB\""
        )
    };
    let (number, unit) = split(text).ok_or_else(advice)?;
    let number: u64 = number.parse().map_err(|_| advice())?;
    let shift = match unit {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(advice()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too large"))
}

/// `500 USD`, `0.002 USD`: exact pico-dollars, at most 12 decimal places.
pub(super) fn money(text: &str) -> Result<u128, String> {
    let Some(amount) = text.strip_suffix("USD").map(str::trim_end) else {
        return Err(if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') && !text.is_empty() {
            format!("{text:?} has no currency; write \"{text} USD\"")
        } else {
            format!("{text:?} is no amount; write a decimal number and USD, as in \"500 USD\" or \"0.002 USD\"")
        });
    };
    let advice = || format!("{text:?} is no amount; write digits with at most one point, as in \"0.002 USD\"");
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return Err(advice());
    }
    if fraction.len() > 12 {
        return Err(format!("{text:?} is finer than a pico-dollar; write at most 12 decimal places"));
    }
    let whole: u128 = whole.parse().map_err(|_| advice())?;
    let fraction: u128 = format!("{fraction:0<12}").parse().map_err(|_| advice())?;
    // Spend is kept in micro-dollars of 64 bits.
    whole
        .checked_mul(PICOUSD_PER_USD)
        .and_then(|whole| whole.checked_add(fraction))
        .filter(|picousd| picousd / 1_000_000 <= u128::from(u64::MAX))
        .ok_or_else(|| format!("{text:?} is more money than there is"))
}

/// `10.0.0.0/8`, `fd00::/8`, or an address alone for that address.
pub(super) fn cidr(text: &str) -> Result<Cidr, String> {
    let advice = || format!("{text:?} is no address block; write it as in \"10.0.0.0/8\" or \"fd00::/8\"");
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| advice())?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => bits,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            digits.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(advice)?
        }
        Some(_) => return Err(advice()),
    };
    let network = network(address, prefix);
    if network != address {
        return Err(format!("{text:?} has bits set beyond its prefix; write \"{network}/{prefix}\""));
    }
    if let IpAddr::V6(v6) = address
        && v6.to_ipv4_mapped().is_some()
    {
        return Err(format!("{text:?} is an IPv4-mapped address; write the IPv4 block itself"));
    }
    Ok(Cidr { address, prefix })
}

fn network(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            IpAddr::V4((u32::from(v4) & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)).into())
        }
        IpAddr::V6(v6) => {
            IpAddr::V6((u128::from(v6) & u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0)).into())
        }
    }
}

/// Leading digits and the unit behind them, one space between allowed.
fn split(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    (end > 0).then(|| (&text[..end], text[end..].strip_prefix(' ').unwrap_or(&text[end..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_durations() {
        for (text, millis) in
            [("500ms", 500), ("30s", 30_000), ("1m", 60_000), ("24h", 86_400_000), ("30 d", 2_592_000_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "30", "s", "-1s", "1.5h", "1h30m", "1 hour", "1  s", "99999999999999999999s", "999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_sizes_in_binary_units_only() {
        for (text, bytes) in [("0 B", 0), ("64KiB", 65_536), ("8 MiB", 8 << 20), ("2 GiB", 2 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in ["8", "8 MB", "8 mib", "-8 MiB", "1.5 MiB", "99999999999 GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn reads_money_exactly() {
        for (text, picousd) in [
            ("500 USD", 500 * PICOUSD_PER_USD),
            ("0.002 USD", 2_000_000_000),
            ("0.1USD", 100_000_000_000),
            ("0.000000000001 USD", 1),
            ("18446744073709.551615 USD", 18_446_744_073_709_551_615_000_000),
        ] {
            assert_eq!(money(text), Ok(picousd), "{text}");
        }
        for bad in [
            "",
            "USD",
            "1,000 USD",
            "1e3 USD",
            ".5 USD",
            "5. USD",
            "-1 USD",
            "1 EUR",
            "0.0000000000001 USD",
            "18446744073710 USD",
        ] {
            assert!(money(bad).is_err(), "{bad}");
        }
        assert_eq!(money("500"), Err("\"500\" has no currency; write \"500 USD\"".into()));
    }

    #[test]
    fn reads_address_blocks() {
        for (text, prefix) in
            [("10.0.0.0/8", 8), ("0.0.0.0/0", 0), ("::/0", 0), ("fd00::/8", 8), ("192.0.2.1", 32), ("::1", 128)]
        {
            assert_eq!(cidr(text).map(|cidr| cidr.prefix), Ok(prefix), "{text}");
        }
        for bad in
            ["", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.1/8", "10/8", "fd00::/129", "::ffff:10.0.0.0/104", "010.0.0.0/8"]
        {
            assert!(cidr(bad).is_err(), "{bad}");
        }
        assert!(cidr("10.1.2.3/8").unwrap_err().contains("\"10.0.0.0/8\""));
    }
}
