//! The values of expressions, and how operators treat each kind of them; see `logflow.expressions.values`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

use crate::mp::{self, MAX_DEPTH};
use crate::ndjson::{Writer, key_text};
use crate::out::Out;
use crate::records::plain_text;
use crate::text::to_text;

/// Most characters of text that an operation may make.
pub const MAX_TEXT: usize = 1 << 20;

/// Keys of larger mappings are found by their hashes.
const FEW: usize = 16;

/// Text is UTF-8; an integer lies in [-2**63, 2**64).
#[derive(Clone, Debug, Default)]
pub enum Value<'a> {
    #[default]
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Cow<'a, [u8]>),
    List(Vec<Value<'a>>),
    Map(Vec<(Cow<'a, [u8]>, Value<'a>)>),
}

/// A number; a bool is 0 or 1.
#[derive(Clone, Copy, Debug)]
pub enum Number {
    Int(i128),
    Float(f64),
}

impl Number {
    pub fn float(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(&b)),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b),
            (Self::Int(a), Self::Float(b)) => order_mixed(a, b),
            (Self::Float(a), Self::Int(b)) => order_mixed(b, a).map(Ordering::reverse),
        }
    }
}

/// How an integer and a float compare, exactly.
fn order_mixed(int: i128, float: f64) -> Option<Ordering> {
    if float.is_nan() {
        return None;
    }
    if float.abs() >= 1e30 {
        return Some(if float > 0.0 { Ordering::Less } else { Ordering::Greater });
    }
    let whole = float.trunc();
    let order = int.cmp(&(whole as i128));
    Some(order.then(whole.partial_cmp(&float).expect("neither is NaN")))
}

impl<'a> Value<'a> {
    /// A result of integers, if a record can hold it.
    pub fn int(value: i128) -> Self {
        if (-(1 << 63)..1 << 64).contains(&value) { Self::Int(value) } else { Self::None }
    }

    /// A result of floats, if JSON can hold it.
    pub fn float(value: f64) -> Self {
        if value.is_finite() { Self::Float(value) } else { Self::None }
    }

    /// Text that was made, if it is not too long.
    pub fn made(text: Vec<u8>) -> Self {
        if Self::fits(&text) { Self::Text(text.into()) } else { Self::None }
    }

    /// Whether text is not too long to be made.
    pub fn fits(text: &[u8]) -> bool {
        text.len() <= MAX_TEXT || characters(text) <= MAX_TEXT
    }

    pub fn text(text: &'a [u8]) -> Self {
        Self::Text(text.into())
    }

    /// Decode the packed value at `at`, which was checked; gives also the position after it.
    pub fn decode(data: &'a [u8], at: usize) -> (Self, usize) {
        let (value, next) = mp::read(data, at).expect("checked before");
        let value = match value {
            mp::Value::Nil => Self::None,
            mp::Value::Bool(value) => Self::Bool(value),
            mp::Value::UInt(value) => Self::Int(value.into()),
            mp::Value::Int(value) => Self::Int(value.into()),
            mp::Value::F32(value) => Self::Float(value.into()),
            mp::Value::F64(value) => Self::Float(value),
            mp::Value::Str(text) | mp::Value::Bin(text) => Self::Text(to_text(text)),
            mp::Value::Ext(..) => Self::Text(plain_text(&data[at..next])),
            mp::Value::Array(count) => return Self::decode_list(data, next, count),
            mp::Value::Map(count) => return Self::decode_map(data, next, count),
        };
        (value, next)
    }

    fn decode_list(data: &'a [u8], mut at: usize, count: usize) -> (Self, usize) {
        let mut items = Vec::with_capacity(count.min(data.len() - at));
        for _ in 0..count {
            let (item, next) = Self::decode(data, at);
            items.push(item);
            at = next;
        }
        (Self::List(items), at)
    }

    fn decode_map(data: &'a [u8], mut at: usize, count: usize) -> (Self, usize) {
        let mut pairs: Vec<(Cow<'a, [u8]>, Value<'a>)> = Vec::with_capacity(count.min(data.len() - at));
        let mut places: HashMap<Cow<'a, [u8]>, usize> = HashMap::new();
        for _ in 0..count {
            let middle = mp::skip(data, at, MAX_DEPTH).expect("checked before");
            let key = plain_key(&data[at..middle]);
            let (value, next) = Self::decode(data, middle);
            // Of equal keys, the first one's place and the last one's value count.
            let known = if count <= FEW {
                pairs.iter().position(|(known, _)| *known == key)
            } else {
                let place = *places.entry(key.clone()).or_insert(pairs.len());
                (place < pairs.len()).then_some(place)
            };
            match known {
                Some(place) => pairs[place].1 = value,
                None => pairs.push((key, value)),
            }
            at = next;
        }
        (Self::Map(pairs), at)
    }

    /// The same value, borrowing its text.
    pub fn lend(&'a self) -> Self {
        match self {
            Self::Text(text) => Self::Text(Cow::Borrowed(text)),
            Self::List(items) => Self::List(items.iter().map(Value::lend).collect()),
            Self::Map(pairs) => {
                Self::Map(pairs.iter().map(|(key, value)| (Cow::Borrowed(&**key), value.lend())).collect())
            }
            Self::None => Self::None,
            Self::Bool(value) => Self::Bool(*value),
            Self::Int(value) => Self::Int(*value),
            Self::Float(value) => Self::Float(*value),
        }
    }

    /// The same value, owning its text.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::List(items) => Value::List(items.into_iter().map(Value::into_owned).collect()),
            Self::Map(pairs) => Value::Map(
                pairs
                    .into_iter()
                    .map(|(key, value)| (Cow::Owned(key.into_owned()), value.into_owned()))
                    .collect(),
            ),
            Self::None => Value::None,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::Float(value) => Value::Float(value),
        }
    }

    pub fn pack(&self, out: &mut Out) {
        match self {
            Self::None => out.nil(),
            Self::Bool(value) => out.bool(*value),
            Self::Int(value) => match u64::try_from(*value) {
                Ok(value) => out.uint(value),
                Err(_) => out.int(*value as i64),
            },
            Self::Float(value) => out.float(*value),
            Self::Text(text) => out.str(text),
            Self::List(items) => {
                out.array_head(items.len());
                items.iter().for_each(|item| item.pack(out));
            }
            Self::Map(pairs) => {
                out.map_head(pairs.len());
                for (key, value) in pairs {
                    out.str(key);
                    value.pack(out);
                }
            }
        }
    }

    pub fn is_true(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(pairs) => !pairs.is_empty(),
        }
    }

    pub fn number(&self) -> Option<Number> {
        match self {
            Self::Bool(value) => Some(Number::Int((*value).into())),
            Self::Int(value) => Some(Number::Int(*value)),
            Self::Float(value) => Some(Number::Float(*value)),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&[u8]> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A float that JSON cannot hold is None.
    pub fn finite(self) -> Self {
        if matches!(self, Self::Float(value) if !value.is_finite()) { Self::None } else { self }
    }

    /// How two values compare, if they can be put in order: two numbers, or two texts.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        if let (Self::Text(a), Self::Text(b)) = (self, other) {
            return Some(a.cmp(b));
        }
        self.number()?.order(other.number()?)
    }

    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::List(a), Self::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b)),
            (Self::Map(a), Self::Map(b)) if a.len() > FEW => {
                let known: HashMap<&[u8], &Value<'_>> =
                    b.iter().map(|(key, value)| (&**key, value)).collect();
                let same = |(key, value): &(Cow<'_, [u8]>, Value<'_>)| {
                    known.get(&**key).is_some_and(|other| value.equals(other))
                };
                a.len() == b.len() && a.iter().all(same)
            }
            (Self::Map(a), Self::Map(b)) => {
                let same = |(key, value): &(Cow<'_, [u8]>, Value<'_>)| {
                    b.iter().any(|(known, other)| known == key && value.equals(other))
                };
                a.len() == b.len() && a.iter().all(same)
            }
            _ => match (self.number(), other.number()) {
                (Some(a), Some(b)) => a.order(b) == Some(Ordering::Equal),
                _ => false,
            },
        }
    }

    /// Whether text holds a text, a list an equal item, or a mapping a key.
    pub fn contains(&self, item: &Self) -> bool {
        match self {
            Self::Text(text) => item.as_text().is_some_and(|part| memchr::memmem::find(text, part).is_some()),
            Self::Map(pairs) => {
                item.as_text().is_some_and(|key| pairs.iter().any(|(known, _)| **known == *key))
            }
            Self::List(items) => items.iter().any(|known| known.equals(item)),
            _ => false,
        }
    }

    /// The value under a key, at an index, or the character at an index.
    pub fn item(&self, key: &Self) -> Self {
        match (self, key) {
            (Self::Map(pairs), Self::Text(key)) => {
                let found = pairs.iter().find(|(known, _)| known == key);
                found.map_or(Self::None, |(_, value)| value.clone()).finite()
            }
            (Self::List(items), Self::Int(index)) => {
                place(*index, items.len()).map_or(Self::None, |place| items[place].clone()).finite()
            }
            (Self::Text(text), Self::Int(index)) => {
                let text = utf8(text);
                let found = place(*index, text.chars().count()).and_then(|place| text.chars().nth(place));
                found.map_or(Self::None, |c| Self::Text(c.to_string().into_bytes().into()))
            }
            _ => Self::None,
        }
    }

    /// A part of text or of a list; None as a bound is the beginning or the end.
    pub fn slice(&self, start: &Self, stop: &Self) -> Self {
        let bound = |value: &Self, missing: i128| match value {
            Self::None => Some(missing),
            Self::Int(value) => Some(*value),
            _ => None,
        };
        let (Some(start), Some(stop)) = (bound(start, 0), bound(stop, i128::MAX)) else { return Self::None };
        match self {
            Self::List(items) => {
                let (start, stop) = (clamp(start, items.len()), clamp(stop, items.len()));
                Self::List(items.get(start..stop).unwrap_or_default().to_vec())
            }
            Self::Text(text) => {
                let text = utf8(text);
                let count = text.chars().count();
                let (start, stop) = (clamp(start, count), clamp(stop, count));
                let part: String = text.chars().skip(start).take(stop.saturating_sub(start)).collect();
                Self::Text(part.into_bytes().into())
            }
            _ => Self::None,
        }
    }

    /// Text of the value as JSON; `None` if it is nested too deeply.
    pub fn json(&self) -> Vec<u8> {
        let mut packed = Out::default();
        self.pack(&mut packed);
        let mut writer = Writer::new(packed.len());
        // Lists and mappings are never made deeper than this.
        writer.value(packed.as_slice(), 0, MAX_DEPTH).expect("not too deep");
        writer.out.into_vec()
    }

    /// Text as a record's text has it: nothing for None, compact JSON for what is not text.
    pub fn into_text(self) -> Cow<'a, [u8]> {
        match self {
            Self::Text(text) => text,
            Self::None => Cow::Borrowed(b""),
            other => other.json().into(),
        }
    }

    /// Levels of nesting; 0 for what holds nothing.
    pub fn depth(&self) -> usize {
        match self {
            Self::List(items) => 1 + items.iter().map(Value::depth).max().unwrap_or(0),
            Self::Map(pairs) => 1 + pairs.iter().map(|(_, value)| value.depth()).max().unwrap_or(0),
            _ => 0,
        }
    }
}

/// A key as JSON Lines have it.
pub fn plain_key(packed: &[u8]) -> Cow<'_, [u8]> {
    match mp::read(packed, 0).expect("checked before").0 {
        mp::Value::Str(text) | mp::Value::Bin(text) => to_text(text),
        mp::Value::Ext(..) => plain_text(packed),
        _ => key_text(&plain_text(packed)).to_vec().into(),
    }
}

pub fn utf8(text: &[u8]) -> &str {
    std::str::from_utf8(text).expect("text is UTF-8")
}

/// How many characters a text has.
pub fn characters(text: &[u8]) -> usize {
    // Every byte that does not go on with a character begins one.
    text.iter().filter(|&&b| b & 0xc0 != 0x80).count()
}

fn place(index: i128, count: usize) -> Option<usize> {
    let count = count as i128;
    let place = if index < 0 { index + count } else { index };
    if (0..count).contains(&place) { Some(place as usize) } else { None }
}

fn clamp(bound: i128, count: usize) -> usize {
    let count = count as i128;
    let place = if bound < 0 { bound + count } else { bound };
    place.clamp(0, count) as usize
}

/// The quotient of two integers as the nearest float, as Python has it; the divisor is not 0.
pub fn quotient(a: i128, b: i128) -> f64 {
    const EXACT: u128 = 1 << 53;
    let (size, divisor) = (a.unsigned_abs(), b.unsigned_abs());
    if size == 0 || (size <= EXACT && divisor <= EXACT) {
        return a as f64 / b as f64;
    }
    // At least 62 bits of the quotient, the last of which says whether anything is left.
    let shift = size.leading_zeros();
    let shifted = size << shift;
    let bits = (shifted / divisor) | u128::from(shifted % divisor != 0);
    let value = bits as f64 * 2f64.powi(-(shift as i32));
    if (a < 0) == (b < 0) { value } else { -value }
}

/// The quotient rounded down, and the remainder with the sign of the divisor.
pub fn floor_division(a: Number, b: Number) -> Option<(Number, Number)> {
    if let (Number::Int(a), Number::Int(b)) = (a, b) {
        if b == 0 {
            return None;
        }
        let (mut whole, mut rest) = (a / b, a % b);
        if rest != 0 && (rest < 0) != (b < 0) {
            whole -= 1;
            rest += b;
        }
        return Some((Number::Int(whole), Number::Int(rest)));
    }
    let (a, b) = (a.float(), b.float());
    if b == 0.0 {
        return None;
    }
    let mut rest = a % b;
    let mut division = (a - rest) / b;
    if rest == 0.0 {
        rest = 0f64.copysign(b);
    } else if (b < 0.0) != (rest < 0.0) {
        rest += b;
        division -= 1.0;
    }
    let whole = if division == 0.0 {
        0f64.copysign(a / b)
    } else {
        let floor = division.floor();
        if division - floor > 0.5 { floor + 1.0 } else { floor }
    };
    Some((Number::Float(whole), Number::Float(rest)))
}
