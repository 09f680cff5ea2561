//! Keys of a map while it is written: which are there, and which are there twice.

use crate::mp::{self, MAX_DEPTH};
use crate::out::Out;

/// Maps with more keys are searched for doubles after they were written, by sorting.
pub const FEW_KEYS: usize = 24;

/// Which of the watched keys a map has: one bit each.
pub type Seen = u8;

/// Keys that the caller asks about: up to eight; the same may stand there twice.
#[derive(Clone, Debug, Default)]
pub struct Watched(Vec<Vec<u8>>);

impl Watched {
    pub fn new(keys: Vec<Vec<u8>>) -> Self {
        assert!(keys.len() <= 8);
        Self(keys)
    }

    pub fn keys(&self) -> &[Vec<u8>] {
        &self.0
    }

    #[inline]
    pub fn find(&self, key: &[u8]) -> Seen {
        let mut seen = 0;
        for (i, watched) in self.0.iter().enumerate() {
            seen |= Seen::from(**watched == *key) << i;
        }
        seen
    }
}

/// A map as it is written: a byte kept for the header at `head`, then the pairs up to the end of the output.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    pub head: usize,
    pub count: usize,
    pub seen: Seen,
}

impl Object {
    /// Start a map at the end of the output.
    pub fn open(out: &mut Out) -> Self {
        let head = out.len();
        out.push(0);
        Self { head, count: 0, seen: 0 }
    }

    /// Write the header, now that the number of pairs is known.
    #[inline]
    pub fn close(&self, out: &mut Out) {
        out.patch_head(self.head, self.count, true);
    }

    /// Walk over the pairs to that of `key`: where its key begins, its value begins, and its value ends.
    pub fn find(&self, out: &Out, key: &[u8]) -> Option<(usize, usize, usize)> {
        let data = out.as_slice();
        let mut at = self.head + 1;
        for _ in 0..self.count {
            let (start, end) = key_range(out, at);
            let next = mp::skip(data, end, MAX_DEPTH).expect("written here");
            if &data[start..end] == key {
                return Some((at, end, next));
            }
            at = next;
        }
        None
    }
}

/// A key in the output.
#[derive(Clone, Copy)]
struct Key {
    /// First bytes and length: keys that differ here differ.
    sign: u64,
    start: usize,
    end: usize,
}

/// The keys of the maps that are being written, those of the innermost last.
#[derive(Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    /// Where the last key lies.
    pub fn last(&self) -> (usize, usize) {
        let key = self.0.last().expect("a key was noted");
        (key.start, key.end)
    }

    /// Take down the key whose text is `out[start..end]`.
    #[inline]
    pub fn note(&mut self, out: &Out, start: usize, end: usize) {
        let text = &out.as_slice()[start..end];
        let mut sign = [0; 8];
        let n = text.len().min(7);
        sign[..n].copy_from_slice(&text[..n]);
        sign[7] = text.len() as u8;
        self.0.push(Key { sign: u64::from_le_bytes(sign), start, end });
    }

    /// Whether the last key stands already in the same map, whose keys begin at `base`; where there are many,
    /// this is found out by `drop_doubles`.
    #[inline]
    pub fn is_double(&self, out: &Out, base: usize) -> bool {
        let (last, before) = self.0[base..].split_last().expect("a key was noted");
        if before.len() >= FEW_KEYS {
            return false;
        }
        let text = |key: &Key| &out.as_slice()[key.start..key.end];
        before.iter().any(|key| key.sign == last.sign && text(key) == text(last))
    }
}

/// Where the text of the packed key at `at` lies.
#[inline]
pub fn key_range(out: &Out, at: usize) -> (usize, usize) {
    match mp::read(out.as_slice(), at) {
        Ok((mp::Value::Str(text), next)) => (next - text.len(), next),
        _ => unreachable!("keys are written as strings"),
    }
}

/// Bring `count` pairs, which are the rest of the output from `from` on, to unique keys: the place of a
/// key's first pair, the value of its last. Returns how many are left.
#[cold]
pub fn drop_doubles(out: &mut Out, from: usize, count: usize) -> usize {
    let packed = &out.as_slice()[from..];
    let mut pairs: Vec<(&[u8], &[u8])> = Vec::with_capacity(count);
    let mut at = 0;
    for _ in 0..count {
        let value = mp::skip(packed, at, MAX_DEPTH).expect("written here");
        let next = mp::skip(packed, value, MAX_DEPTH).expect("written here");
        pairs.push((&packed[at..value], &packed[value..next]));
        at = next;
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_key(|&i| pairs[i].0);
    // Of each key: where its value comes from; nowhere for the later ones.
    let mut value_of: Vec<Option<usize>> = vec![None; count];
    let mut left = 0;
    for run in order.chunk_by(|&a, &b| pairs[a].0 == pairs[b].0) {
        // The sort is stable, so a run is in the order of the text.
        value_of[run[0]] = run.last().copied();
        left += 1;
    }
    if left < count {
        let mut unique = Vec::with_capacity(packed.len());
        for (value, (key, _)) in value_of.iter().zip(&pairs) {
            if let Some(value) = value {
                unique.extend_from_slice(key);
                unique.extend_from_slice(pairs[*value].1);
            }
        }
        out.truncate(from);
        out.extend(&unique);
    }
    left
}
