//! Figures as people read them at a glance. What was not measured is a dash.

/// What stands for a figure that there is not.
pub(super) const NONE: &str = "–";

/// So many a second.
pub(super) fn rate(per_s: f64) -> String {
    match per_s {
        per_s if per_s < 9.95 => format!("{per_s:.1}"),
        per_s if per_s < 99_999.5 => format!("{per_s:.0}"),
        per_s => format!("{:.0}k", per_s / 1e3),
    }
}

/// A part of a whole.
pub(super) fn percent(ratio: Option<f64>) -> String {
    match ratio {
        None => NONE.to_owned(),
        // What is not all must not look as if it were.
        Some(ratio) if ratio < 1.0 => format!("{:.1} %", (ratio * 100.0).min(99.9)),
        Some(_) => "100 %".to_owned(),
    }
}

/// A time in ms.
pub(super) fn time(ms: Option<f64>) -> String {
    let Some(ms) = ms else {
        return NONE.to_owned();
    };
    let (amount, unit) = in_unit(ms);
    format!("{amount} {unit}")
}

/// Two times in ms, such as a median and a quantile.
pub(super) fn times(one: Option<f64>, other: Option<f64>) -> String {
    if let (Some(one), Some(other)) = (one, other) {
        let ((one, unit), (other, same)) = (in_unit(one), in_unit(other));
        if unit == same {
            return format!("{one} / {other} {unit}");
        }
    }
    format!("{} / {}", time(one), time(other))
}

fn in_unit(ms: f64) -> (String, &'static str) {
    match ms {
        ms if ms < 9.95 => (format!("{ms:.1}"), "ms"),
        ms if ms < 999.5 => (format!("{ms:.0}"), "ms"),
        ms if ms < 99_950.0 => (format!("{:.1}", ms / 1e3), "s"),
        ms => (format!("{:.0}", ms / 1e3), "s"),
    }
}

/// Bytes, in the unit in which there are few.
pub(super) fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if amount < 1_023.95 {
            break;
        }
        amount /= 1_024.0;
        unit = larger;
    }
    match amount {
        amount if amount < 9.95 && unit != "B" => format!("{amount:.1} {unit}"),
        amount => format!("{amount:.0} {unit}"),
    }
}

/// The time of day of a moment in ms since the Unix epoch, in UTC.
pub(super) fn clock(ms: i64) -> String {
    let seconds = ms.div_euclid(1_000).rem_euclid(24 * 60 * 60);
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_and_have_their_unit() {
        for (per_s, text) in [
            (0.0, "0.0"),
            (9.94, "9.9"),
            (9.96, "10"),
            (123_456.0, "123k"),
        ] {
            assert_eq!(rate(per_s), text);
        }
        for (ratio, text) in [
            (None, "–"),
            (Some(0.5), "50.0 %"),
            (Some(0.99999), "99.9 %"),
        ] {
            assert_eq!(percent(ratio), text);
        }
        assert_eq!(percent(Some(1.0)), "100 %");
        assert_eq!(times(Some(0.71), Some(31.4)), "0.7 / 31 ms");
        assert_eq!(times(Some(250.0), Some(1_250.0)), "250 ms / 1.2 s");
        assert_eq!(times(None, None), "– / –");
        assert_eq!(time(Some(999.6)), "1.0 s");
        for (amount, text) in [
            (0.0, "0 B"),
            (1_023.0, "1023 B"),
            (1_536.0, "1.5 KiB"),
            (268_435_456.0, "256 MiB"),
            (1e18, "909495 TiB"),
        ] {
            assert_eq!(bytes(amount), text);
        }
    }

    #[test]
    fn a_moment_is_a_time_of_day() {
        assert_eq!(clock(1_763_863_200_123), "02:00:00");
        assert_eq!(clock(-1), "23:59:59");
    }
}
