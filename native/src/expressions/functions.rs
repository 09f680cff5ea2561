//! The functions of expressions; what each means stands in `logflow.expressions.operations`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::{IpAddr, Ipv6Addr};

use sha2::{Digest, Sha256};

use super::program::Event;
use super::value::{MAX_TEXT, Number, Value, characters, quotient, utf8};
use crate::error::Error;
use crate::json::Transcoder;
use crate::keys::Watched;
use crate::mp::{self, MAX_DEPTH};
use crate::out::{MAX_TIME_NS, Out};
use crate::pattern::Pattern;
use crate::regexes::Regex;
use crate::text::Text;
use crate::time::{NANOSECOND, date};
use crate::timekey::{TimeReader, Times};

const SPACE: [char; 6] = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];

/// A network: its first address and the number of bits that its addresses share.
#[derive(Debug)]
pub struct Network(IpAddr, u32);

/// A piece of a time's format.
#[derive(Debug)]
pub enum Piece {
    Text(String),
    Directive(char),
}

pub enum Function {
    Item,
    Slice,
    List,
    Dict,
    Join,
    Negate,
    Plus,
    Len,
    Lower,
    Upper,
    Strip,
    Split,
    Replace,
    StartsWith,
    EndsWith,
    Contains,
    Truncate,
    Matches(Box<Regex>),
    /// A pattern, a group of it, and the number of its scratch memory.
    Search(Box<Regex>, usize, usize),
    Int,
    Float,
    Str,
    Bool,
    Round(Option<usize>),
    Abs,
    Min,
    Max,
    Tag,
    Time,
    Source,
    Now,
    ParseTime(Box<TimeReader>),
    FormatTime(Vec<Piece>),
    IpIn(Vec<Network>),
    Cidr,
    Sha256,
    Hash,
    ParseJson,
    ToJson,
    Get,
    Keys,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Function")
    }
}

/// Compile a function; gives also the places of the arguments that became a part of it.
pub fn compile(
    name: &str, arguments: &[Value<'_>], regexes: &mut usize,
) -> Result<(Function, Vec<usize>), Error> {
    let plain = |function| Ok((function, Vec::new()));
    match name {
        "item" => plain(Function::Item),
        "slice" => plain(Function::Slice),
        "list" => plain(Function::List),
        "dict" => plain(Function::Dict),
        "join" => plain(Function::Join),
        "neg" => plain(Function::Negate),
        "pos" => plain(Function::Plus),
        "len" => plain(Function::Len),
        "lower" => plain(Function::Lower),
        "upper" => plain(Function::Upper),
        "strip" => plain(Function::Strip),
        "split" => plain(Function::Split),
        "replace" => plain(Function::Replace),
        "startswith" => plain(Function::StartsWith),
        "endswith" => plain(Function::EndsWith),
        "contains" => plain(Function::Contains),
        "truncate" => plain(Function::Truncate),
        "int" => plain(Function::Int),
        "float" => plain(Function::Float),
        "str" => plain(Function::Str),
        "bool" => plain(Function::Bool),
        "abs" => plain(Function::Abs),
        "min" => plain(Function::Min),
        "max" => plain(Function::Max),
        "tag" => plain(Function::Tag),
        "time" => plain(Function::Time),
        "source" => plain(Function::Source),
        "now" => plain(Function::Now),
        "cidr" => plain(Function::Cidr),
        "sha256" => plain(Function::Sha256),
        "hash" => plain(Function::Hash),
        "parse_json" => plain(Function::ParseJson),
        "to_json" => plain(Function::ToJson),
        "get" => plain(Function::Get),
        "keys" => plain(Function::Keys),
        "matches" => Ok((Function::Matches(Box::new(regex(arguments)?)), vec![1])),
        "search" => {
            let regex = regex(arguments)?;
            let group = match written(arguments, 2) {
                Some(Value::Text(name)) => named_group(&regex, &name)?,
                Some(Value::Int(number)) => usize::try_from(number).map_err(|_| unknown("group"))?,
                _ => 0,
            };
            *regexes += 1;
            Ok((Function::Search(Box::new(regex), group, *regexes - 1), vec![1, 2]))
        }
        "round" => {
            let digits = match written(arguments, 1) {
                Some(Value::Int(digits)) => Some(usize::try_from(digits).map_err(|_| unknown("argument"))?),
                _ => None,
            };
            Ok((Function::Round(digits), vec![1]))
        }
        "parse_time" => Ok((Function::ParseTime(Box::new(time_reader(arguments)?)), vec![1, 2])),
        "format_time" => Ok((Function::FormatTime(pieces(arguments)), vec![1])),
        "ip_in" => Ok((Function::IpIn(networks(arguments)?), (1..arguments.len()).collect())),
        _ => Err(Error::Unsupported(format!("the function {name} of expressions is written in Python"))),
    }
}

fn unknown(what: &str) -> Error {
    Error::Unsupported(format!("an expression has a {what} that only Python knows"))
}

/// The value of an argument that is written out.
fn written<'a>(arguments: &'a [Value<'a>], place: usize) -> Option<Value<'a>> {
    match arguments.get(place)? {
        Value::List(parts) => match &parts[..] {
            [Value::Text(kind), value] if **kind == *b"constant" => Some(value.lend()),
            _ => None,
        },
        _ => None,
    }
}

fn regex(arguments: &[Value<'_>]) -> Result<Regex, Error> {
    match written(arguments, 1) {
        Some(Value::Text(pattern)) => Regex::new(utf8(&pattern)),
        _ => Err(unknown("pattern")),
    }
}

fn named_group(regex: &Regex, name: &[u8]) -> Result<usize, Error> {
    let found = regex.names.iter().find(|(_, known)| known.as_bytes() == name);
    found.map(|(number, _)| *number).ok_or_else(|| unknown("group"))
}

/// The reader that `TimeFormat.native` describes.
fn time_reader(arguments: &[Value<'_>]) -> Result<TimeReader, Error> {
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

fn pieces(arguments: &[Value<'_>]) -> Vec<Piece> {
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

fn networks(arguments: &[Value<'_>]) -> Result<Vec<Network>, Error> {
    let mut networks = Vec::new();
    for place in 1..arguments.len() {
        match written(arguments, place) {
            Some(Value::List(several)) => {
                for one in &several {
                    networks.push(network(one)?);
                }
            }
            Some(one) => networks.push(network(&one)?),
            None => return Err(unknown("network")),
        }
    }
    Ok(networks)
}

fn network(value: &Value<'_>) -> Result<Network, Error> {
    let text = value.as_text().map(utf8).ok_or_else(|| unknown("network"))?;
    let (first, bits) = text.split_once('/').unwrap_or((text, ""));
    let first: IpAddr = first.parse().map_err(|_| unknown("network"))?;
    let bits = if bits.is_empty() { size(first) } else { bits.parse().map_err(|_| unknown("network"))? };
    if bits > size(first) { Err(unknown("network")) } else { Ok(Network(first, bits)) }
}

fn size(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address as a number whose first bit is the address's first.
fn number_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
        IpAddr::V6(address) => address.to_bits(),
    }
}

fn mask(bits: u32) -> u128 {
    if bits == 0 { 0 } else { u128::MAX << (128 - bits) }
}

impl Network {
    fn holds(&self, address: IpAddr) -> bool {
        self.0.is_ipv4() == address.is_ipv4() && (number_of(self.0) ^ number_of(address)) & mask(self.1) == 0
    }
}

impl Function {
    pub fn call<'a>(&'a self, mut values: Vec<Value<'a>>, event: &mut Event<'a>) -> Value<'a> {
        match self {
            Self::List => bounded(Value::List(values)),
            Self::Dict => dict(values),
            Self::Join => {
                let mut text = Vec::new();
                for value in values {
                    text.extend_from_slice(&value.into_text());
                }
                Value::made(text)
            }
            Self::Min => extreme(values, Ordering::Less),
            Self::Max => extreme(values, Ordering::Greater),
            Self::Tag => Value::text(event.around.tag.as_bytes()),
            Self::Time => Value::Float(quotient(event.time_ns.into(), NANOSECOND)),
            Self::Source => event.around.source.map_or(Value::None, |source| Value::text(source.as_bytes())),
            Self::Now => Value::Float(quotient(event.around.now_ns, NANOSECOND)),
            Self::Search(regex, group, scratch) => search(regex, *group, *scratch, &values[0], event),
            _ => {
                // No function takes more; those that are missing are as if they were None.
                let count = values.len();
                values.resize_with(3, Value::default);
                let [first, second, third] = values.try_into().expect("resized");
                self.of_three(count, first, &second, &third)
            }
        }
    }

    fn of_three<'a>(
        &'a self, count: usize, first: Value<'a>, second: &Value<'a>, third: &Value<'a>,
    ) -> Value<'a> {
        match self {
            Self::Item => first.item(second),
            Self::Slice => first.slice(second, third),
            Self::Get => match first.item(second) {
                Value::None => third.clone(),
                found => found,
            },
            Self::Negate => match first.number() {
                Some(Number::Int(value)) => Value::int(-value),
                Some(Number::Float(value)) => Value::float(-value),
                None => Value::None,
            },
            Self::Plus => match first.number() {
                Some(Number::Int(value)) => Value::Int(value),
                Some(Number::Float(value)) => Value::Float(value),
                None => Value::None,
            },
            Self::Len => match &first {
                Value::Text(text) => Value::Int(characters(text) as i128),
                Value::List(items) => Value::Int(items.len() as i128),
                Value::Map(pairs) => Value::Int(pairs.len() as i128),
                _ => Value::None,
            },
            Self::Contains => Value::Bool(first.contains(second)),
            Self::Matches(regex) => Value::Bool(first.as_text().is_some_and(|text| regex.is_match(text))),
            Self::StartsWith => affix(&first, second, <[u8]>::starts_with),
            Self::EndsWith => affix(&first, second, <[u8]>::ends_with),
            Self::Lower | Self::Upper | Self::Strip | Self::Split | Self::Replace | Self::Truncate => {
                self.of_text(count, &first, second, third)
            }
            Self::Int => int(&first),
            Self::Float => float(&first),
            Self::Str => match first {
                Value::None => Value::None,
                value => Value::Text(value.into_text()),
            },
            Self::Bool => Value::Bool(first.is_true()),
            Self::Round(digits) => round(&first, *digits),
            Self::Abs => match first.number() {
                Some(Number::Int(value)) => Value::int(value.abs()),
                Some(Number::Float(value)) => Value::float(value.abs()),
                None => Value::None,
            },
            Self::ParseTime(reader) => parse_time(reader, &first),
            Self::FormatTime(pieces) => format_time(pieces, &first),
            Self::IpIn(networks) => {
                let address = address(&first);
                Value::Bool(
                    address.is_some_and(|address| networks.iter().any(|network| network.holds(address))),
                )
            }
            Self::Cidr => cidr(&first, second),
            Self::Sha256 => sha256(first, second),
            Self::Hash => match first {
                Value::None => Value::None,
                value => Value::Int(xxhash_rust::xxh3::xxh3_64(&value.into_text()).into()),
            },
            Self::ParseJson => first.as_text().map_or(Value::None, parse_json),
            Self::ToJson => Value::made(first.json()),
            Self::Keys => match first {
                Value::Map(pairs) => {
                    Value::List(pairs.into_iter().map(|(key, _)| Value::Text(key)).collect())
                }
                _ => Value::None,
            },
            _ => unreachable!("handled by call"),
        }
    }

    fn of_text<'a>(
        &self, count: usize, first: &Value<'a>, second: &Value<'a>, third: &Value<'a>,
    ) -> Value<'a> {
        let Some(bytes) = first.as_text() else { return Value::None };
        let text = utf8(bytes);
        match self {
            Self::Lower => Value::made(text.to_lowercase().into_bytes()),
            Self::Upper => Value::made(text.to_uppercase().into_bytes()),
            Self::Strip => match (count, second) {
                (1, _) => owned(text.trim_matches(SPACE)),
                (_, Value::Text(characters)) if characters.is_empty() => owned(text.trim_matches(SPACE)),
                (_, Value::Text(characters)) => {
                    let characters: Vec<char> = utf8(characters).chars().collect();
                    owned(text.trim_matches(&characters[..]))
                }
                _ => Value::None,
            },
            Self::Split => split(text, second, third),
            Self::Replace => match (second, third) {
                (Value::Text(old), Value::Text(new)) => replace(text, utf8(old), utf8(new)),
                _ => Value::None,
            },
            _ => truncate(text, count, second, third),
        }
    }
}

fn owned<'a>(text: &str) -> Value<'a> {
    Value::Text(text.as_bytes().to_vec().into())
}

/// A list or a mapping that was made, unless it is nested more deeply than a record may be.
fn bounded(value: Value<'_>) -> Value<'_> {
    if value.depth() > MAX_DEPTH { Value::None } else { value }
}

fn dict<'a>(values: Vec<Value<'a>>) -> Value<'a> {
    let mut pairs: Vec<(Cow<'a, [u8]>, Value<'a>)> = Vec::with_capacity(values.len() / 2);
    let mut values = values.into_iter();
    while let (Some(key), Some(value)) = (values.next(), values.next()) {
        let Value::Text(key) = key else { continue };
        match pairs.iter_mut().find(|(known, _)| *known == key) {
            Some((_, old)) => *old = value,
            None => pairs.push((key, value)),
        }
    }
    bounded(Value::Map(pairs))
}

fn extreme<'a>(values: Vec<Value<'a>>, wanted: Ordering) -> Value<'a> {
    let mut several = match <[Value<'a>; 1]>::try_from(values) {
        Ok([Value::List(items)]) => items,
        Ok([one]) => vec![one],
        Err(values) => values,
    }
    .into_iter();
    let Some(first) = several.next() else { return Value::None };
    let Some(Ordering::Equal) = first.order(&first) else { return Value::None };
    let mut best = first;
    for value in several {
        match value.order(&best) {
            Some(order) if order == wanted => best = value,
            Some(_) => {}
            None => return Value::None,
        }
    }
    best
}

fn search<'a>(
    regex: &Regex, group: usize, scratch: usize, value: &Value<'a>, event: &mut Event<'a>,
) -> Value<'a> {
    let Some(text) = value.as_text() else { return Value::None };
    let scratch = event.scratches[scratch].get_or_insert_with(|| regex.scratch());
    if !regex.search(scratch, text) {
        return Value::None;
    }
    scratch.group(group).map_or(Value::None, |(start, end)| Value::Text(text[start..end].to_vec().into()))
}

fn affix<'a>(text: &Value<'a>, affixes: &Value<'a>, has: impl Fn(&[u8], &[u8]) -> bool) -> Value<'a> {
    let Some(text) = text.as_text() else { return Value::Bool(false) };
    let one = |affix: &Value<'_>| affix.as_text().is_some_and(|affix| has(text, affix));
    Value::Bool(match affixes {
        Value::List(several) => several.iter().any(one),
        affix => one(affix),
    })
}

fn split<'a>(text: &str, separator: &Value<'a>, most: &Value<'a>) -> Value<'a> {
    let most = match most {
        Value::None => usize::MAX,
        Value::Int(most) if *most >= 0 => usize::try_from(*most).unwrap_or(usize::MAX),
        _ => return Value::None,
    };
    match separator {
        Value::None => {
            let mut parts = Vec::new();
            let mut rest = text.trim_matches(SPACE);
            while !rest.is_empty() {
                match rest.find(SPACE).filter(|_| parts.len() < most) {
                    Some(end) => {
                        parts.push(owned(&rest[..end]));
                        rest = rest[end..].trim_start_matches(SPACE);
                    }
                    None => {
                        parts.push(owned(rest));
                        break;
                    }
                }
            }
            Value::List(parts)
        }
        Value::Text(separator) if !separator.is_empty() => {
            Value::List(text.splitn(most.saturating_add(1), utf8(separator)).map(owned).collect())
        }
        _ => Value::None,
    }
}

fn replace<'a>(text: &str, old: &str, new: &str) -> Value<'a> {
    if old.is_empty() {
        return owned(text);
    }
    // The size is known before anything is made.
    let count = text.matches(old).count() as i128;
    let grows = characters(new.as_bytes()) as i128 - characters(old.as_bytes()) as i128;
    if characters(text.as_bytes()) as i128 + count * grows > MAX_TEXT as i128 {
        return Value::None;
    }
    Value::Text(text.replace(old, new).into_bytes().into())
}

fn truncate<'a>(text: &str, count: usize, length: &Value<'a>, suffix: &Value<'a>) -> Value<'a> {
    let Value::Int(length) = length else { return Value::None };
    let suffix = match suffix {
        Value::Text(suffix) => utf8(suffix),
        Value::None if count < 3 => "",
        _ => return Value::None,
    };
    if *length < 0 {
        return Value::None;
    }
    let length = usize::try_from(*length).unwrap_or(usize::MAX);
    match text.char_indices().nth(length) {
        Some((end, _)) => Value::made([&text.as_bytes()[..end], suffix.as_bytes()].concat()),
        None => owned(text),
    }
}

fn int<'a>(value: &Value<'a>) -> Value<'a> {
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

fn float<'a>(value: &Value<'a>) -> Value<'a> {
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

fn round<'a>(value: &Value<'a>, digits: Option<usize>) -> Value<'a> {
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

fn parse_time<'a>(reader: &TimeReader, value: &Value<'a>) -> Value<'a> {
    let mut packed = Out::default();
    value.pack(&mut packed);
    let (plain, _) = mp::read(packed.as_slice(), 0).expect("just packed");
    let time_ns = reader.read(plain, &mut Times::default());
    time_ns.map_or(Value::None, |time_ns| Value::Float(quotient(time_ns.into(), NANOSECOND)))
}

fn format_time<'a>(pieces: &[Piece], value: &Value<'a>) -> Value<'a> {
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

fn address(value: &Value<'_>) -> Option<IpAddr> {
    utf8(value.as_text()?).parse().ok()
}

fn cidr<'a>(value: &Value<'a>, bits: &Value<'a>) -> Value<'a> {
    let (Some(address), Value::Int(bits)) = (address(value), bits) else { return Value::None };
    let Ok(bits) = u32::try_from(*bits) else { return Value::None };
    if bits > size(address) {
        return Value::None;
    }
    let first = number_of(address) & mask(bits);
    let text = match address {
        IpAddr::V4(_) => format!("{}/{bits}", std::net::Ipv4Addr::from_bits((first >> 96) as u32)),
        IpAddr::V6(_) => format!("{}/{bits}", compressed(Ipv6Addr::from_bits(first))),
    };
    Value::Text(text.into_bytes().into())
}

/// An address with its longest run of zeros left out, and never with a part in decimal digits.
fn compressed(address: Ipv6Addr) -> String {
    let segments = address.segments();
    let (mut best, mut run) = (0..0, 0..0);
    for (place, segment) in segments.iter().enumerate() {
        run = if *segment != 0 { place + 1..place + 1 } else { run.start..place + 1 };
        if run.len() > best.len() {
            best = run.clone();
        }
    }
    let join = |part: &[u16]| part.iter().map(|one| format!("{one:x}")).collect::<Vec<_>>().join(":");
    if best.len() < 2 {
        return join(&segments);
    }
    format!("{}::{}", join(&segments[..best.start]), join(&segments[best.end..]))
}

fn sha256<'a>(value: Value<'a>, key: &Value<'a>) -> Value<'a> {
    let key: &[u8] = match key {
        Value::None => b"",
        Value::Text(key) => key,
        _ => return Value::None,
    };
    if let Value::None = value {
        return Value::None;
    }
    let text = value.into_text();
    let digest = if key.is_empty() { Sha256::digest(&*text) } else { hmac(key, &text) };
    Value::Text(digest.iter().flat_map(|b| format!("{b:02x}").into_bytes()).collect::<Vec<u8>>().into())
}

/// HMAC-SHA-256 (RFC 2104).
fn hmac(key: &[u8], text: &[u8]) -> sha2::digest::Output<Sha256> {
    let mut block = [0; 64];
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize()
}

fn parse_json<'a>(text: &[u8]) -> Value<'a> {
    let mut padded = text.to_vec();
    padded.extend_from_slice(&crate::text::SENTINEL);
    let mut out = Out::default();
    let text = Text { src: &padded, start: 0, end: text.len(), utf8: true };
    match Transcoder::new(Watched::new(Vec::new())).any(text, &mut out) {
        Ok(object) => {
            object.close(&mut out);
            Value::decode(out.as_slice(), 0).0.into_owned()
        }
        Err(_) => Value::None,
    }
}
