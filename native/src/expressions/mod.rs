//! Expressions over packed entries: the twin of `logflow.expressions`.
//!
//! A program is the tree that the Python side made, packed. The top-level fields that it reads are found in one
//! pass over each record; nothing else of the record is decoded.

mod functions;
mod program;
mod value;

use crate::entries;
use crate::error::Error;
use crate::mp::{self, MAX_DEPTH};
use crate::out::Out;

pub use program::{Event, Program};
pub use value::{Value, plain_key};

/// What an expression can read besides the record.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    pub tag: &'a str,
    pub source: Option<&'a str>,
    pub now_ns: i128,
}

/// Entries for which a condition holds, their number, and the others; `None` for the first: all of them.
pub type Divided = (Option<Vec<u8>>, usize, Vec<u8>);

/// Copies runs of entries that go the same way.
struct Division<'a> {
    data: &'a [u8],
    with_rest: bool,
    kept: Vec<u8>,
    rest: Vec<u8>,
    count: usize,
    total: usize,
    run: usize,
    wanted: bool,
}

impl<'a> Division<'a> {
    fn new(data: &'a [u8], with_rest: bool) -> Self {
        let rest = Vec::with_capacity(if with_rest { data.len() } else { 0 });
        Self { data, with_rest, kept: Vec::new(), rest, count: 0, total: 0, run: 0, wanted: true }
    }

    #[inline]
    fn next(&mut self, start: usize, wanted: bool) {
        self.count += usize::from(wanted);
        self.total += 1;
        if wanted != self.wanted {
            self.take(start);
            self.wanted = wanted;
        }
    }

    fn take(&mut self, to: usize) {
        let run = &self.data[self.run..to];
        if self.wanted {
            self.kept.extend_from_slice(run);
        } else if self.with_rest {
            self.rest.extend_from_slice(run);
        }
        self.run = to;
    }

    fn finish(mut self) -> Divided {
        if self.count == self.total {
            return (None, self.count, Vec::new());
        }
        self.take(self.data.len());
        (Some(self.kept), self.count, self.rest)
    }
}

/// Which entries have a hash of at most `most`, a byte for each.
pub fn draw(data: &[u8], seed: u64, most: u64) -> Result<Vec<u8>, Error> {
    let mut marks = Vec::new();
    entries::walk(data, |start, _, end| {
        let hash = xxhash_rust::xxh3::xxh3_64_with_seed(&data[start..end], seed);
        marks.push((hash <= most).into());
    })?;
    Ok(marks)
}

/// Divide entries by their marks.
pub fn divide(data: &[u8], marks: &[u8]) -> Result<Divided, Error> {
    let mut division = Division::new(data, true);
    let mut marks = marks.iter();
    entries::walk(data, |start, _, _| division.next(start, marks.next().is_some_and(|&mark| mark != 0)))?;
    Ok(division.finish())
}

/// Put entries that were divided by `marks` back into their order.
pub fn interleave(kept: &[u8], rest: &[u8], marks: &[u8]) -> Result<Vec<u8>, Error> {
    let mut merged = Vec::with_capacity(kept.len() + rest.len());
    let (mut of_kept, mut of_rest) = (0, 0);
    for run in marks.chunk_by(|a, b| (*a != 0) == (*b != 0)) {
        let (from, at) = if run[0] != 0 { (kept, &mut of_kept) } else { (rest, &mut of_rest) };
        let start = *at;
        for _ in run {
            if *at >= from.len() {
                return Err(Error::malformed("there are fewer entries than marks"));
            }
            let head = entries::head(from, *at)?;
            *at = mp::skip_many(from, head.first, 2 * head.pairs, MAX_DEPTH - 1)?;
        }
        merged.extend_from_slice(&from[start..*at]);
    }
    Ok(merged)
}

impl Program {
    /// Call `each(event, start, end)` for every entry.
    #[inline(always)]
    pub fn each_event<'a>(
        &self, data: &'a [u8], around: Surroundings<'a>, mut each: impl FnMut(&mut Event<'a>, usize, usize),
    ) -> Result<(), Error> {
        let mut event = self.event(around);
        let mut at = 0;
        while at < data.len() {
            let head = entries::head(data, at)?;
            event.begin(head.time_ns());
            let end = mp::each_pair(data, head.first, head.pairs, |at, middle, next| {
                self.note(&mut event, data, at, middle, next);
            })?;
            each(&mut event, at, end);
            at = end;
        }
        Ok(())
    }

    /// Which entries the condition holds for, a byte for each.
    pub fn mark(&self, data: &[u8], around: Surroundings<'_>) -> Result<Vec<u8>, Error> {
        let mut marks = Vec::new();
        self.each_event(data, around, |event, _, _| marks.push(self.holds(event).into()))?;
        Ok(marks)
    }

    /// Divide entries; the others are only collected if they are asked for.
    pub fn divide(&self, data: &[u8], around: Surroundings<'_>, with_rest: bool) -> Result<Divided, Error> {
        let mut division = Division::new(data, with_rest);
        self.each_event(data, around, |event, start, _| division.next(start, self.holds(event)))?;
        Ok(division.finish())
    }

    /// The packed value for each entry.
    pub fn values(&self, data: &[u8], around: Surroundings<'_>) -> Result<Vec<Vec<u8>>, Error> {
        let mut values = Vec::new();
        self.each_event(data, around, |event, _, _| {
            let mut out = Out::default();
            self.pack_one(0, event, &mut out);
            values.push(out.into_vec());
        })?;
        Ok(values)
    }
}
