//! The functions of expressions; what each means stands in `logflow.expressions.operations`.

mod compile;
mod net;
mod numbers;
mod text;
mod times;

use std::borrow::Cow;
use std::cmp::Ordering;

use sha2::{Digest, Sha256};

use super::program::Event;
use super::value::{Number, Value, characters, quotient, utf8};
use crate::digest;
use crate::json::Transcoder;
use crate::keys::Watched;
use crate::mp::MAX_DEPTH;
use crate::out::Out;
use crate::regexes::Regex;
use crate::text::Text;
use crate::time::NANOSECOND;
use crate::timekey::TimeReader;

pub use compile::compile;
use net::{Network, address, cidr};
use numbers::{float, int, round};
use text::{SPACE, affix, owned, replace, search, split, truncate};
use times::{Piece, format_time, parse_time};

pub enum Function {
    Item,
    Slice,
    List,
    Dict,
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

impl Function {
    pub fn call<'a>(&'a self, mut values: Vec<Value<'a>>, event: &mut Event<'a>) -> Value<'a> {
        match self {
            Self::List => bounded(Value::List(values)),
            Self::Dict => dict(values),
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
    let digest = if key.is_empty() { Sha256::digest(&*text) } else { digest::hmac(key, &text) };
    Value::Text(digest::hex(&digest).into())
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
