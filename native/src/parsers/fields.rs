//! Fields whose values are text, and the types that the configuration gives them.

use crate::keys::{self, FEW_KEYS, Keys, Object, Watched};
use crate::out::Out;

/// Type of a field; what is not of the type stays text. See `logflow.parsers.base.convert`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Str,
    Int,
    Float,
    Bool,
}

/// Types of fields by their names.
#[derive(Clone, Debug, Default)]
pub struct Types(pub Vec<(Vec<u8>, Kind)>);

impl Types {
    #[inline]
    pub fn find(&self, key: &[u8]) -> Kind {
        self.0.iter().find(|(name, _)| name == key).map_or(Kind::Str, |&(_, kind)| kind)
    }
}

/// Writes the fields of one record.
pub struct Fields<'a> {
    out: &'a mut Out,
    keys: &'a mut Keys,
    watched: &'a Watched,
    types: &'a Types,
    object: Object,
    double: bool,
}

impl<'a> Fields<'a> {
    pub fn open(out: &'a mut Out, keys: &'a mut Keys, watched: &'a Watched, types: &'a Types) -> Self {
        keys.clear();
        let object = Object::open(out);
        Self { out, keys, watched, types, object, double: false }
    }

    fn key(&mut self, key: &[u8]) {
        self.out.str(key);
        let end = self.out.len();
        self.keys.note(self.out, end - key.len(), end);
        self.double |= self.keys.is_double(self.out, 0);
        self.object.seen |= self.watched.find(key);
        self.object.count += 1;
    }

    /// Write a field of text, or of what its type makes of it.
    pub fn text(&mut self, key: &[u8], value: &[u8]) {
        self.key(key);
        write_as(self.types.find(key), value, self.out);
    }

    /// Write a field that is true.
    pub fn yes(&mut self, key: &[u8]) {
        self.key(key);
        self.out.bool(true);
    }

    pub fn count(&self) -> usize {
        self.object.count
    }

    pub fn finish(self) -> Object {
        let mut object = self.object;
        if self.double || object.count > FEW_KEYS {
            object.count = keys::drop_doubles(self.out, object.head + 1, object.count);
        }
        object
    }
}

/// Write text as a type.
#[inline]
pub fn write_as(kind: Kind, text: &[u8], out: &mut Out) {
    let written = match kind {
        Kind::Str => false,
        Kind::Int => write_int(text, out),
        Kind::Float => write_float(text, out),
        Kind::Bool => write_bool(text, out),
    };
    if !written {
        out.str(text);
    }
}

/// `[+-]?digits`, at most 25 of them, from -2**63 to 2**64 - 1.
fn write_int(text: &[u8], out: &mut Out) -> bool {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 25 || !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let value = digits.iter().fold(0_i128, |value, b| value * 10 + i128::from(b - b'0'));
    let value = if negative { -value } else { value };
    if let Ok(value) = u64::try_from(value) {
        out.uint(value);
    } else if let Ok(value) = i64::try_from(value) {
        out.int(value);
    } else {
        return false;
    }
    true
}

/// `[+-]?(digits[.digits*]|.digits)([eE][+-]?digits)?`, finite.
fn write_float(text: &[u8], out: &mut Out) -> bool {
    let negative = text.first() == Some(&b'-');
    let text = &text[usize::from(matches!(text.first(), Some(b'-' | b'+')))..];
    if !matches!(text.first(), Some(b'.' | b'0'..=b'9')) {
        return false;
    }
    // What the library reads beyond this grammar begins with a letter or a sign.
    match fast_float2::parse::<f64, _>(text) {
        Ok(value) if value.is_finite() => {
            out.float(if negative { -value } else { value });
            true
        }
        _ => false,
    }
}

fn write_bool(text: &[u8], out: &mut Out) -> bool {
    let is = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
    if is(["true", "yes", "on", "1"]) {
        out.bool(true);
    } else if is(["false", "no", "off", "0"]) {
        out.bool(false);
    } else {
        return false;
    }
    true
}
