//! Changes of records; see `logflow.engine.api.Engine.modify`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::globs::{Globs, Like};
use super::path::{Path, plain_text};
use super::record::{Packed, Record};
use super::reshape;
use crate::entries;
use crate::error::Error;
use crate::out::{ENTRY_HEAD, Out};

/// The value of a `set` or `default`.
pub enum NewValue {
    Packed(Vec<u8>),
    Template(Vec<Part>),
}

/// A part of a template.
pub enum Part {
    Text(String),
    Tag,
    Field(Path),
}

pub enum Change {
    Set(Path, NewValue),
    Default(Path, NewValue),
    Remove(Path),
    Rename(Path, Path),
    Copy(Path, Path),
    /// Take out what a glob matches.
    Prune(Globs),
    /// Leave only what globs match.
    Only(Globs),
    /// Move fields of the top level into a map.
    Nest(Path, Vec<Like>),
    /// Divide maps of the top level into fields.
    Flatten(Vec<Like>, String),
}

/// See `logflow.engine.api.Modify`.
pub struct Modify {
    changes: Vec<Change>,
    /// In how many events each change found its field, or could be made.
    present: Vec<AtomicU64>,
}

impl<'a> Record<'a> {
    fn new_value(&mut self, value: &'a NewValue, tag: &str) -> Packed<'a> {
        match value {
            NewValue::Packed(packed) => Packed::Lent(packed),
            NewValue::Template(parts) => self.fill(parts, tag),
        }
    }

    /// Pack the text that a template gives for the record.
    fn fill(&mut self, parts: &[Part], tag: &str) -> Packed<'a> {
        let mut text = Vec::new();
        for part in parts {
            match part {
                Part::Text(literal) => text.extend_from_slice(literal.as_bytes()),
                Part::Tag => text.extend_from_slice(tag.as_bytes()),
                Part::Field(path) => {
                    let pairs = self.items.iter().map(|(key, value)| (self.value(*key), self.value(*value)));
                    if let Some(value) = path.find(pairs) {
                        text.extend_from_slice(&plain_text(value));
                    }
                }
            }
        }
        let mut out = Out::default();
        out.str(&text);
        self.make(out.as_slice())
    }

    /// Make a change; says whether it found its field, or could be made.
    fn change(&mut self, change: &'a Change, tag: &str) -> bool {
        match change {
            Change::Default(path, _) if self.get(path).is_some() => true,
            Change::Set(path, value) | Change::Default(path, value) => {
                let value = self.new_value(value, tag);
                self.put(path, value)
            }
            Change::Remove(path) => self.take_out(path),
            Change::Copy(from, to) => match self.get(from).map(<[u8]>::to_vec) {
                Some(value) => {
                    let value = self.make(&value);
                    self.put(to, value)
                }
                None => false,
            },
            Change::Rename(old, new) => self.rename(old, new),
            Change::Prune(globs) => globs.prune(self),
            Change::Only(globs) => globs.only(self),
            Change::Nest(into, likes) => reshape::nest(self, into, likes),
            Change::Flatten(likes, separator) => reshape::flatten(self, likes, separator),
        }
    }
}

impl Modify {
    pub fn new(changes: Vec<Change>) -> Self {
        let present = changes.iter().map(|_| AtomicU64::new(0)).collect();
        Self { changes, present }
    }

    pub fn present(&self) -> Vec<u64> {
        self.present.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    pub fn apply(&self, data: &[u8], tag: &str) -> Result<Vec<u8>, Error> {
        let mut out = Out::with_capacity(data.len() + data.len() / 4);
        let mut record = Record::default();
        let mut at = 0;
        while at < data.len() {
            let head = entries::head(data, at)?;
            let end = record.read(data, head, |_, _| {})?;
            for (change, present) in self.changes.iter().zip(&self.present) {
                if record.change(change, tag) {
                    present.fetch_add(1, Ordering::Relaxed);
                }
            }
            out.extend(&data[at..at + ENTRY_HEAD]);
            record.write(&mut out);
            at = end;
        }
        Ok(out.into_vec())
    }
}

/// Take a template apart: `{tag}`, `{name}` of a variable, `{field}`, `{{` and `}}`. `None` when the text holds
/// none of these.
pub fn template(
    text: &str, variable: impl Fn(&str) -> Option<String>, path: impl Fn(&str) -> Option<Path>,
) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut found = false;
    let mut rest = text;
    while let Some(brace) = rest.find(['{', '}']) {
        plain.push_str(&rest[..brace]);
        rest = &rest[brace..];
        if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
            plain.push_str(&rest[..1]);
            rest = after;
            found = true;
        } else if let Some((name, after)) = placeholder(rest) {
            if let Some(value) = variable(name).filter(|_| name != "tag") {
                plain.push_str(&value);
            } else if let Some(part) =
                if name == "tag" { Some(Part::Tag) } else { path(name).map(Part::Field) }
            {
                parts.push(Part::Text(std::mem::take(&mut plain)));
                parts.push(part);
            } else {
                // Braces like any other characters.
                plain.push_str(&rest[..rest.len() - after.len()]);
                rest = after;
                continue;
            }
            rest = after;
            found = true;
        } else {
            plain.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    plain.push_str(rest);
    parts.push(Part::Text(plain));
    found.then_some(parts)
}

/// The name in `{name}` at the start of a text, and what follows it.
fn placeholder(text: &str) -> Option<(&str, &str)> {
    let inside = text.strip_prefix('{')?;
    let end = inside.find(['{', '}'])?;
    let after = inside[end..].strip_prefix('}')?;
    (end > 0).then_some((&inside[..end], after))
}
