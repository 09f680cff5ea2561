//! Events in groups, by what expressions give for them: the twin of `logflow.engine._python.groups`.

use std::collections::HashMap;

use crate::entries;
use crate::error::Error;
use crate::expressions::{Program, Surroundings};
use crate::mp::{self, MAX_DEPTH};
use crate::out::{ENTRY_HEAD, Out};
use crate::records::{Packed, Path, Record};

/// See `logflow.engine.keyed.Groups`; `ids` are four bytes each, little-endian.
#[derive(Debug, Default)]
pub struct Groups {
    pub keys: Vec<Vec<u8>>,
    pub counts: Vec<usize>,
    pub sizes: Vec<usize>,
    pub ids: Vec<u8>,
}

/// So many keys are compared one by one, which is faster than a hash.
const FEW: usize = 8;

/// Finds the group of a key.
#[derive(Default)]
pub struct Index {
    ids: HashMap<Vec<u8>, usize>,
    last: Option<usize>,
}

impl Index {
    /// The number of a key's group; `keys` has those that there are, and gets what is new.
    #[inline]
    pub fn find(&mut self, key: &[u8], keys: &mut Vec<Vec<u8>>) -> usize {
        if let Some(last) = self.last
            && keys[last] == key
        {
            return last; // neighbours are often alike
        }
        let few = &keys[..keys.len().min(FEW)];
        let known = few.iter().position(|known| known == key);
        let id = match known.or_else(|| if keys.len() > FEW { self.ids.get(key).copied() } else { None }) {
            Some(id) => id,
            None => {
                keys.push(key.to_vec());
                self.ids.insert(key.to_vec(), keys.len() - 1);
                keys.len() - 1
            }
        };
        self.last = Some(id);
        id
    }
}

/// See `logflow.engine.keyed.Grouping`.
pub struct Grouping {
    program: Program,
    width: usize,
}

impl Grouping {
    /// Group by expressions, each described as `Program::new` takes it.
    pub fn new(programs: &[Vec<u8>]) -> Result<Self, Error> {
        Ok(Self { program: Program::new(programs.iter().map(|packed| &**packed))?, width: programs.len() })
    }

    pub fn apply<'a>(&'a self, data: &'a [u8], around: Surroundings<'a>) -> Result<Groups, Error> {
        let (mut groups, mut index, mut key) = (Groups::default(), Index::default(), Out::default());
        self.program.each_event(data, around, |event, start, end| {
            key.truncate(0);
            key.array_head(self.width);
            (0..self.width).for_each(|number| self.program.pack_one(number, event, &mut key));
            let id = index.find(key.as_slice(), &mut groups.keys);
            groups.add(id, end - start);
        })?;
        Ok(groups)
    }
}

impl Groups {
    fn add(&mut self, id: usize, size: usize) {
        if id == self.counts.len() {
            self.counts.push(0);
            self.sizes.push(0);
        }
        self.counts[id] += 1;
        self.sizes[id] += size;
        self.ids.extend_from_slice(&(id as u32).to_le_bytes());
    }
}

/// The groups of events, one after another; `None` when there are no more, or one is beyond `groups`.
pub fn ids(packed: &[u8], groups: usize) -> impl Iterator<Item = usize> {
    packed
        .chunks_exact(4)
        .map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]]) as usize)
        .take_while(move |id| *id < groups)
}

fn too_few() -> Error {
    Error::malformed("there are fewer groups than entries")
}

/// What `admit` let through.
pub struct Admitted {
    /// `None`: all entries.
    pub entries: Option<Vec<u8>>,
    pub count: usize,
    pub taken: Vec<i64>,
    pub refused: Vec<usize>,
}

/// See `logflow.engine.api.Engine.admit`.
pub fn admit(data: &[u8], packed: &[u8], allowed: &[i64], by_bytes: bool) -> Result<Admitted, Error> {
    let mut groups = ids(packed, allowed.len());
    let (mut taken, mut refused) = (vec![0; allowed.len()], vec![0; allowed.len()]);
    let (mut kept, mut count, mut run) = (Vec::new(), 0, 0);
    let mut missing = false;
    entries::walk(data, |start, _, end| {
        let Some(id) = groups.next() else {
            missing = true;
            return;
        };
        if taken[id] < allowed[id] {
            taken[id] += if by_bytes { (end - start) as i64 } else { 1 };
            count += 1;
        } else {
            refused[id] += 1;
            kept.extend_from_slice(&data[run..start]);
            run = end;
        }
    })?;
    if missing {
        return Err(too_few());
    }
    let entries = (run > 0).then(|| {
        kept.extend_from_slice(&data[run..]);
        kept
    });
    Ok(Admitted { entries, count, taken, refused })
}

/// See `logflow.engine.keyed.Placement`.
pub struct Placement {
    pub paths: Vec<Path>,
}

impl Placement {
    /// Put the values of each event's group; an empty one is none.
    pub fn apply(&self, data: &[u8], packed: &[u8], values: &[Vec<Vec<u8>>]) -> Result<Vec<u8>, Error> {
        let mut groups = ids(packed, values.len());
        let mut out = Out::with_capacity(data.len() + data.len() / 4);
        let mut record = Record::default();
        let mut at = 0;
        while at < data.len() {
            let head = entries::head(data, at)?;
            let id = groups.next().ok_or_else(too_few)?;
            if values[id].iter().all(Vec::is_empty) {
                let end = mp::skip_many(data, head.first, 2 * head.pairs, MAX_DEPTH - 1)?;
                out.extend(&data[at..end]);
                at = end;
                continue;
            }
            let end = record.read(data, head, |_, _| {})?;
            for (path, value) in self.paths.iter().zip(&values[id]).filter(|(_, value)| !value.is_empty()) {
                record.put(path, Packed::Lent(value));
            }
            out.extend(&data[at..at + ENTRY_HEAD]);
            record.write(&mut out);
            at = end;
        }
        Ok(out.into_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(record: &[u8]) -> Vec<u8> {
        [&[0x92, 0xd7, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], record].concat()
    }

    #[test]
    fn fewer_ids_than_entries_are_refused() {
        let data = [entry(b"\x80"), entry(b"\x80")].concat();
        assert!(admit(&data, &[0; 4], &[5], false).is_err());
        assert!(admit(&data, &[0, 0, 0, 0, 1, 0, 0, 0], &[5], false).is_err());
        assert!(Placement { paths: Vec::new() }.apply(&data, &[0; 4], &[Vec::new()]).is_err());
    }
}
