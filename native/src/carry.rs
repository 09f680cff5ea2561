//! What is open from block to block: joins of partial lines, and events of several lines.
//!
//! ```text
//! {stream: [time_ns, text, cut], ...}      msgpack, keys sorted; text is bin
//! {stream+: [time_ns, last_ns, text, cut, state, lines, attrs, [[time_ns, text, cut], ...]], ...}
//! ```
//!
//! Each of these lists ends with the offset of its first line, where that is wanted.

use crate::error::Error;
use crate::mp::{self, MAX_DEPTH, Value};
use crate::multiline::{Held, OPEN_MARK, Open};
use crate::out::Out;

/// The pieces that one stream's next line begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Join {
    pub stream: Vec<u8>,
    pub time_ns: i128,
    pub text: Vec<u8>,
    /// Whether bytes were left out at its end.
    pub cut: bool,
    /// Offset of its first piece in the file, where that is wanted.
    pub at: Option<u64>,
}

/// All that is open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub joins: Vec<Join>,
    pub opens: Vec<Open>,
}

fn damaged() -> Error {
    Error::malformed("the state of open partial lines is damaged")
}

/// Read what is open.
pub fn load(data: &[u8]) -> Result<State, Error> {
    if data.is_empty() {
        return Ok(State::default());
    }
    load_state(data).map_err(|_| damaged())
}

fn load_state(data: &[u8]) -> Result<State, Error> {
    let mut state = State::default();
    // Of equal keys, which no engine writes, the last one's value counts.
    let mut keys: Vec<&[u8]> = Vec::new();
    let (count, mut at) = mp::map_head(data, 0)?.ok_or_else(damaged)?;
    for _ in 0..count {
        let (Value::Str(key), value) = mp::read(data, at)? else { return Err(damaged()) };
        std::str::from_utf8(key).map_err(|_| damaged())?;
        let (Value::Array(items), first) = mp::read(data, value)? else { return Err(damaged()) };
        if keys.contains(&key) {
            state.joins.retain(|join| join.stream != key);
            state.opens.retain(|open| open.key != key);
        }
        keys.push(key);
        at = if items == 3 || items == 4 {
            let (line, end) = load_line(data, first, items)?;
            let Held { time_ns, text, cut, at } = line;
            state.joins.push(Join { stream: key.to_vec(), time_ns, text, cut, at });
            end
        } else if (items == 8 || items == 9) && key.last() == Some(&OPEN_MARK) {
            let (open, end) = load_open(data, first, key, items)?;
            state.opens.push(open);
            end
        } else {
            return Err(damaged());
        };
    }
    if at == data.len() { Ok(state) } else { Err(damaged()) }
}

fn load_int(data: &[u8], at: usize) -> Result<(i128, usize), Error> {
    match mp::read(data, at)? {
        (Value::UInt(value), end) => Ok((i128::from(value), end)),
        (Value::Int(value), end) => Ok((i128::from(value), end)),
        _ => Err(damaged()),
    }
}

/// Read the offset that may end a list of so many `items`, which has `before` others.
fn load_place(data: &[u8], at: usize, items: usize, before: usize) -> Result<(Option<u64>, usize), Error> {
    if items == before {
        return Ok((None, at));
    }
    match mp::read(data, at)? {
        (Value::UInt(value), end) if items == before + 1 => Ok((Some(value), end)),
        _ => Err(damaged()),
    }
}

fn load_line(data: &[u8], at: usize, items: usize) -> Result<(Held, usize), Error> {
    let (time_ns, at) = load_int(data, at)?;
    let (Value::Bin(text), at) = mp::read(data, at)? else { return Err(damaged()) };
    let (Value::Bool(cut), at) = mp::read(data, at)? else { return Err(damaged()) };
    let (place, end) = load_place(data, at, items, 3)?;
    Ok((Held { time_ns, text: text.to_vec(), cut, at: place }, end))
}

fn load_open(data: &[u8], at: usize, key: &[u8], items: usize) -> Result<(Open, usize), Error> {
    let small = |value: i128| i64::try_from(value).ok().filter(|value| (0..1 << 32).contains(value));
    let (time_ns, at) = load_int(data, at)?;
    let (last_ns, at) = load_int(data, at)?;
    let (Value::Bin(text), at) = mp::read(data, at)? else { return Err(damaged()) };
    let (Value::Bool(cut), at) = mp::read(data, at)? else { return Err(damaged()) };
    let (state, at) = load_int(data, at)?;
    let (lines, at) = load_int(data, at)?;
    let (Value::Bin(attrs), at) = mp::read(data, at)? else { return Err(damaged()) };
    if !attrs.is_empty() && mp::skip(attrs, 0, MAX_DEPTH - 1) != Ok(attrs.len()) {
        return Err(damaged());
    }
    let (Value::Array(count), mut at) = mp::read(data, at)? else { return Err(damaged()) };
    let mut held = Vec::new();
    for _ in 0..count {
        let (Value::Array(items), first) = mp::read(data, at)? else { return Err(damaged()) };
        let (line, end) = load_line(data, first, items)?;
        held.push(line);
        at = end;
    }
    let (key, text, attrs) = (key.to_vec(), text.to_vec(), attrs.to_vec());
    let state = small(state).ok_or_else(damaged)?;
    let lines = small(lines).ok_or_else(damaged)? as usize;
    let (place, end) = load_place(data, at, items, 8)?;
    Ok((Open { key, time_ns, last_ns, text, cut, state, lines, attrs, held, at: place }, end))
}

fn dump_int(out: &mut Out, value: i128) {
    match u64::try_from(value) {
        Ok(value) => out.uint(value),
        // What was read or parsed fits in 64 bits.
        Err(_) => out.int(value as i64),
    }
}

fn dump_line(out: &mut Out, time_ns: i128, text: &[u8], cut: bool, at: Option<u64>) {
    out.array_head(3 + usize::from(at.is_some()));
    dump_int(out, time_ns);
    out.bin(text);
    out.bool(cut);
    if let Some(at) = at {
        out.uint(at);
    }
}

fn dump_open(out: &mut Out, open: &Open) {
    out.array_head(8 + usize::from(open.at.is_some()));
    dump_int(out, open.time_ns);
    dump_int(out, open.last_ns);
    out.bin(&open.text);
    out.bool(open.cut);
    out.int(open.state);
    out.uint(open.lines as u64);
    out.bin(&open.attrs);
    out.array_head(open.held.len());
    for line in &open.held {
        dump_line(out, line.time_ns, &line.text, line.cut, line.at);
    }
    if let Some(at) = open.at {
        out.uint(at);
    }
}

/// Write what is open; nothing when nothing is.
pub fn dump(state: &State) -> Vec<u8> {
    if state.joins.is_empty() && state.opens.is_empty() {
        return Vec::new();
    }
    let joins = state.joins.iter().map(|join| (&join.stream, Err(join)));
    let mut all: Vec<(&Vec<u8>, Result<&Open, &Join>)> =
        joins.chain(state.opens.iter().map(|open| (&open.key, Ok(open)))).collect();
    all.sort_by_key(|(key, _)| *key);
    let mut out = Out::default();
    out.map_head(all.len());
    for (key, value) in all {
        out.str(key);
        match value {
            Ok(open) => dump_open(&mut out, open),
            Err(join) => dump_line(&mut out, join.time_ns, &join.text, join.cut, join.at),
        }
    }
    out.into_vec()
}
