//! The `grpc-timeout` header (gRPC over HTTP/2, *Requests*): up to 8 digits and a unit.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

static GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The units, the finest first, and their nanoseconds.
const UNITS: [(char, u128); 6] = [
    ('n', 1),
    ('u', 1_000),
    ('m', 1_000_000),
    ('S', 1_000_000_000),
    ('M', 60 * 1_000_000_000),
    ('H', 3_600 * 1_000_000_000),
];

/// The largest number of 8 digits.
const MAX: u128 = 99_999_999;

/// Reads the timeout. An unreadable value counts as absent.
pub(crate) fn read(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(&GRPC_TIMEOUT)?.to_str().ok()?;
    let unit = text.chars().next_back()?;
    let digits = text.strip_suffix(unit)?;
    let is_number = matches!(digits.len(), 1..=8) && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = is_number.then(|| digits.parse().ok())??;
    let (_, nanos) = UNITS.into_iter().find(|&(name, _)| name == unit)?;
    // At most 11,416 years, whose nanoseconds exceed 64 bits.
    let nanos = nanos * u128::from(number);
    let (secs, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    Some(Duration::new(u64::try_from(secs).ok()?, u32::try_from(rest).ok()?))
}

/// Writes `left` in the finest unit that has room, rounded down, and at least a nanosecond: zero is
/// not a timeout. A shorter timeout that is already there stays.
pub(crate) fn shorten(headers: &mut HeaderMap, left: Duration) {
    if read(headers).is_some_and(|present| present <= left) {
        return;
    }
    let numbers = UNITS.map(|(name, nanos)| (name, left.as_nanos() / nanos));
    let finest = numbers.into_iter().find(|&(_, number)| number <= MAX);
    let (unit, number) = finest.unwrap_or(('H', MAX));
    let value = HeaderValue::try_from(format!("{}{unit}", number.max(1)));
    if let Ok(value) = value {
        // A full map has no room for it.
        let _ = headers.try_insert(&GRPC_TIMEOUT, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reread(text: &'static str) -> Option<Duration> {
        read(&HeaderMap::from_iter([(GRPC_TIMEOUT.clone(), HeaderValue::from_static(text))]))
    }

    fn written(left: Duration) -> HeaderMap {
        let mut headers = HeaderMap::new();
        shorten(&mut headers, left);
        headers
    }

    #[test]
    fn r10_grpc_timeout_of_each_unit_is_read() {
        assert_eq!(reread("7n"), Some(Duration::from_nanos(7)));
        assert_eq!(reread("7u"), Some(Duration::from_micros(7)));
        assert_eq!(reread("7m"), Some(Duration::from_millis(7)));
        assert_eq!(reread("7S"), Some(Duration::from_secs(7)));
        assert_eq!(reread("7M"), Some(Duration::from_secs(7 * 60)));
        assert_eq!(reread("7H"), Some(Duration::from_secs(7 * 3_600)));
        assert_eq!(reread("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        assert_eq!(reread("0S"), Some(Duration::ZERO));
    }

    #[test]
    fn r10_unreadable_grpc_timeout_counts_as_absent() {
        for text in ["", "S", "7", "7s", "-7S", "+7S", "7 S", " 7S", "7.5S", "123456789n", "SS"] {
            assert_eq!(reread(text), None, "{text:?}");
        }
        let bytes = HeaderValue::from_bytes(b"7\xc3\xa9").expect("opaque bytes are a value");
        assert_eq!(read(&HeaderMap::from_iter([(GRPC_TIMEOUT.clone(), bytes)])), None);
    }

    #[test]
    fn r10_written_grpc_timeout_is_at_most_what_is_left_and_exact_to_eight_digits() {
        for (left, text) in [
            (Duration::ZERO, "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_millis(100), "100000u"),
            (Duration::from_nanos(100_000_999), "100000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(100_000_000), "1666666M"),
            (Duration::from_secs(6_000_000_000), "1666666H"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(written(left)[&GRPC_TIMEOUT], text);
            assert!(left.is_zero() || read(&written(left)) <= Some(left), "{left:?}");
        }
    }

    #[test]
    fn r10_shorter_grpc_timeout_stays_and_a_longer_one_is_replaced() {
        let mut headers = written(Duration::from_millis(5));
        shorten(&mut headers, Duration::from_millis(6));
        assert_eq!(headers[&GRPC_TIMEOUT], "5000000n");
        shorten(&mut headers, Duration::from_millis(4));
        assert_eq!(headers[&GRPC_TIMEOUT], "4000000n");
    }
}
