//! Times at the edge of the API: inside, a time is milliseconds since 1970.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Writes a time as RFC 3339 in UTC with milliseconds, such as `2026-11-22T14:40:26.123Z`. A time outside the years
/// 0 to 9999 is written as the epoch.
#[must_use]
pub fn format_rfc3339(time_ms: i64) -> String {
    let nanoseconds = i128::from(time_ms).saturating_mul(1_000_000);
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, clock) = (time.date(), time.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second(),
        clock.millisecond()
    )
}

/// The UTC month of a time, such as `2026-11`: the period of monthly budgets.
#[must_use]
pub fn month_of(time_ms: i64) -> String {
    let mut text = format_rfc3339(time_ms);
    text.truncate("2026-11".len());
    text
}

/// Reads an RFC 3339 time; `None` when it is none.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let time = OffsetDateTime::parse(text.trim(), &Rfc3339).ok()?;
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for time_ms in [0, 1, 1_795_358_426_123, -1] {
            assert_eq!(parse_rfc3339(&format_rfc3339(time_ms)), Some(time_ms));
        }
        assert_eq!(format_rfc3339(1_795_358_426_123), "2026-11-22T14:40:26.123Z");
        assert_eq!(format_rfc3339(i64::MAX), "1970-01-01T00:00:00.000Z");
        assert_eq!(parse_rfc3339("2026-11-22T16:40:26.123+02:00"), Some(1_795_358_426_123));
        assert_eq!(parse_rfc3339("yesterday"), None);
        assert_eq!(month_of(1_796_083_199_999), "2026-11");
        assert_eq!(month_of(1_796_083_200_000), "2026-12");
    }
}
