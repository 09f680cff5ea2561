//! Fields of the top level that are set in packed records, all else of which is copied as it stands.

use super::path::{Path, Step};
use super::wanted::Wanted;
use super::{Name, Target};
use crate::entries::Head;
use crate::mp::{self, MAX_DEPTH};
use crate::out::Out;

/// Fields of the top level, each another one.
pub struct Splice {
    names: Vec<Name>,
    wanted: Wanted,
}

/// What becomes of one record.
pub struct Spliced {
    /// Where the value of each field is; of equal keys the first one counts.
    places: Vec<Option<(usize, usize)>>,
    /// The fields that are set, and where their new values are in `made`.
    set: Vec<(usize, usize, usize)>,
    made: Out,
}

impl Splice {
    /// `None` if a path leads deeper, or two are the same.
    pub fn new(paths: &[Path]) -> Option<Self> {
        let (mut names, mut wanted): (Vec<Name>, _) = (Vec::new(), Wanted::default());
        for path in paths {
            let (None, [Step::Key(Target { name, .. })]) = (&path.exact, &path.steps[..]) else {
                return None;
            };
            if names.contains(name) {
                return None;
            }
            wanted.push(&name.text);
            names.push(name.clone());
        }
        Some(Self { names, wanted })
    }

    pub fn begin(&self) -> Spliced {
        Spliced { places: vec![None; self.names.len()], set: Vec::new(), made: Out::default() }
    }

    /// Take down where the pair at `data[at..next]`, whose value begins at `middle`, has its value.
    #[inline(always)]
    pub fn note(&self, spliced: &mut Spliced, data: &[u8], at: usize, middle: usize, next: usize) {
        let is = |number: usize| self.names[number].is_packed(&data[at..middle]);
        self.wanted.find(data, at, middle, is, |number| {
            spliced.places[number].get_or_insert((middle, next));
        });
    }

    /// Write the record with what was set: in its place, or at the end.
    pub fn write(&self, spliced: &Spliced, data: &[u8], head: Head, end: usize, out: &mut Out) {
        let replaced = |(number, start, stop): &(usize, usize, usize)| {
            spliced.places[*number].map(|place| (place, *start, *stop))
        };
        let mut within: Vec<_> = spliced.set.iter().filter_map(replaced).collect();
        within.sort_unstable();
        out.map_head(head.pairs + spliced.set.len() - within.len());
        let mut done = head.first;
        for ((middle, next), start, stop) in within {
            out.extend(&data[done..middle]);
            out.extend(&spliced.made[start..stop]);
            done = next;
        }
        out.extend(&data[done..end]);
        for (number, start, stop) in &spliced.set {
            if spliced.places[*number].is_none() {
                out.extend(self.wanted.packed(*number));
                out.extend(&spliced.made[*start..*stop]);
            }
        }
    }
}

impl Spliced {
    pub fn clear(&mut self) {
        self.places.fill(None);
        self.set.clear();
        self.made.truncate(0);
    }

    /// Set a field to what `pack` writes, unless that is nothing or nested too deeply.
    #[inline]
    pub fn set(&mut self, number: usize, pack: impl FnOnce(&mut Out) -> bool) {
        let start = self.made.len();
        if pack(&mut self.made) && mp::skip(&self.made, start, MAX_DEPTH - 1).is_ok() {
            self.set.push((number, start, self.made.len()));
        }
    }
}
