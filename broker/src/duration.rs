//! Durations on the command line: `500ms`, `2s`, `10m`.

use std::time::Duration;

/// The longest duration that is accepted, so that adding one to a clock never overflows.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Parses a duration, for `#[arg(value_parser = parse_duration)]`: a number and a unit, or several (`1m 30s`).
///
/// # Errors
///
/// A sentence for people where it is no duration, is zero (no interval or timeout of Natter may be), or is above one year.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = parse_duration_or_zero(text)?;
    if duration.is_zero() {
        return Err(format!("\"{text}\" is zero: write a duration above zero, like 500ms or 2s"));
    }
    Ok(duration)
}

/// Parses a duration that may be zero, such as a time to try again.
///
/// # Errors
///
/// A sentence for people where it is no duration or is above one year.
pub fn parse_duration_or_zero(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text.trim())
        .map_err(|_| format!("\"{text}\" is no duration: write a number and a unit, like 500ms, 2s, 10m or 1h"))?;
    if duration > LONGEST {
        return Err(format!("\"{text}\" is longer than a year: write a shorter duration, like 10m or 24h"));
    }
    Ok(duration)
}

/// Writes a duration so that [`parse_duration`] reads it back: `500ms`, `1m 30s`.
pub fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// Writes a duration that was measured, in one unit and with no more digits than anyone reads: `340 ms`, `2.4 s`, `12 min`.
pub fn roughly(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{} ms", duration.as_millis()),
        seconds if seconds < 10.0 => format!("{} s", (seconds * 10.0).round() / 10.0),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds => format!("{:.0} min", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_people_write_and_writes_it_back() {
        for (text, milliseconds) in
            [("500ms", 500), ("2s", 2_000), ("10m", 600_000), ("1m 30s", 90_000), (" 1h ", 3_600_000)]
        {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration, Duration::from_millis(milliseconds), "{text}");
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
        assert_eq!(format_duration(Duration::from_millis(500)), "500ms");
    }

    #[test]
    fn refuses_with_an_example() {
        for text in ["", "500", "fast", "-1s", "2 parsecs"] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains("500ms, 2s, 10m") && error.contains(text), "{error}");
        }
        assert!(parse_duration("0s").unwrap_err().contains("zero"));
        assert!(parse_duration("1000years").unwrap_err().contains("longer than a year"));
    }

    #[test]
    fn measured_durations_are_short() {
        assert_eq!(roughly(Duration::from_millis(340)), "340 ms");
        assert_eq!(roughly(Duration::from_millis(2_449)), "2.4 s");
        assert_eq!(roughly(Duration::from_secs(61)), "61 s");
        assert_eq!(roughly(Duration::from_secs(720)), "12 min");
    }
}
