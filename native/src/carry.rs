//! The open joins of partial lines, as they are carried from block to block.
//!
//! ```text
//! {stream: [time_ns, text, cut], ...}      msgpack, streams sorted; text is bin
//! ```

use crate::error::Error;
use crate::mp::{self, MAX_DEPTH, Value};
use crate::out::Out;

/// The pieces that one stream's next line begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    pub stream: Vec<u8>,
    pub time_ns: i128,
    pub text: Vec<u8>,
    /// Whether bytes were left out at its end.
    pub cut: bool,
}

fn damaged() -> Error {
    Error::malformed("the state of open partial lines is damaged")
}

/// Read the joins, in their order.
pub fn load(data: &[u8]) -> Result<Vec<Join>, Error> {
    if data.is_empty() {
        return Ok(Vec::new());
    }
    load_joins(data).map_err(|_| damaged())
}

fn load_joins(data: &[u8]) -> Result<Vec<Join>, Error> {
    let mut joins: Vec<Join> = Vec::new();
    let (count, mut at) = mp::map_head(data, 0)?.ok_or_else(damaged)?;
    for _ in 0..count {
        let (join, next) = load_join(data, at)?;
        match joins.iter_mut().find(|other| other.stream == join.stream) {
            Some(other) => *other = join,
            None => joins.push(join),
        }
        at = next;
    }
    if at == data.len() { Ok(joins) } else { Err(damaged()) }
}

fn load_join(data: &[u8], at: usize) -> Result<(Join, usize), Error> {
    let (Value::Str(stream), at) = mp::read(data, at)? else { return Err(damaged()) };
    let (Value::Array(3), at) = mp::read(data, at)? else { return Err(damaged()) };
    let (time, at) = mp::read(data, at)?;
    let (Value::Bin(text), at) = mp::read(data, at)? else { return Err(damaged()) };
    let (Value::Bool(cut), at) = mp::read(data, at)? else { return Err(damaged()) };
    std::str::from_utf8(stream).map_err(|_| damaged())?;
    let time_ns = match time {
        Value::UInt(value) => i128::from(value),
        Value::Int(value) => i128::from(value),
        _ => return Err(damaged()),
    };
    Ok((Join { stream: stream.to_vec(), time_ns, text: text.to_vec(), cut }, at))
}

/// Write the joins; nothing when there are none.
pub fn dump(joins: &mut [Join]) -> Vec<u8> {
    if joins.is_empty() {
        return Vec::new();
    }
    joins.sort_by(|a, b| a.stream.cmp(&b.stream));
    let mut out = Out::default();
    out.map_head(joins.len());
    for join in joins {
        out.str(&join.stream);
        out.array_head(3);
        match u64::try_from(join.time_ns) {
            Ok(time_ns) => out.uint(time_ns),
            // What was read or parsed fits in 64 bits.
            Err(_) => out.int(join.time_ns as i64),
        }
        out.bin(&join.text);
        out.bool(join.cut);
    }
    debug_assert!(mp::skip(out.as_slice(), 0, MAX_DEPTH) == Ok(out.len()));
    out.into_vec()
}
