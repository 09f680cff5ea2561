//! Canonical entries: checking them, counting them, and making them of what others send.
//!
//! ```text
//! 92 d7 00 SSSSSSSS NNNNNNNN record        array of 2: EventTime, map
//! ```

use crate::error::Error;
use crate::mp::{self, MAX_DEPTH, Value};
use crate::out::{ENTRY_HEAD, Out};
use crate::time::NANOSECOND;
use crate::timekey::scaled;

/// A canonical entry: its time, and where its pairs are.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    pub seconds: u32,
    pub nanoseconds: u32,
    pub pairs: usize,
    /// Position of the first pair.
    pub first: usize,
}

impl Head {
    pub fn time_ns(&self) -> u64 {
        u64::from(self.seconds) * 1_000_000_000 + u64::from(self.nanoseconds)
    }
}

fn be32(data: &[u8; ENTRY_HEAD], at: usize) -> u32 {
    u32::from_be_bytes([data[at], data[at + 1], data[at + 2], data[at + 3]])
}

/// Read the head of the canonical entry at `at`.
#[inline(always)]
pub fn head(data: &[u8], at: usize) -> Result<Head, Error> {
    let Some(fixed) = data[at..].first_chunk::<ENTRY_HEAD>() else {
        return Err(not_canonical(at));
    };
    if fixed[..3] != [0x92, 0xd7, 0x00] {
        return Err(not_canonical(at));
    }
    let Some((pairs, first)) = mp::map_head(data, at + ENTRY_HEAD)? else {
        return Err(not_canonical(at));
    };
    Ok(Head { seconds: be32(fixed, 3), nanoseconds: be32(fixed, 7), pairs, first })
}

#[cold]
fn not_canonical(at: usize) -> Error {
    Error::Malformed(format!("the bytes at {at} are not a canonical entry"))
}

/// Call `each(start, head, end)` for every entry.
#[inline(always)]
pub fn walk(data: &[u8], mut each: impl FnMut(usize, Head, usize)) -> Result<(), Error> {
    let mut at = 0;
    while at < data.len() {
        let head = head(data, at)?;
        let end = mp::skip_many(data, head.first, 2 * head.pairs, MAX_DEPTH - 1)?;
        each(at, head, end);
        at = end;
    }
    Ok(())
}

pub fn count(data: &[u8]) -> Result<usize, Error> {
    let mut count = 0;
    walk(data, |_, _, _| count += 1)?;
    Ok(count)
}

pub fn offsets(data: &[u8]) -> Result<Vec<usize>, Error> {
    let mut starts = Vec::new();
    walk(data, |start, _, _| starts.push(start))?;
    Ok(starts)
}

pub fn time_range(data: &[u8]) -> Result<(u64, u64), Error> {
    let mut range: Option<(u64, u64)> = None;
    walk(data, |_, head, _| {
        let time = head.time_ns();
        let (first, last) = range.unwrap_or((time, time));
        range = Some((first.min(time), last.max(time)));
    })?;
    Ok(range.unwrap_or((0, 0)))
}

/// The entries in canonical form (`None`: as they are) and their number.
pub fn normalize(data: &[u8]) -> Result<(Option<Vec<u8>>, usize), Error> {
    // What is canonical so far is copied only when something else is found.
    let mut out: Option<Out> = None;
    let (mut at, mut events) = (0, 0);
    while at < data.len() {
        let canonical =
            data[at..].starts_with(&[0x92, 0xd7, 0x00]) && mp::map_head(data, at + ENTRY_HEAD)?.is_some();
        let end = if canonical {
            let end = mp::skip(data, at + ENTRY_HEAD, MAX_DEPTH)?;
            if let Some(out) = &mut out {
                out.extend(&data[at..end]);
            }
            end
        } else {
            let out = out.get_or_insert_with(|| {
                let mut out = Out::with_capacity(data.len() + data.len() / 4);
                out.extend(&data[..at]);
                out
            });
            normalize_one(data, at, out)?
        };
        at = end;
        events += 1;
    }
    Ok((out.map(Out::into_vec), events))
}

/// Bring the entry at `at` to canonical form; returns its end.
fn normalize_one(data: &[u8], at: usize, out: &mut Out) -> Result<usize, Error> {
    let wrong = |what: &str| Err(Error::Malformed(format!("the entry at {at} {what}")));
    let Some((2, inside)) = mp::array_head(data, at)? else {
        return wrong("is not an array of time and record");
    };
    let (time, record) = match mp::array_head(data, inside)? {
        Some((2, first)) => {
            let (time, metadata) = time(data, first)?;
            (time, mp::skip(data, metadata, MAX_DEPTH)?)
        }
        Some(_) => return wrong("begins with an array that is not time and metadata"),
        None => time(data, inside)?,
    };
    if mp::map_head(data, record)?.is_none() {
        return wrong("holds no map");
    }
    let end = mp::skip(data, record, MAX_DEPTH)?;
    out.put([0x92, 0xd7, 0x00]);
    out.put(time);
    out.extend(&data[record..end]);
    Ok(end)
}

/// Read a time in any form: the 8 bytes of an EventTime, and the position after it.
fn time(data: &[u8], at: usize) -> Result<([u8; 8], usize), Error> {
    let wrong = || Error::Malformed(format!("the time at {at} is not a time"));
    let (value, end) = mp::read(data, at)?;
    let time_ns = match value {
        Value::Ext(0, time) => return Ok((time.try_into().map_err(|_| wrong())?, end)),
        Value::UInt(value) => i128::from(value) * NANOSECOND,
        Value::Int(value) => i128::from(value) * NANOSECOND,
        Value::F32(value) if value.is_finite() => float_ns(f64::from(value)),
        Value::F64(value) if value.is_finite() => float_ns(value),
        _ => return Err(wrong()),
    };
    let mut entry = Out::default();
    entry.entry_head(time_ns);
    Ok((entry.as_slice()[3..].try_into().expect("8 bytes"), end))
}

/// Nanoseconds of a number of seconds; out of range where the seconds are.
fn float_ns(value: f64) -> i128 {
    if value.abs() < 1e20 {
        scaled(value, 9)
    } else if value > 0.0 {
        i128::MAX
    } else {
        i128::MIN
    }
}
