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

pub use program::Program;
pub use value::Value;

/// What an expression can read besides the record.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    pub tag: &'a str,
    pub source: Option<&'a str>,
    pub now_ns: i128,
}

/// Entries for which a condition holds, their number, and the others; `None` for the first: all of them.
pub type Divided = (Option<Vec<u8>>, usize, Vec<u8>);

impl Program {
    /// Call `each(start, value)` for every entry.
    fn run<'a>(
        &'a self, data: &'a [u8], around: Surroundings<'a>, mut each: impl FnMut(usize, Value<'a>),
    ) -> Result<(), Error> {
        let mut event = self.event(around);
        let mut at = 0;
        while at < data.len() {
            let head = entries::head(data, at)?;
            event.begin(head.time_ns());
            let mut place = head.first;
            for _ in 0..head.pairs {
                let middle = mp::skip(data, place, MAX_DEPTH - 1)?;
                let next = mp::skip(data, middle, MAX_DEPTH - 1)?;
                self.note(&mut event, &data[place..middle], &data[middle..next]);
                place = next;
            }
            each(at, self.evaluate(&mut event));
            at = place;
        }
        Ok(())
    }

    /// Divide entries; the others are only collected if they are asked for.
    pub fn divide(&self, data: &[u8], around: Surroundings<'_>, with_rest: bool) -> Result<Divided, Error> {
        let mut kept = Vec::new();
        let mut rest = Vec::with_capacity(if with_rest { data.len() } else { 0 });
        let (mut count, mut total) = (0, 0);
        // Where the run of entries begins that go the same way, and which way.
        let (mut run, mut wanted) = (0, true);
        let mut take = |from: usize, to: usize, wanted: bool| {
            if wanted {
                kept.extend_from_slice(&data[from..to]);
            } else if with_rest {
                rest.extend_from_slice(&data[from..to]);
            }
        };
        self.run(data, around, |start, value| {
            let is_wanted = value.is_true();
            count += usize::from(is_wanted);
            total += 1;
            if is_wanted != wanted {
                take(run, start, wanted);
                (run, wanted) = (start, is_wanted);
            }
        })?;
        if count == total {
            return Ok((None, count, Vec::new()));
        }
        take(run, data.len(), wanted);
        Ok((Some(kept), count, rest))
    }

    /// The packed value for each entry.
    pub fn values(&self, data: &[u8], around: Surroundings<'_>) -> Result<Vec<Vec<u8>>, Error> {
        let mut values = Vec::new();
        self.run(data, around, |_, value| {
            let mut out = Out::default();
            value.pack(&mut out);
            values.push(out.into_vec());
        })?;
        Ok(values)
    }
}
