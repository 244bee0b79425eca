//! Text into a byte buffer without an allocation a value.

/// Seconds of a day.
pub const DAY: i64 = 86_400;

/// Appends `value` in decimal digits, at least `width` of them.
pub fn number(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    let mut left = value;
    while left > 0 {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
    }
    let at = at.min(digits.len() - width.clamp(1, digits.len()));
    out.extend_from_slice(&digits[at..]);
}

/// Appends `value / 10^places` with exactly `places` digits behind the point.
pub fn fixed(out: &mut Vec<u8>, value: i64, places: u32) {
    if value < 0 {
        out.push(b'-');
    }
    let unit = 10u64.pow(places);
    let value = value.unsigned_abs();
    number(out, value / unit, 1);
    if places > 0 {
        out.push(b'.');
        number(out, value % unit, places as usize);
    }
}

/// Appends the date and time `seconds` after 1970 as `2011-08-27<separator>10:58:43`.
pub fn timestamp(out: &mut Vec<u8>, seconds: i64, separator: u8) {
    let (year, month, day) = civil(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY) as u64;
    number(out, year.unsigned_abs(), 4);
    out.push(b'-');
    number(out, month, 2);
    out.push(b'-');
    number(out, day, 2);
    out.push(separator);
    number(out, second / 3600, 2);
    out.push(b':');
    number(out, second / 60 % 60, 2);
    out.push(b':');
    number(out, second % 60, 2);
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, u64, u64) {
    // Years are counted from 1 March, so that the day that comes and goes is the last of the year.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month.unsigned_abs(), day.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn numbers_have_their_digits() {
        assert_eq!(text(|out| number(out, 0, 1)), "0");
        assert_eq!(text(|out| number(out, 7, 2)), "07");
        assert_eq!(text(|out| number(out, u64::MAX, 1)), u64::MAX.to_string());
        assert_eq!(text(|out| fixed(out, -7_387_037, 5)), "-73.87037");
        assert_eq!(text(|out| fixed(out, 5, 2)), "0.05");
        assert_eq!(text(|out| fixed(out, 12, 0)), "12");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(text(|out| timestamp(out, 0, b'T')), "1970-01-01T00:00:00");
        assert_eq!(text(|out| timestamp(out, 951_782_399, b' ')), "2000-02-28 23:59:59");
        assert_eq!(text(|out| timestamp(out, 951_782_400, b' ')), "2000-02-29 00:00:00");
        assert_eq!(text(|out| timestamp(out, 1_314_442_723, b'T')), "2011-08-27T10:58:43");
        assert_eq!(text(|out| timestamp(out, -2_208_988_800, b'T')), "1900-01-01T00:00:00");
    }
}
