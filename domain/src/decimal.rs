//! Exact decimal text: the only road between integers of a fixed scale and numbers as people write
//! them.

use std::fmt;

/// Longest text that is looked at; every amount that fits an `i64` is far shorter.
const MAX_TEXT_BYTES: usize = 64;

/// Why a text is not an exact amount of the wanted scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecimalError {
    /// Not a decimal number (empty, `NaN`, infinite, stray characters, over 64 bytes).
    NotANumber,
    /// Non-zero digits beyond the number of decimals named here.
    TooPrecise {
        /// Decimals that can be kept.
        decimals: u32,
    },
    /// Larger than the integer that stores it.
    OutOfRange,
    /// Below zero where only zero and above make sense.
    Negative,
}

impl fmt::Display for DecimalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotANumber => f.write_str("must be a decimal number"),
            Self::TooPrecise { decimals } => write!(f, "must have at most {decimals} decimals"),
            Self::OutOfRange => f.write_str("is too large"),
            Self::Negative => f.write_str("must not be negative"),
        }
    }
}

impl std::error::Error for DecimalError {}

/// Reads decimal text (`-12.5`, `1.5e-7`) as an integer of 10^-`scale` units, with no rounding at
/// all.
///
/// Exponents are read because serde_json prints small floats that way.
///
/// # Errors
/// See [`DecimalError`]; [`DecimalError::Negative`] is never returned.
pub(crate) fn parse_scaled(text: &str, scale: u32) -> Result<i64, DecimalError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(DecimalError::NotANumber);
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (significand, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (&digits[..at], parse_exponent(&digits[at + 1..])?),
        None => (digits, 0),
    };
    let (magnitude, power) = parse_significand(significand, scale)?;
    if magnitude == 0 {
        return Ok(0);
    }
    let power = power + exponent + i64::from(scale);
    let too_precise = DecimalError::TooPrecise { decimals: scale };
    let power = u32::try_from(power).map_err(|_| if power < 0 { too_precise } else { DecimalError::OutOfRange })?;
    let magnitude =
        10_i128.checked_pow(power).and_then(|factor| magnitude.checked_mul(factor)).ok_or(DecimalError::OutOfRange)?;
    i64::try_from(if negative { -magnitude } else { magnitude }).map_err(|_| DecimalError::OutOfRange)
}

/// Splits `12.500` into (125, -1): digits without trailing zeros, and the power of ten they are
/// multiplied by.
fn parse_significand(text: &str, scale: u32) -> Result<(i128, i64), DecimalError> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    if whole.is_empty() || fraction.is_empty() {
        return Err(DecimalError::NotANumber);
    }
    let mut magnitude: i128 = 0;
    // Zeros are held back until a later digit needs them, so that "0.500000000" stays short.
    let mut zeros: u32 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        match digit {
            b'0' => zeros += 1,
            b'1'..=b'9' => {
                magnitude = 10_i128
                    .checked_pow(zeros + 1)
                    .and_then(|factor| magnitude.checked_mul(factor))
                    .and_then(|shifted| shifted.checked_add(i128::from(digit - b'0')))
                    .ok_or(if fraction == "0" {
                        DecimalError::OutOfRange
                    } else {
                        DecimalError::TooPrecise { decimals: scale }
                    })?;
                zeros = 0;
            }
            _ => return Err(DecimalError::NotANumber),
        }
        if magnitude == 0 {
            zeros = 0;
        }
    }
    // At most 64 bytes of text: the length fits any integer.
    let fraction_digits = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    Ok((magnitude, i64::from(zeros) - fraction_digits))
}

fn parse_exponent(text: &str) -> Result<i64, DecimalError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || digits.len() > 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DecimalError::NotANumber);
    }
    let exponent: i64 = digits.parse().map_err(|_| DecimalError::NotANumber)?;
    Ok(if text.starts_with('-') { -exponent } else { exponent })
}

/// Writes an integer of 10^-`scale` units as the shortest decimal text: `10500` of scale 6 is
/// `0.0105`.
pub(crate) fn format_scaled(value: i64, scale: u32) -> String {
    let unit = 10_u64.pow(scale);
    let magnitude = value.unsigned_abs();
    let sign = if value < 0 { "-" } else { "" };
    let (whole, fraction) = (magnitude / unit, magnitude % unit);
    if fraction == 0 {
        return format!("{sign}{whole}");
    }
    let width = scale as usize;
    let mut text = format!("{sign}{whole}.{fraction:0width$}");
    text.truncate(text.trim_end_matches('0').len());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_is_exact() {
        let cases = [
            ("0", 0),
            ("-0", 0),
            ("0.000", 0),
            ("10", 10_000_000),
            ("0.0105", 10_500),
            ("-0.5", -500_000),
            ("1.5e-5", 15),
            ("1E3", 1_000_000_000),
            ("1e+2", 100_000_000),
            ("0.500000000000000000000000000000", 500_000),
            ("1000000e-6", 1_000_000),
            ("9223372036854.775807", i64::MAX),
            ("-9223372036854.775808", i64::MIN),
            ("000012", 12_000_000),
            ("0e999", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_scaled(text, 6), Ok(expected), "{text}");
        }
    }

    #[test]
    fn parse_refuses_what_it_cannot_keep() {
        for text in ["", "-", ".", "1.", ".5", "+1", " 1", "NaN", "inf", "1e", "1e99999", "0x10", "1_000", "1,5", "--1"]
        {
            assert_eq!(parse_scaled(text, 6), Err(DecimalError::NotANumber), "{text}");
        }
        for text in ["0.0000001", "1e-7", "0.30000000000000004", "0.1234567890123456789012345678901234567890123"] {
            assert_eq!(parse_scaled(text, 6), Err(DecimalError::TooPrecise { decimals: 6 }), "{text}");
        }
        for text in ["9223372036854.775808", "1e20", "1e9999", "1234567890123456789012345678901234567890123"] {
            assert_eq!(parse_scaled(text, 6), Err(DecimalError::OutOfRange), "{text}");
        }
        assert_eq!(parse_scaled(&"0".repeat(65), 6), Err(DecimalError::NotANumber));
    }

    #[test]
    fn format_is_shortest() {
        let cases = [(0, "0"), (10_500, "0.0105"), (10_000_000, "10"), (-500_000, "-0.5"), (1, "0.000001")];
        for (value, expected) in cases {
            assert_eq!(format_scaled(value, 6), expected);
        }
        assert_eq!(format_scaled(i64::MIN, 6), "-9223372036854.775808");
    }
}
