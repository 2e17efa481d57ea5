//! Times as MetalLB's documents have them: Go's `time.ParseDuration`, `90s`, `1m30s`, `1.5h`. BGP counts in whole seconds.

use std::time::Duration;

use crate::config::fields::Fields;
use crate::config::raw::{At, Reading};
use crate::config::tree::quoted;

const UNITS: [(&str, f64); 8] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];

/// The time `name`.
pub(crate) fn read(fields: &mut Fields<'_>, name: &'static str, reading: &mut Reading) -> Option<At<Duration>> {
    let text = fields.text(name, reading)?;
    let name = fields.name(name);
    let Some(value) = parse(text.value.trim()) else {
        let message = format!("`{name}` has to be a time, not {}", quoted(text.value.trim()));
        let digits = text.value.trim().parse::<u32>();
        let help =
            digits.map_or_else(|_| "write a number and its unit, such as 90s or 1m30s".to_owned(), |n| format!("write `{name}: {n}s`"));
        reading.problem(&text.place, message, help);
        return None;
    };
    Some(At { value, place: text.place })
}

/// A sum of numbers with units; `0` needs none.
fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() || rest.len() == text.len() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == &rest[..unit])?;
        seconds += number * factor;
        rest = &rest[unit..];
    }
    // The largest time Go holds is 292 years.
    (seconds < 9.2e9).then(|| Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_reads_them() {
        for (text, milliseconds) in
            [("90s", 90_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("1h0m1.5s", 3_601_500), ("250ms", 250), ("0", 0), ("0s", 0)]
        {
            assert_eq!(parse(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "90", "s", "-1s", "1x", "1.2.3s", "1s ", "1e3s", "99999999999h", ".s", "1 s"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
