//! Globs of fields: which fields they match, and records with or without those; see `logflow.paths`.

use super::path::{each_pair, items};
use super::record::Record;
use crate::mp::{self, Value};
use crate::out::Out;
use crate::text;

/// Text with gaps: between the pieces there may be any text.
#[derive(Clone, Debug)]
pub struct Like(pub Vec<String>);

impl Like {
    pub fn matches(&self, text: &[u8]) -> bool {
        let Some((first, rest)) = self.0.split_first() else { return false };
        let Some(mut left) = text.strip_prefix(first.as_bytes()) else { return false };
        let Some((last, middle)) = rest.split_last() else { return left.is_empty() };
        for piece in middle {
            match memchr::memmem::find(left, piece.as_bytes()) {
                Some(at) => left = &left[at + piece.len()..],
                None => return false,
            }
        }
        left.ends_with(last.as_bytes())
    }

    /// What comes before the first gap; nothing if there is none.
    pub fn prefix(&self) -> &str {
        if self.0.len() > 1 { &self.0[0] } else { "" }
    }
}

/// A step of a glob.
#[derive(Clone, Debug)]
pub enum GlobStep {
    Key(Like),
    Index(i64),
    AnyItem,
    /// Any number of steps.
    Deep,
}

#[derive(Clone, Debug)]
pub struct Glob {
    /// Top-level keys that are meant, too.
    pub whole: Option<Like>,
    pub steps: Vec<GlobStep>,
}

/// After a step: globs of which some steps were taken, and how many of them.
#[derive(Clone, Debug, Default)]
pub struct States {
    open: Vec<(usize, usize)>,
    /// Whether all steps of a glob were taken.
    pub matched: bool,
}

/// Several globs.
#[derive(Clone, Debug)]
pub struct Globs {
    globs: Vec<Glob>,
    start: States,
}

impl States {
    fn clear(&mut self) {
        self.open.clear();
        self.matched = false;
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }
}

impl Globs {
    pub fn new(globs: Vec<Glob>) -> Self {
        let mut made = Self { globs, start: States::default() };
        let mut start = States::default();
        for glob in 0..made.globs.len() {
            made.enter(glob, 0, &mut start);
        }
        made.start = start;
        made
    }

    /// The states at the record itself.
    pub fn start(&self) -> &States {
        &self.start
    }

    fn enter(&self, glob: usize, mut step: usize, to: &mut States) {
        loop {
            match self.globs[glob].steps.get(step) {
                None => {
                    to.matched = true;
                    return;
                }
                Some(GlobStep::Deep) => {
                    if !to.open.contains(&(glob, step)) {
                        to.open.push((glob, step));
                    }
                    step += 1;
                }
                Some(_) => {
                    if !to.open.contains(&(glob, step)) {
                        to.open.push((glob, step));
                    }
                    return;
                }
            }
        }
    }

    fn step(&self, from: &States, to: &mut States, takes: impl Fn(&GlobStep) -> bool) {
        to.clear();
        for &(glob, step) in &from.open {
            match &self.globs[glob].steps[step] {
                GlobStep::Deep => self.enter(glob, step, to),
                other if takes(other) => self.enter(glob, step + 1, to),
                _ => {}
            }
        }
    }

    /// The states under a key; one that is no text is only passed by `**`.
    pub fn under(&self, from: &States, key: &[u8], top: bool, to: &mut States) {
        let text = key_text(key);
        let text = text.as_deref();
        self.step(
            from,
            to,
            |step| matches!((step, text), (GlobStep::Key(like), Some(text)) if like.matches(text)),
        );
        if top && let Some(text) = text {
            let whole = |glob: &Glob| glob.whole.as_ref().is_some_and(|like| like.matches(text));
            to.matched |= self.globs.iter().any(whole);
        }
    }

    /// The states at an item of an array.
    pub fn at(&self, from: &States, index: usize, count: usize, to: &mut States) {
        self.step(from, to, |step| match step {
            GlobStep::AnyItem => true,
            GlobStep::Index(wanted) => super::path::place(*wanted, count) == Some(index),
            _ => false,
        });
    }

    /// Take what matches out of a record; says whether there was any.
    pub fn prune(&self, record: &mut Record<'_>) -> bool {
        let (mut states, mut out) = (States::default(), Out::default());
        let mut changed = false;
        let mut place = 0;
        while place < record.items.len() {
            let (key, value) = record.items[place];
            self.under(&self.start, record.value(key), true, &mut states);
            if states.matched || self.start.matched {
                record.items.remove(place);
                changed = true;
                continue;
            }
            if !states.is_empty() {
                out.truncate(0);
                if self.prune_value(record.value(value), &states, &mut out) {
                    record.items[place].1 = record.make(out.as_slice());
                    changed = true;
                }
            }
            place += 1;
        }
        changed
    }

    /// Write a value without what matches in it; says whether there was any.
    fn prune_value(&self, value: &[u8], states: &States, out: &mut Out) -> bool {
        let start = out.len();
        let mut changed = false;
        let mut inner = States::default();
        let mut one = |globs: &Self, inner: &States, packed: &[u8], out: &mut Out| {
            if inner.is_empty() {
                out.extend(packed);
            } else {
                changed |= globs.prune_value(packed, inner, out);
            }
        };
        let mut left = 0;
        if let Some((count, first)) = mp::map_head(value, 0).expect("checked before") {
            out.push(0);
            each_pair(value, first, count, |key, packed| {
                self.under(states, key, false, &mut inner);
                if !inner.matched {
                    left += 1;
                    out.extend(key);
                    one(self, &inner, packed, out);
                }
            })
            .expect("checked before");
            changed |= left < count;
        } else if let Some(items) = items(value) {
            out.push(0);
            for (index, packed) in items.iter().enumerate() {
                self.at(states, index, items.len(), &mut inner);
                if !inner.matched {
                    left += 1;
                    one(self, &inner, packed, out);
                }
            }
            changed |= left < items.len();
        }
        finish(value, start, left, changed, out)
    }

    /// Leave only what matches in a record, and the containers on the way to it; says whether any does.
    pub fn only(&self, record: &mut Record<'_>) -> bool {
        if self.start.matched {
            return !record.items.is_empty();
        }
        let (mut states, mut out) = (States::default(), Out::default());
        let mut kept = Vec::with_capacity(record.items.len());
        for place in 0..record.items.len() {
            let (key, value) = record.items[place];
            self.under(&self.start, record.value(key), true, &mut states);
            if states.matched {
                kept.push((key, value));
            } else if !states.is_empty() {
                out.truncate(0);
                if self.only_in(record.value(value), &states, &mut out) {
                    let packed = record.make(out.as_slice());
                    kept.push((key, packed));
                }
            }
        }
        record.items = kept;
        !record.items.is_empty()
    }

    /// Write what matches in a value; says whether there is any.
    fn only_in(&self, value: &[u8], states: &States, out: &mut Out) -> bool {
        let start = out.len();
        let mut inner = States::default();
        let (mut left, mut changed) = (0, false);
        let total;
        if let Some((count, first)) = mp::map_head(value, 0).expect("checked before") {
            total = count;
            out.push(0);
            each_pair(value, first, count, |key, packed| {
                self.under(states, key, false, &mut inner);
                let before = out.len();
                out.extend(key);
                if self.only_one(packed, &inner, &mut changed, out) {
                    left += 1;
                } else {
                    out.truncate(before);
                }
            })
            .expect("checked before");
        } else if let Some(items) = items(value) {
            total = items.len();
            out.push(0);
            for (index, packed) in items.iter().enumerate() {
                self.at(states, index, total, &mut inner);
                left += usize::from(self.only_one(packed, &inner, &mut changed, out));
            }
        } else {
            return false;
        }
        if left == 0 {
            out.truncate(start);
            return false;
        }
        finish(value, start, left, changed || left < total, out);
        true
    }

    fn only_one(&self, packed: &[u8], inner: &States, changed: &mut bool, out: &mut Out) -> bool {
        if inner.matched {
            out.extend(packed);
            return true;
        }
        let before = out.len();
        let kept = !inner.is_empty() && self.only_in(packed, inner, out);
        *changed |= kept && out.as_slice()[before..] != *packed;
        kept
    }
}

/// Write the head of a container that was written at `start`, or all of it as it was.
fn finish(value: &[u8], start: usize, left: usize, changed: bool, out: &mut Out) -> bool {
    if changed {
        let map = mp::map_head(value, 0).expect("checked before").is_some();
        out.patch_head(start, left, map);
    } else {
        out.truncate(start);
        out.extend(value);
    }
    changed
}

/// The text of a packed key, if it is text.
pub fn key_text(key: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>> {
    match mp::read(key, 0) {
        Ok((Value::Str(bytes) | Value::Bin(bytes), _)) => Some(text::to_text(bytes)),
        _ => None,
    }
}
