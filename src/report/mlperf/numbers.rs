//! Numbers as C prints them, because readers of LoadGen's logs match on the text.

/// Digits that `%g` keeps.
const SIGNIFICANT: i32 = 6;

/// C's `%g`: six significant digits without trailing zeros, in exponent form below 1e-4 and
/// from 1e6 on; `inf` and `nan` as glibc writes them.
pub fn general(value: f64) -> String {
    if let Some(text) = not_finite(value) {
        return text;
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    // The exponent is that of the rounded number: 999999.5 is 1e+06.
    let rounded = format!("{value:.*e}", SIGNIFICANT as usize - 1);
    let (mantissa, exponent) = rounded
        .split_once('e')
        .expect("exponent form has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a whole number");
    if (-4..SIGNIFICANT).contains(&exponent) {
        let decimals = (SIGNIFICANT - 1 - exponent) as usize;
        return without_trailing_zeros(&format!("{value:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!(
        "{}e{sign}{:02}",
        without_trailing_zeros(mantissa),
        exponent.abs()
    )
}

/// C's `%.*f`.
pub fn fixed(value: f64, decimals: usize) -> String {
    not_finite(value).unwrap_or_else(|| format!("{value:.decimals$}"))
}

fn not_finite(value: f64) -> Option<String> {
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_nan() {
        Some(format!("{sign}nan"))
    } else if value.is_infinite() {
        Some(format!("{sign}inf"))
    } else {
        None
    }
}

fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn general_numbers_are_those_of_printf() {
        // Printed by `printf %g` of GNU C.
        for (value, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (1000.0, "1000"),
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (999_999.5, "1e+06"),
            (999_999.4, "999999"),
            (5_000_000.0, "5e+06"),
            (123_456_789.0, "1.23457e+08"),
            (4422.8, "4422.8"),
            (617.498_21, "617.498"),
            (0.9, "0.9"),
            (0.001, "0.001"),
            (0.000_1, "0.0001"),
            (0.000_012_345_6, "1.23456e-05"),
            (1e-100, "1e-100"),
            (1e300, "1e+300"),
            (1_074.218_75, "1074.22"),
            (-2.5, "-2.5"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(general(value), text);
        }
    }

    #[test]
    fn fixed_numbers_round_the_exact_binary_value() {
        for (value, text) in [
            (0.125, "0.12"),
            (0.375, "0.38"),
            (2.675, "2.67"),
            (0.0, "0.00"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(fixed(value, 2), text);
        }
    }
}
