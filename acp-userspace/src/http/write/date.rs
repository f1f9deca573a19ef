//! The Date field (RFC 9110 §6.6.1), formatted once per second.

/// Length of an IMF-fixdate.
pub const DATE_LEN: usize = 29;

/// `Sun, 06 Nov 1994 08:49:37 GMT` for a Unix time (RFC 9110 §5.6.7). Right until the year 9999, later repeats it.
#[must_use]
pub fn imf_fixdate(unix_secs: u64) -> [u8; DATE_LEN] {
    const DAYS: &[u8; 21] = b"ThuFriSatSunMonTueWed";
    const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    let (days, secs) = (unix_secs / 86_400, unix_secs % 86_400);
    let (year, month, day) = civil(days);
    let weekday = (days % 7) as usize * 3;
    let month = (month as usize - 1) * 3;
    let mut text = *b"Thu, 01 Jan 1970 00:00:00 GMT";
    text[..3].copy_from_slice(&DAYS[weekday..weekday + 3]);
    two_digits(&mut text[5..7], day);
    text[8..11].copy_from_slice(&MONTHS[month..month + 3]);
    two_digits(&mut text[12..14], year / 100 % 100);
    two_digits(&mut text[14..16], year % 100);
    two_digits(&mut text[17..19], secs / 3600);
    two_digits(&mut text[20..22], secs / 60 % 60);
    two_digits(&mut text[23..25], secs % 60);
    text
}

/// The current date's text; a worker keeps one and pays for formatting once per second.
#[derive(Debug)]
pub struct DateCache {
    secs: u64,
    text: [u8; DATE_LEN],
}

impl DateCache {
    /// The text for `unix_secs`.
    pub fn at(&mut self, unix_secs: u64) -> &[u8; DATE_LEN] {
        if self.secs != unix_secs {
            *self = Self { secs: unix_secs, text: imf_fixdate(unix_secs) };
        }
        &self.text
    }
}

impl Default for DateCache {
    fn default() -> Self {
        Self { secs: 0, text: imf_fixdate(0) }
    }
}

/// Year, month 1..=12 and day 1..=31 of a day counted from 1970-01-01, by the proleptic Gregorian calendar: years
/// are taken from March on, so that the leap day is a year's last and a month's first day is linear in its number.
fn civil(days: u64) -> (u64, u64, u64) {
    // 719 468 days lie between 0000-03-01 and 1970-01-01; an era is 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

fn two_digits(out: &mut [u8], n: u64) {
    out[0] = b'0' + (n / 10 % 10) as u8;
    out[1] = b'0' + (n % 10) as u8;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_example_of_the_rfc() {
        assert_eq!(&imf_fixdate(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&imf_fixdate(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&imf_fixdate(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(&imf_fixdate(253_402_300_799), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[test]
    fn agrees_with_a_calendar_library() {
        for secs in (0..253_402_300_799u64).step_by(86_399 * 97) {
            let time = jiff::Timestamp::from_second(secs as i64).unwrap();
            let expected = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time).unwrap();
            assert_eq!(std::str::from_utf8(&imf_fixdate(secs)).unwrap(), expected);
        }
    }

    #[test]
    fn the_cache_follows_the_clock() {
        let mut cache = DateCache::default();
        assert_eq!(cache.at(784_111_777), &imf_fixdate(784_111_777));
        assert_eq!(cache.at(784_111_778), &imf_fixdate(784_111_778));
    }
}
