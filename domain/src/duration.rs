//! Durations as Go writes them: `720h`, `1h30m`, `1.5s`, `300ms`.

/// Longest text that is looked at.
const TEXT_MAX_BYTES: usize = 64;
/// Digits after the point that can matter: an hour has 3.6 × 10^12 nanoseconds.
const FRACTION_MAX_DIGITS: usize = 12;

/// Units by their Go names, longest first, and their nanoseconds.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration as milliseconds, rounded down; `None` when it is none, is negative, or is longer than
/// Go's 292 years.
#[must_use]
pub fn parse_duration(text: &str) -> Option<i64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(0);
    }
    if text.is_empty() || text.len() > TEXT_MAX_BYTES {
        return None;
    }
    let (mut rest, mut total_ns) = (text, 0_i128);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let (unit, unit_ns) = UNITS.iter().find(|(unit, _)| tail.starts_with(unit))?;
        total_ns = total_ns.checked_add(scale(number, *unit_ns)?)?;
        rest = &tail[unit.len()..];
    }
    i64::try_from(total_ns).ok().map(|total_ns| total_ns / 1_000_000)
}

/// A decimal number of units, in nanoseconds.
fn scale(number: &str, unit_ns: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let read = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok() };
    let mut sum_ns = read(whole)?.checked_mul(unit_ns)?;
    if fraction.bytes().any(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(FRACTION_MAX_DIGITS)];
    let divisor = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    sum_ns = sum_ns.checked_add(read(fraction)?.checked_mul(unit_ns)? / divisor)?;
    Some(sum_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        let cases = [
            ("720h", 2_592_000_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            ("300ms", 300),
            ("1m2s3ms", 62_003),
            ("2m1h", 3_720_000),
            (".5h", 1_800_000),
            ("1.s", 1_000),
            ("0", 0),
            ("+3s", 3_000),
            ("1500us", 1),
            ("2000µs", 2),
            ("999ns", 0),
            ("1.0000000000000000000000000000000001h", 3_600_000),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        let long = "9".repeat(40) + "h";
        for text in
            ["", "-1h", "5", "h", "1d", "1h-2m", "1 h", ".s", "1.2.3s", "not-a-duration", "+", "1H", "2562048h", &long]
        {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
