//! Events that were seen a short while ago: the twin of `logflow.engine._python.repeats`.
//!
//! ```text
//! order   │ oldest window ── ... ── newest window │    all windows take the same time, so they end in this order
//! places  hash of a key ─▶ number of its window
//! ```

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;
use crate::expressions::{Program, Surroundings, Value};
use crate::out::Out;

/// Most bytes of entries that are kept to tell of repeats.
pub const MOST_KEPT: usize = 16 << 20;

/// A time in which events of one key are repeats.
struct Window {
    key: u128,
    end_ns: u64,
    repeats: u64,
    kept: Option<(String, Vec<u8>)>,
}

/// A window that has ended: its tag and first repeat, if that was kept, and how many repeats it had.
pub type Ended = (String, Vec<u8>, u64);

#[derive(Default)]
struct Memory {
    places: HashMap<u128, u64>,
    order: VecDeque<Window>,
    /// The number of the oldest window.
    first: u64,
    kept_bytes: usize,
    ended: Vec<Ended>,
    forgotten: u64,
}

/// See `logflow.engine.keyed.Repeats`.
pub struct Repeats {
    program: Program,
    width: usize,
    within_ns: u64,
    most: usize,
    tells: bool,
    /// Two secret hashes, as whoever could find keys of one hash could have others' events dropped.
    hashes: [RandomState; 2],
    memory: Mutex<Memory>,
}

impl Repeats {
    pub fn new(programs: &[Vec<u8>], within_ns: u64, most: usize, tells: bool) -> Result<Self, Error> {
        Ok(Self {
            program: Program::new(programs.iter().map(|packed| &**packed))?,
            width: programs.len(),
            within_ns,
            most,
            tells,
            hashes: [RandomState::new(), RandomState::new()],
            memory: Mutex::default(),
        })
    }

    /// The entries that are no repeats (`None`: all), and their number.
    pub fn apply<'a>(
        &'a self, data: &'a [u8], around: Surroundings<'a>, at_ns: u64,
    ) -> Result<(Option<Vec<u8>>, usize), Error> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.end(at_ns);
        let (mut kept, mut count, mut run, mut key) = (Vec::new(), 0, 0, Out::default());
        self.program.each_event(data, around, |event, start, end| {
            key.truncate(0);
            key.array_head(self.width);
            let mut known = false;
            for value in self.program.evaluate_all(event) {
                known |= !matches!(value, Value::None);
                value.pack(&mut key);
            }
            key.str(around.tag.as_bytes());
            if !known
                || self.is_new(&mut memory, self.hash(key.as_slice()), at_ns, around.tag, &data[start..end])
            {
                count += 1;
            } else {
                kept.extend_from_slice(&data[run..start]);
                run = end;
            }
        })?;
        if run == 0 {
            return Ok((None, count));
        }
        kept.extend_from_slice(&data[run..]);
        Ok((Some(kept), count))
    }

    fn hash(&self, key: &[u8]) -> u128 {
        self.hashes.iter().fold(0, |hash, state| {
            let mut hasher = state.build_hasher();
            hasher.write(key);
            hash << 64 | u128::from(hasher.finish())
        })
    }

    fn is_new(&self, memory: &mut Memory, key: u128, at_ns: u64, tag: &str, entry: &[u8]) -> bool {
        let Some(&place) = memory.places.get(&key) else {
            memory.places.insert(key, memory.first + memory.order.len() as u64);
            let end_ns = at_ns.saturating_add(self.within_ns);
            memory.order.push_back(Window { key, end_ns, repeats: 0, kept: None });
            if memory.order.len() > self.most {
                memory.end_first();
                memory.forgotten += 1;
            }
            return true;
        };
        let room = self.tells && memory.kept_bytes + entry.len() <= MOST_KEPT;
        let window = &mut memory.order[(place - memory.first) as usize];
        window.repeats += 1;
        if room && window.kept.is_none() {
            window.kept = Some((tag.to_owned(), entry.to_vec()));
            memory.kept_bytes += entry.len();
        }
        false
    }

    /// Windows with repeats that have ended at a time (`None`: all windows end), as far as they were kept.
    pub fn ended(&self, at_ns: Option<u64>) -> Vec<Ended> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        memory.end(at_ns.unwrap_or(u64::MAX));
        let ended = std::mem::take(&mut memory.ended);
        memory.kept_bytes -= ended.iter().map(|(_, entry, _)| entry.len()).sum::<usize>();
        ended
    }

    /// How many windows ended early so far, as there were too many.
    pub fn forgotten(&self) -> u64 {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).forgotten
    }
}

impl Memory {
    fn end(&mut self, at_ns: u64) {
        while self.order.front().is_some_and(|window| window.end_ns <= at_ns) {
            self.end_first();
        }
    }

    fn end_first(&mut self) {
        let Some(window) = self.order.pop_front() else { return };
        self.first += 1;
        self.places.remove(&window.key);
        if let Some((tag, entry)) = window.kept {
            self.ended.push((tag, entry, window.repeats));
        }
    }
}
