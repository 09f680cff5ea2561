//! Entries as log records of OpenTelemetry; see `logflow.engine.stores.StoreForms.to_otlp`.
//!
//! Records of which something would have to be made text first (keys that are no text or come twice, exts) are left
//! to the Python engine.

use crate::entries::{self, Head};
use crate::error::Error;
use crate::mp::{self, Fault, MAX_DEPTH, Value};
use crate::protobuf::{delimited, delimited_len, head, varint};
use crate::text;

/// Most fields of a map in which keys are compared one by one.
const FEW: usize = 64;
const UID: &[u8] = b"log.record.uid";

pub struct Form<'a> {
    pub groups: usize,
    /// Which group each event belongs to; the first, if not said.
    pub which: Option<Vec<usize>>,
    pub body: Option<&'a str>,
    pub severity: Option<&'a str>,
    pub trace_id: Option<&'a str>,
    pub span_id: Option<&'a str>,
    /// Names an event, together with its place.
    pub uid: &'a [u8],
    pub places: Places,
}

/// Places of events: counted from the first, or as listed.
pub enum Places {
    Count(u64),
    Listed(Vec<u64>),
}

/// Buffers that are used again for each record.
#[derive(Default)]
struct Scratch {
    record: Vec<u8>,
    attributes: Vec<u8>,
    late: Vec<u8>,
    value: Vec<u8>,
}

pub fn to_otlp(data: &[u8], form: &Form<'_>) -> Result<Vec<Vec<u8>>, Error> {
    let mut groups = vec![Vec::new(); form.groups];
    let mut scratch = Scratch::default();
    let (mut at, mut index) = (0, 0);
    while at < data.len() {
        let event = entries::head(data, at)?;
        let place = match &form.places {
            Places::Count(first) => Some(first + index as u64),
            Places::Listed(places) => places.get(index).copied(),
        };
        let group = match &form.which {
            None => Some(0),
            Some(which) => which.get(index).copied(),
        };
        let out = group.and_then(|number| groups.get_mut(number)).ok_or_else(too_few)?;
        at = log_record(data, event, form, &mut scratch)?;
        uid(form.uid, place.ok_or_else(too_few)?, &mut scratch);
        head(2, scratch.record.len() + scratch.attributes.len() + scratch.late.len(), out);
        out.extend_from_slice(&scratch.record);
        out.extend_from_slice(&scratch.attributes);
        out.extend_from_slice(&scratch.late);
        index += 1;
    }
    Ok(groups)
}

fn log_record(data: &[u8], event: Head, form: &Form<'_>, scratch: &mut Scratch) -> Result<usize, Error> {
    let Scratch { record, attributes, late, value } = scratch;
    record.clear();
    attributes.clear();
    late.clear();
    record.push(0x09);
    record.extend_from_slice(&event.time_ns().to_le_bytes());
    let is = |name: Option<&str>, key: &[u8]| name.is_some_and(|name| name.as_bytes() == key);
    let mut keys = Keys::default();
    let mut at = event.first;
    for _ in 0..event.pairs {
        let (key, start) = keys.next(data, at)?;
        value.clear();
        at = any(data, start, value, MAX_DEPTH - 1)?;
        let found = mp::read(data, start)?.0;
        if is(form.severity, key) && severity(found, record) {
        } else if is(form.body, key) {
            delimited(5, value, record);
        } else if is(form.trace_id, key)
            && let Some(id) = identifier::<16>(found)
        {
            delimited(9, &id, late);
        } else if is(form.span_id, key)
            && let Some(id) = identifier::<8>(found)
        {
            delimited(10, &id, late);
        } else {
            key_value(6, key, value, attributes);
        }
    }
    Ok(at)
}

/// The keys of a map, as long as they are text, and each is another one.
#[derive(Default)]
struct Keys<'a>(Vec<&'a [u8]>);

impl<'a> Keys<'a> {
    /// Read a key; returns the position after it.
    fn next(&mut self, data: &'a [u8], at: usize) -> Result<(&'a [u8], usize), Error> {
        let (Value::Str(key), next) = mp::read(data, at)? else { return Err(odd()) };
        if self.0.len() >= FEW || self.0.contains(&key) || !text::is_utf8(key) {
            return Err(odd());
        }
        self.0.push(key);
        Ok((key, next))
    }
}

fn odd() -> Error {
    Error::Unsupported("records with odd keys or values for OTLP".to_owned())
}

/// Write the value at `at` as an `AnyValue`; returns the position after it.
fn any(data: &[u8], at: usize, out: &mut Vec<u8>, depth: usize) -> Result<usize, Error> {
    let (value, mut next) = mp::read(data, at)?;
    match value {
        Value::Nil => {}
        Value::Str(text) | Value::Bin(text) => delimited(1, &text::to_text(text), out),
        Value::Bool(value) => out.extend_from_slice(&[0x10, u8::from(value)]),
        Value::UInt(value) if value > i64::MAX as u64 => {
            delimited(1, itoa::Buffer::new().format(value).as_bytes(), out);
        }
        Value::UInt(value) => {
            out.push(0x18);
            varint(value, out);
        }
        Value::Int(value) => {
            out.push(0x18);
            varint(value as u64, out);
        }
        Value::F32(value) => double(f64::from(value), out),
        Value::F64(value) => double(value, out),
        Value::Ext(..) => return Err(odd()),
        Value::Array(_) | Value::Map(_) if depth == 0 => return Err(Fault::Deep.into()),
        Value::Array(count) => {
            let (mut items, mut item) = (Vec::new(), Vec::new());
            for _ in 0..count {
                item.clear();
                next = any(data, next, &mut item, depth - 1)?;
                delimited(1, &item, &mut items);
            }
            delimited(5, &items, out);
        }
        Value::Map(count) => {
            let (mut pairs, mut item, mut keys) = (Vec::new(), Vec::new(), Keys::default());
            for _ in 0..count {
                let (key, start) = keys.next(data, next)?;
                item.clear();
                next = any(data, start, &mut item, depth - 1)?;
                key_value(1, key, &item, &mut pairs);
            }
            delimited(6, &pairs, out);
        }
    }
    Ok(next)
}

fn double(value: f64, out: &mut Vec<u8>) {
    out.push(0x21);
    out.extend_from_slice(&value.to_le_bytes());
}

fn key_value(number: u8, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    head(number, delimited_len(key.len()) + delimited_len(value.len()), out);
    delimited(1, key, out);
    delimited(2, value, out);
}

fn uid(uid: &[u8], place: u64, scratch: &mut Scratch) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(place).as_bytes();
    scratch.value.clear();
    head(1, uid.len() + digits.len(), &mut scratch.value);
    scratch.value.extend_from_slice(uid);
    scratch.value.extend_from_slice(digits);
    key_value(6, UID, &scratch.value, &mut scratch.attributes);
}

/// Write number and text of a severity, if the value can be one.
fn severity(value: Value<'_>, out: &mut Vec<u8>) -> bool {
    let mut digits = itoa::Buffer::new();
    let text = match value {
        Value::Str(text) | Value::Bin(text) => text::to_text(text),
        Value::UInt(value) => digits.format(value).as_bytes().into(),
        Value::Int(value) => digits.format(value).as_bytes().into(),
        _ => return false,
    };
    if let Some(number) = severity_number(&text.to_ascii_lowercase()) {
        out.extend_from_slice(&[0x10, number]);
    }
    delimited(3, &text, out);
    true
}

fn severity_number(text: &[u8]) -> Option<u8> {
    Some(match text {
        b"trace" | b"10" => 1,
        b"debug" | b"20" => 5,
        b"info" | b"information" | b"informational" | b"30" => 9,
        b"notice" => 10,
        b"warn" | b"warning" | b"40" => 13,
        b"error" | b"err" | b"50" => 17,
        b"critical" | b"crit" => 18,
        b"alert" => 19,
        b"fatal" | b"panic" | b"emerg" | b"emergency" | b"60" => 21,
        _ => return None,
    })
}

/// The bytes that hexadecimal digits stand for, if the value is just as many.
fn identifier<const N: usize>(value: Value<'_>) -> Option<[u8; N]> {
    let (Value::Str(text) | Value::Bin(text)) = value else { return None };
    if text.len() != 2 * N {
        return None;
    }
    let mut id = [0; N];
    for (byte, digits) in id.iter_mut().zip(text.chunks(2)) {
        let digit = |b: u8| (b as char).to_digit(16);
        *byte = (digit(digits[0])? << 4 | digit(digits[1])?) as u8;
    }
    Some(id)
}

fn too_few() -> Error {
    Error::Malformed("there are fewer groups or places than entries".to_owned())
}
