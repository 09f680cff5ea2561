//! Fields moved into a map, and maps divided into fields; see `logflow.engine.api.Engine.modify`.

use std::collections::HashMap;

use super::globs::{Like, key_text};
use super::path::{Path, each_pair, packed_map, pairs};
use super::record::Record;
use crate::expressions::plain_key;
use crate::mp::{self, MAX_DEPTH};
use crate::out::Out;

/// Most bytes that the names of fields may take which one map is divided into.
const MAX_NAMES: usize = 64 << 10;

/// Fields with their values, packed but for the names of new fields.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

fn any(likes: &[Like], text: &[u8]) -> bool {
    likes.iter().any(|like| like.matches(text))
}

fn packed_key(text: &[u8]) -> Vec<u8> {
    let mut out = Out::default();
    out.str(text);
    out.into_vec()
}

/// Move fields of the top level into the map at a path, without what comes before the first gap of their glob.
pub fn nest<'a>(record: &mut Record<'a>, into: &'a Path, likes: &[Like]) -> bool {
    let (itself, inside) = record.root(into);
    let depth = MAX_DEPTH - 2 - inside;
    let moves = |record: &Record<'a>, place: usize| {
        let (key, value) = record.items[place];
        let text = key_text(record.value(key))?;
        let like = likes.iter().find(|like| like.matches(&text))?;
        if itself == Some(place) || mp::skip(record.value(value), 0, depth).is_err() {
            return None;
        }
        let short = &text[like.prefix().len()..];
        Some(if short.is_empty() { text.to_vec() } else { short.to_vec() })
    };
    let names: Vec<Option<Vec<u8>>> = (0..record.items.len()).map(|place| moves(record, place)).collect();
    if names.iter().all(Option::is_none) {
        return false;
    }
    let mut merged = match record.get(into).map(|map| pairs(map).map(Merged::new)) {
        None => Merged::default(),
        Some(Some(merged)) => merged,
        Some(None) => return false,
    };
    for ((_, value), name) in record.items.iter().zip(&names) {
        if let Some(name) = name {
            merged.put(name, record.value(*value));
        }
    }
    let map = merged.pack();
    let before = record.items.clone();
    let mut left = names.iter().map(Option::is_none);
    record.items.retain(|_| left.next().expect("one for each"));
    let made = record.make(&map);
    let done = record.put(into, made);
    if !done {
        record.items = before;
    }
    done
}

/// Pairs of a map, where what comes later takes the place of what has the same key.
#[derive(Default)]
struct Merged {
    pairs: Fields,
    places: HashMap<Vec<u8>, usize>,
}

impl Merged {
    fn new(pairs: Vec<(&[u8], &[u8])>) -> Self {
        let mut merged = Self::default();
        for (key, value) in pairs {
            if let Some(text) = key_text(key) {
                // Of repeated keys the first one is meant.
                merged.places.entry(text.into_owned()).or_insert(merged.pairs.len());
            }
            merged.pairs.push((key.to_vec(), value.to_vec()));
        }
        merged
    }

    fn put(&mut self, text: &[u8], value: &[u8]) {
        if let Some(&place) = self.places.get(text) {
            self.pairs[place].1 = value.to_vec();
            return;
        }
        self.places.insert(text.to_vec(), self.pairs.len());
        self.pairs.push((packed_key(text), value.to_vec()));
    }

    /// The same for a key that is packed already.
    fn put_packed(&mut self, key: &[u8], value: &[u8]) {
        match key_text(key) {
            Some(text) if self.places.contains_key(&*text) => self.put(&text, value),
            text => {
                if let Some(text) = text {
                    self.places.insert(text.into_owned(), self.pairs.len());
                }
                self.pairs.push((key.to_vec(), value.to_vec()));
            }
        }
    }

    fn pack(&self) -> Vec<u8> {
        let pairs: Vec<(&[u8], &[u8])> = self.pairs.iter().map(|(key, value)| (&**key, &**value)).collect();
        packed_map(&pairs)
    }
}

/// Divide maps of the top level into fields, whose names are the keys on the way with `separator` between.
pub fn flatten(record: &mut Record<'_>, likes: &[Like], separator: &str) -> bool {
    let mut leaves: Vec<Option<Fields>> = Vec::with_capacity(record.items.len());
    let mut found = false;
    for (key, value) in &record.items {
        let text = key_text(record.value(*key)).filter(|text| any(likes, text));
        let divided = text.and_then(|text| divide(&text, record.value(*value), separator.as_bytes()));
        found |= divided.is_some();
        leaves.push(divided);
    }
    if !found {
        return false;
    }
    let mut merged = Merged::default();
    for ((key, value), leaves) in record.items.iter().zip(leaves) {
        match leaves {
            Some(leaves) => leaves.iter().for_each(|(name, value)| merged.put(name, value)),
            None => merged.put_packed(record.value(*key), record.value(*value)),
        }
    }
    record.replace(&merged.pairs);
    true
}

/// What is inside a map, by names; `None` if it is no map, empty, or its names would take too much.
fn divide(name: &[u8], map: &[u8], separator: &[u8]) -> Option<Fields> {
    mp::map_head(map, 0).expect("checked before").filter(|(count, _)| *count > 0)?;
    let mut leaves = Vec::new();
    let mut room = MAX_NAMES;
    collect(name, map, separator, &mut room, &mut leaves).then_some(leaves)
}

fn collect(name: &[u8], value: &[u8], separator: &[u8], room: &mut usize, leaves: &mut Fields) -> bool {
    match mp::map_head(value, 0).expect("checked before") {
        Some((count, first)) if count > 0 => {
            let mut fits = true;
            each_pair(value, first, count, |key, inner| {
                fits = fits && {
                    let key = plain_key(key);
                    let longer = [name, separator, &key].concat();
                    *room >= longer.len() && collect(&longer, inner, separator, room, leaves)
                };
            })
            .expect("checked before");
            fits
        }
        _ => {
            // Also a name without characters takes something, as there may be very many.
            let Some(left) = room.checked_sub(name.len() + 1) else { return false };
            *room = left;
            leaves.push((name.to_vec(), value.to_vec()));
            true
        }
    }
}
