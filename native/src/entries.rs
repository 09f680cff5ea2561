//! Canonical entries: checking them, counting them, and making them of what others send.
//!
//! ```text
//! 92 d7 00 SSSSSSSS NNNNNNNN record        array of 2: EventTime, map
//! ```

use crate::error::Error;
use crate::mp::{self, MAX_DEPTH};
use crate::out::ENTRY_HEAD;

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
