//! Single JSON values as the types that they are declared to be. Nothing fits that its column could not give
//! back.
use std::borrow::Cow;

use chrono::DateTime;

/// Digits that a double keeps, whatever they are.
const SAFE_DIGITS: usize = 15;
/// Integers that a double keeps, in both directions.
const SAFE_INTEGER: f64 = 9_007_199_254_740_992.0;

/// A JSON string as text. None for half a surrogate pair, too, which no text has.
pub(crate) fn text(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if !inner.contains('\\') {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(json).ok().map(Cow::Owned)
}

/// A JSON number that is whole and has 64 bits.
pub(crate) fn integer(json: &str) -> Option<i64> {
    if let Ok(integer) = json.parse() {
        return Some(integer);
    }
    let number = number(json)?;
    // Whole and within 53 bits, so the cast is exact.
    (number.fract() == 0.0 && number.abs() <= SAFE_INTEGER).then_some(number as i64)
}

/// A JSON number that is a double: its digits are those that the double is written with.
pub(crate) fn number(json: &str) -> Option<f64> {
    if !json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return None;
    }
    let number: f64 = json.parse().ok()?;
    let fits = number.is_finite()
        && (json.len() <= SAFE_DIGITS && !json.contains(['e', 'E'])
            || significant(json).eq(significant(&format!("{number:e}"))));
    fits.then_some(number)
}

/// The digits of a number without its sign, point, exponent, and zeros at both ends.
fn significant(number: &str) -> impl Iterator<Item = char> + '_ {
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits = mantissa.trim_start_matches(['0', '.', '-']).trim_end_matches(['0', '.']);
    digits.chars().filter(|digit| *digit != '.')
}

/// A time.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Date {
    /// Since the Unix epoch.
    pub(crate) microseconds: i64,
    /// Whether its text has the offset of UTC.
    pub(crate) is_utc: bool,
}

/// A JSON string with a time (RFC 3339) of whole microseconds.
pub(crate) fn date(json: &str) -> Option<Date> {
    let text = text(json)?;
    let time = DateTime::parse_from_rfc3339(&text).ok()?;
    let nanoseconds = time.timestamp_subsec_nanos();
    // A leap second has more than a second's nanoseconds.
    if nanoseconds % 1000 != 0 || nanoseconds >= 1_000_000_000 {
        return None;
    }
    Some(Date { microseconds: time.timestamp_micros(), is_utc: text.ends_with(['Z', 'z']) })
}

/// Whether it is a UUID in its canonical form: lower case, with hyphens.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_that_the_double_gives_back() {
        for fits in [
            "0",
            "-0",
            "1",
            "-1.5",
            "1e3",
            "1E+21",
            "9007199254740992",
            "123456789012345680000",
            "0.1",
            "5e-324",
            "1.7976931348623157e+308",
            "0.30000000000000004",
            "100",
            "1200.50",
            "-12345678.875",
            "0.000001",
            "0e5",
        ] {
            assert_eq!(number(fits), Some(fits.parse().unwrap()), "{fits}");
        }
        for misfit in [
            "1e400",
            "-1e400",
            "9007199254740993",
            "12345678901234567890",
            "0.1000000000000000055511151231257827",
            "1e-400",
            "\"1\"",
            "true",
            "null",
            "[1]",
            "{}",
        ] {
            assert_eq!(number(misfit), None, "{misfit}");
        }
    }

    #[test]
    fn integers_are_whole_and_have_64_bits() {
        for (json, value) in [
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9007199254740993", Some(9_007_199_254_740_993)),
            ("1e3", Some(1000)),
            ("3.0", Some(3)),
            ("-0", Some(0)),
            ("9223372036854775808", None),
            ("1e19", None),
            ("3.5", None),
            ("\"3\"", None),
        ] {
            assert_eq!(integer(json), value, "{json}");
        }
    }

    #[test]
    fn dates_have_any_offset_and_whole_microseconds() {
        let date = |text: &str| {
            super::date(&format!("\"{text}\"")).map(|date| (date.microseconds, date.is_utc))
        };
        assert_eq!(date("1970-01-01T00:00:00Z"), Some((0, true)));
        assert_eq!(date("1969-12-31T23:59:59.999999Z"), Some((-1, true)));
        assert_eq!(date("2024-02-29T12:00:00.5+05:30"), Some((1_709_188_200_500_000, false)));
        assert_eq!(date("0001-01-01T00:00:00Z"), Some((-62_135_596_800_000_000, true)));
        assert_eq!(date("9999-12-31T23:59:59.999999Z"), Some((253_402_300_799_999_999, true)));
        for misfit in [
            "1970-01-01T00:00:00.000000001Z",
            "2016-12-31T23:59:60Z",
            "2023-02-29T00:00:00Z",
            "1970-01-01",
            "",
        ] {
            assert_eq!(date(misfit), None, "{misfit}");
        }
        assert_eq!(super::date("5"), None);
    }

    #[test]
    fn texts_and_uuids_are_strings() {
        assert_eq!(text(r#""a b""#).as_deref(), Some("a b"));
        assert_eq!(text(r#""a\n\"\u00e9\ud83d\ude00""#).as_deref(), Some("a\n\"é😀"));
        for misfit in [r#""\ud800""#, "5", "null", "[\"a\"]"] {
            assert_eq!(text(misfit), None, "{misfit}");
        }
        assert!(is_uuid("01234567-89ab-cdef-0123-456789abcdef"));
        for other in
            ["01234567-89AB-cdef-0123-456789abcdef", "0123456789abcdef0123456789abcdef", ""]
        {
            assert!(!is_uuid(other), "{other}");
        }
    }
}
