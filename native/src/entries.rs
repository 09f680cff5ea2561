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

/// Heads of the keys of the record before, and their sizes: records in a row are mostly alike.
///
/// Where a key begins as foretold, its value is looked at without waiting for the key to tell its size.
struct Shape([(u16, u8); 24]);

impl Shape {
    /// Position after the pairs of a record.
    #[inline(always)]
    fn skip(&mut self, data: &[u8], head: Head) -> mp::Read<usize> {
        let mut at = head.first;
        for pair in 0..head.pairs {
            at = match self.0.get_mut(pair) {
                Some((first, size)) if data.get(at).is_some_and(|b| u16::from(*b) == *first) => {
                    mp::whole(data, at + usize::from(*size))?
                }
                known => {
                    let end = mp::skip(data, at, MAX_DEPTH - 1)?;
                    // The head of a short str tells its size.
                    if let (Some(known), 0xa0..=0xbf) = (known, data[at]) {
                        *known = (data[at].into(), (end - at) as u8);
                    }
                    end
                }
            };
            at = mp::skip(data, at, MAX_DEPTH - 1)?;
        }
        Ok(at)
    }
}

/// Call `each(start, head, end)` for every entry.
#[inline(always)]
pub fn walk(data: &[u8], mut each: impl FnMut(usize, Head, usize)) -> Result<(), Error> {
    // No byte is like these.
    let (mut at, mut shape) = (0, Shape([(u16::MAX, 0); 24]));
    while at < data.len() {
        let head = head(data, at)?;
        let end = shape.skip(data, head)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_other_shapes_and_damaged_ones_are_told_apart() {
        let entry = |record: &[u8]| [&[0x92, 0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], record].concat();
        let good =
            [&b"\x81\xa1a\x01"[..], b"\x81\xa1b\xa1c", b"\x82\xa2aa\x01\xa1b\x02", b"\x81\x01\x02", b"\x80"];
        let all: Vec<u8> = good.iter().flat_map(|record| entry(record)).collect();
        assert_eq!(count(&all), Ok(good.len()));
        for damaged in [&b"\x81\xc1\x01"[..], b"\x81\xa1", b"\x81\xa1a", b"\x81\xa1a\xc1"] {
            assert!(count(&[all.clone(), entry(damaged)].concat()).is_err());
            assert!(count(&entry(damaged)).is_err());
        }
    }
}
