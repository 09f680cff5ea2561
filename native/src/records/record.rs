//! One record while its fields are changed; what is not changed stays byte for byte as it is.

use super::path::{Name, Path, Step, Target, each_pair, inside, with, without};
use crate::entries::Head;
use crate::error::Error;
use crate::mp::{self, MAX_DEPTH};
use crate::out::Out;

/// A part of a record that is being changed: of the input or the change, or made for it.
#[derive(Clone, Copy)]
pub enum Packed<'a> {
    Lent(&'a [u8]),
    /// In the texts of the record.
    Made(usize, usize),
}

/// The top level of a record that is being changed.
#[derive(Default)]
pub struct Record<'a> {
    /// Keys and values.
    pub items: Vec<(Packed<'a>, Packed<'a>)>,
    /// What was made: texts of templates, changed containers, fields that were found.
    made: Vec<u8>,
}

impl<'a> Record<'a> {
    /// Begin with the pairs of an entry, each of which is shown to `see`; returns where the entry ends.
    #[inline]
    pub fn read(
        &mut self, data: &'a [u8], head: Head, mut see: impl FnMut(&'a [u8], &'a [u8]),
    ) -> Result<usize, Error> {
        self.items.clear();
        self.made.clear();
        let items = &mut self.items;
        each_pair(data, head.first, head.pairs, |key, value| {
            see(key, value);
            items.push((Packed::Lent(key), Packed::Lent(value)));
        })
    }

    pub fn value(&self, value: Packed<'a>) -> &[u8] {
        match value {
            Packed::Lent(bytes) => bytes,
            Packed::Made(start, end) => &self.made[start..end],
        }
    }

    fn position(&self, name: &Name) -> Option<usize> {
        self.items.iter().position(|(key, _)| name.is_packed(self.value(*key)))
    }

    /// The top-level key that a path begins with, and the steps after it.
    fn effective<'p>(&self, path: &'p Path) -> (&'p Target, &'p [Step]) {
        if let Some(exact) = &path.exact
            && self.position(&exact.name).is_some()
        {
            return (exact, &[]);
        }
        match path.steps.split_first() {
            Some((Step::Key(first), rest)) => (first, rest),
            _ => unreachable!("a path begins with a key"),
        }
    }

    /// The packed value at a path.
    pub fn get(&self, path: &Path) -> Option<&[u8]> {
        let (first, rest) = self.effective(path);
        inside(self.value(self.items[self.position(&first.name)?].1), rest)
    }

    pub fn make(&mut self, bytes: &[u8]) -> Packed<'a> {
        let start = self.made.len();
        self.made.extend_from_slice(bytes);
        Packed::Made(start, self.made.len())
    }

    fn put_first(&mut self, target: &'a Target, value: Packed<'a>) {
        match self.position(&target.name) {
            Some(i) => self.items[i].1 = value,
            None => self.items.push((Packed::Lent(&target.packed), value)),
        }
    }

    /// Put a value at a path; says whether that was possible.
    pub fn put(&mut self, path: &'a Path, value: Packed<'a>) -> bool {
        let (first, rest) = self.effective(path);
        if mp::skip(self.value(value), 0, MAX_DEPTH - 1 - rest.len()).is_err() {
            return false;
        }
        if rest.is_empty() {
            self.put_first(first, value);
            return true;
        }
        let container = self.position(&first.name).map(|i| self.value(self.items[i].1));
        let Some(changed) = with(container, rest, self.value(value)) else { return false };
        let changed = self.make(&changed);
        self.put_first(first, changed);
        true
    }

    /// Remove what is at a path; says whether something was there.
    pub fn take_out(&mut self, path: &Path) -> bool {
        let (first, rest) = self.effective(path);
        let Some(i) = self.position(&first.name) else { return false };
        if rest.is_empty() {
            self.items.remove(i);
            return true;
        }
        let Some(changed) = without(self.value(self.items[i].1), rest) else { return false };
        self.items[i].1 = self.make(&changed);
        true
    }

    /// Move a value; says whether it was there.
    pub fn rename(&mut self, old: &Path, new: &'a Path) -> bool {
        let Some(value) = self.get(old).map(<[u8]>::to_vec) else { return false };
        let ((from, inside_from), (to, inside_to)) = (self.effective(old), self.effective(new));
        if inside_from.is_empty() && inside_to.is_empty() {
            self.rename_first(&from.name, to);
            return true;
        }
        if from.name.text == to.name.text && same_steps(inside_from, inside_to) {
            return true;
        }
        let before = self.items.clone();
        self.take_out(old);
        let value = self.make(&value);
        let done = self.put(new, value);
        if !done {
            self.items = before;
        }
        done
    }

    fn rename_first(&mut self, old: &Name, new: &'a Target) {
        let Some(i) = self.position(old) else { return };
        if old.text == new.name.text {
            return;
        }
        let value = self.items[i].1;
        match self.position(&new.name) {
            Some(target) => {
                self.items[target].1 = value;
                self.items.remove(i);
            }
            None => self.items[i] = (Packed::Lent(&new.packed), value),
        }
    }

    /// Where the field is that a path begins with, and how many steps lead inside of it.
    pub fn root(&self, path: &Path) -> (Option<usize>, usize) {
        let (first, rest) = self.effective(path);
        (self.position(&first.name), rest.len())
    }

    /// Begin again with other pairs.
    pub fn replace(&mut self, pairs: &[(Vec<u8>, Vec<u8>)]) {
        self.items.clear();
        self.made.clear();
        for (key, value) in pairs {
            let pair = (self.make(key), self.make(value));
            self.items.push(pair);
        }
    }

    pub fn write(&self, out: &mut Out) {
        out.map_head(self.items.len());
        for (key, value) in &self.items {
            out.extend(self.value(*key));
            out.extend(self.value(*value));
        }
    }
}

fn same_steps(one: &[Step], other: &[Step]) -> bool {
    let same = |pair: (&Step, &Step)| match pair {
        (Step::Key(one), Step::Key(other)) => one.name.text == other.name.text,
        (Step::Index(one), Step::Index(other)) => one == other,
        _ => false,
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}
