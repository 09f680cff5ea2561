//! Functions of numbers.

use super::text::SPACE;
use crate::expressions::value::{Number, Value, utf8};

pub fn int<'a>(value: &Value<'a>) -> Value<'a> {
    if let Value::Text(text) = value {
        let digits = utf8(text).trim_matches(SPACE);
        let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
        let valid = (1..=40).contains(&unsigned.len()) && unsigned.bytes().all(|b| b.is_ascii_digit());
        // More than 38 digits may not fit, unless they begin with zeros.
        let trimmed = unsigned.trim_start_matches('0');
        if !valid || trimmed.len() > 38 {
            return Value::None;
        }
        let number: i128 = if trimmed.is_empty() { 0 } else { trimmed.parse().expect("digits") };
        return Value::int(if digits.starts_with('-') { -number } else { number });
    }
    match value.number() {
        Some(Number::Int(value)) => Value::int(value),
        Some(Number::Float(value)) if value.abs() < 1e30 => Value::int(value.trunc() as i128),
        _ => Value::None,
    }
}

pub fn float<'a>(value: &Value<'a>) -> Value<'a> {
    if let Value::Text(text) = value {
        let digits = utf8(text).trim_matches(SPACE);
        return if is_decimal(digits) {
            digits.parse().map_or(Value::None, Value::float)
        } else {
            Value::None
        };
    }
    value.number().map_or(Value::None, |number| Value::float(number.float()))
}

/// `[+-](digits[.digits*] | .digits)[e[+-]digits]`, with the bounds of the Python side.
fn is_decimal(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let digits = |text: &str, least: usize, most: usize| {
        (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
    };
    let good = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction, 1, 400),
        Some((whole, fraction)) => digits(whole, 1, 400) && digits(fraction, 0, 400),
        None => digits(mantissa, 1, 400),
    };
    good && exponent.is_none_or(|exponent| digits(exponent, 1, 5))
}

pub fn round<'a>(value: &Value<'a>, digits: Option<usize>) -> Value<'a> {
    match (value, digits) {
        (Value::Int(value), _) => Value::Int(*value),
        (Value::Float(value), None) if value.abs() < 1e30 => Value::int(value.round_ties_even() as i128),
        (Value::Float(value), Some(digits)) => round_decimal(*value, digits),
        _ => Value::None,
    }
}

/// The nearest number with so many decimal digits; halves, which only some floats are exactly, to even.
fn round_decimal<'a>(value: f64, digits: usize) -> Value<'a> {
    // Every float is written exactly with at most 1,074 digits after the point.
    let exact = format!("{value:.1100}");
    let point = exact.find('.').expect("written with a fraction");
    let (kept, cut) = exact.split_at(point + 1 + digits);
    let half = cut.starts_with('5') && cut[1..].bytes().all(|b| b == b'0');
    let up = if half {
        kept.bytes().rev().find(u8::is_ascii_digit).is_some_and(|b| (b - b'0') % 2 == 1)
    } else {
        cut.as_bytes()[0] >= b'5'
    };
    let mut decimal: Vec<u8> = kept.bytes().collect();
    if up {
        let mut place = decimal.len();
        loop {
            if place == 0 || decimal[place - 1] == b'-' {
                decimal.insert(place, b'1');
                break;
            }
            place -= 1;
            match decimal[place] {
                b'.' => {}
                b'9' => decimal[place] = b'0',
                _ => {
                    decimal[place] += 1;
                    break;
                }
            }
        }
    }
    utf8(&decimal).parse().map_or(Value::None, Value::float)
}
