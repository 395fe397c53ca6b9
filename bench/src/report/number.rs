//! Numbers for people.

use crate::statistics::Spread;

/// With about three digits that matter, and thousands apart: `2`, `0.123`, `4.56`, `78.9`, `12 300`.
pub fn plain(number: f64) -> String {
    let size = number.abs();
    let decimals = match size {
        _ if size.fract() == 0.0 || size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 3,
    };
    let rounded = match size {
        // The last digits of a large number are noise.
        _ if size >= 10_000.0 => (number / 100.0).round() * 100.0,
        _ => number,
    };
    apart(&format!("{rounded:.decimals$}"))
}

/// A median with its quartiles: `4.56 (4.50–4.71)`.
pub fn spread(spread: &Spread) -> String {
    let Spread { low, median, high } = spread;
    format!("{} ({}–{})", plain(*median), plain(*low), plain(*high))
}

/// How many, exactly, with thousands apart.
pub fn count(count: u64) -> String {
    apart(&count.to_string())
}

/// A share of all as percent.
pub fn percent(share: f64) -> String {
    format!("{} %", plain(share * 100.0))
}

/// Bytes, in the unit that suits.
pub fn bytes(bytes: f64) -> String {
    match bytes {
        _ if bytes >= 1024.0 * 1024.0 => format!("{} MiB", plain(bytes / 1024.0 / 1024.0)),
        _ if bytes >= 1024.0 => format!("{} KiB", plain(bytes / 1024.0)),
        _ => format!("{} B", plain(bytes)),
    }
}

fn apart(digits: &str) -> String {
    let (whole, rest) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let (sign, whole) = match whole.strip_prefix('-') {
        Some(whole) => ("-", whole),
        None => ("", whole),
    };
    let mut text = sign.to_owned();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            // A space that does not break the line.
            text.push('\u{a0}');
        }
        text.push(digit);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_matter() {
        let table = [
            (0.0, "0"),
            (32.0, "32"),
            (0.1234, "0.123"),
            (4.567, "4.57"),
            (45.67, "45.7"),
            (456.7, "457"),
            (4567.8, "4\u{a0}568"),
            (1_234_567.0, "1\u{a0}234\u{a0}600"),
            (-1234.0, "-1\u{a0}234"),
        ];
        for (number, text) in table {
            assert_eq!(plain(number), text);
        }
        assert_eq!(count(1_234_567), "1\u{a0}234\u{a0}567");
        assert_eq!(percent(0.987), "98.7 %");
        assert_eq!(bytes(2048.0), "2 KiB");
    }
}
