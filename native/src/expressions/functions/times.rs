//! Reading and writing times.

use super::compile::{unknown, written};
use crate::error::Error;
use crate::expressions::value::{Value, quotient, utf8};
use crate::mp;
use crate::out::{MAX_TIME_NS, Out};
use crate::pattern::Pattern;
use crate::time::{NANOSECOND, date};
use crate::timekey::{TimeReader, Times};

/// A piece of a time's format.
#[derive(Debug)]
pub enum Piece {
    Text(String),
    Directive(char),
}

/// The reader that `TimeFormat.native` describes.
pub fn time_reader(arguments: &[Value<'_>]) -> Result<TimeReader, Error> {
    let Some(Value::Map(pairs)) = written(arguments, 1) else { return Err(unknown("time format")) };
    let part = |key: &str| pairs.iter().find(|(known, _)| **known == *key.as_bytes()).map(|(_, value)| value);
    if let Some(Value::Int(digits)) = part("digits") {
        return Ok(TimeReader::Unix(*digits as u32));
    }
    let Some(Value::Int(offset_s)) = part("offset_s") else {
        return Err(Error::Unsupported("the offset of the time zone changes with the date".to_owned()));
    };
    match (part("iso8601"), part("pattern")) {
        (Some(Value::Bool(true)), _) => Ok(TimeReader::Iso(*offset_s as i64)),
        (_, Some(Value::Text(pattern))) => {
            Ok(TimeReader::Pattern(Box::new(Pattern::new(utf8(pattern))?), *offset_s as i64))
        }
        _ => Err(unknown("time format")),
    }
}

pub fn pieces(arguments: &[Value<'_>]) -> Vec<Piece> {
    let form = match written(arguments, 1) {
        Some(Value::Text(form)) => utf8(&form).to_owned(),
        _ => "%Y-%m-%dT%H:%M:%S.%fZ".to_owned(),
    };
    let mut pieces = Vec::new();
    let mut rest = form.chars();
    let mut text = String::new();
    while let Some(c) = rest.next() {
        match c {
            '%' => {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.extend(rest.next().map(Piece::Directive));
            }
            c => text.push(c),
        }
    }
    pieces.push(Piece::Text(text));
    pieces
}

pub fn parse_time<'a>(reader: &TimeReader, value: &Value<'a>) -> Value<'a> {
    let mut packed = Out::default();
    value.pack(&mut packed);
    let (plain, _) = mp::read(packed.as_slice(), 0).expect("just packed");
    let time_ns = reader.read(plain, &mut Times::default());
    time_ns.map_or(Value::None, |time_ns| Value::Float(quotient(time_ns.into(), NANOSECOND)))
}

pub fn format_time<'a>(pieces: &[Piece], value: &Value<'a>) -> Value<'a> {
    const LAST_S: i128 = MAX_TIME_NS / NANOSECOND;
    let (whole, micros) = match value {
        Value::Int(seconds) if (0..=LAST_S).contains(seconds) => (*seconds as u64, 0),
        Value::Float(seconds) if (0.0..=LAST_S as f64).contains(seconds) => {
            let whole = seconds.trunc();
            (whole as u64, ((seconds - whole) * 1e6 + 0.5) as u64)
        }
        _ => return Value::None,
    };
    let (seconds, micros) = (whole + micros / 1_000_000, micros % 1_000_000);
    let (year, month, day) = date((seconds / 86_400) as u32);
    let of_day = seconds % 86_400;
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let mut text = String::new();
    for piece in pieces {
        let piece = match piece {
            Piece::Text(piece) => piece.clone(),
            Piece::Directive(letter) => match letter {
                '%' => "%".to_owned(),
                'Y' => format!("{year:04}"),
                'm' => format!("{month:02}"),
                'd' => format!("{day:02}"),
                'j' => format!("{:03}", day_of_year(year, month, day)),
                'H' => format!("{hour:02}"),
                'M' => format!("{minute:02}"),
                'S' => format!("{second:02}"),
                'L' => format!("{:03}", micros / 1000),
                'f' => format!("{micros:06}"),
                's' => seconds.to_string(),
                'F' => format!("{year:04}-{month:02}-{day:02}"),
                'T' => format!("{hour:02}:{minute:02}:{second:02}"),
                _ => "+0000".to_owned(),
            },
        };
        text.push_str(&piece);
    }
    Value::Text(text.into_bytes().into())
}

fn day_of_year(year: u32, month: u32, day: u32) -> i64 {
    let days = |month, day| crate::time::days(year, month, day).expect("a date");
    days(month, day) - days(1, 1) + 1
}
