//! Changes of packed records and questions about them; what is not changed stays byte for byte as it is.

use std::borrow::Cow;

use crate::entries;
use crate::error::Error;
use crate::mp::{self, MAX_DEPTH, Value};
use crate::ndjson::{Writer, key_text};
use crate::out::{ENTRY_HEAD, Out};
use crate::regexes::Regex;
use crate::text;

/// A key to be compared with packed ones.
#[derive(Clone, Debug)]
pub struct Name {
    text: Vec<u8>,
    /// Whether bytes that are not UTF-8 could have this text.
    escapes: bool,
}

impl Name {
    pub fn new(text: &str) -> Self {
        Self { text: text.as_bytes().to_vec(), escapes: text.contains("\\x") }
    }

    /// Whether a str or bin of these bytes has this text.
    #[inline]
    fn is(&self, bytes: &[u8]) -> bool {
        bytes == self.text || (self.escapes && *text::to_text(bytes) == *self.text)
    }

    /// Whether the packed key is a str or bin of this text.
    #[inline]
    fn is_packed(&self, key: &[u8]) -> bool {
        matches!(mp::read(key, 0), Ok((Value::Str(bytes) | Value::Bin(bytes), _)) if self.is(bytes))
    }

    /// The same for keys of any kind, by the text that JSON Lines give them.
    fn is_plain(&self, key: &[u8]) -> bool {
        match mp::read(key, 0) {
            Ok((Value::Str(bytes) | Value::Bin(bytes), _)) => self.is(bytes),
            Ok((Value::Ext(..), _)) => *plain_text(key) == *self.text,
            _ => *key_text(&plain_text(key)) == *self.text,
        }
    }
}

/// Text of a packed value: strings as they are, all else as compact JSON.
pub fn plain_text(value: &[u8]) -> Cow<'_, [u8]> {
    let (kind, _) = mp::read(value, 0).expect("checked before");
    if let Value::Str(bytes) | Value::Bin(bytes) = kind {
        return text::to_text(bytes);
    }
    let mut writer = Writer::new(0);
    writer.value(value, 0, MAX_DEPTH).expect("checked before");
    let json = writer.out.into_vec();
    // An ext is written as a string without escapes.
    if matches!(kind, Value::Ext(..)) { json[1..json.len() - 1].to_vec().into() } else { json.into() }
}

/// Call `each(key, value)` for the `pairs` pairs from `at` on; returns the position after them.
fn each_pair<'a>(
    data: &'a [u8], mut at: usize, pairs: usize, mut each: impl FnMut(&'a [u8], &'a [u8]),
) -> Result<usize, Error> {
    for _ in 0..pairs {
        let value = mp::skip(data, at, MAX_DEPTH - 1)?;
        let next = mp::skip(data, value, MAX_DEPTH - 1)?;
        each(&data[at..value], &data[value..next]);
        at = next;
    }
    Ok(at)
}

/// A field: a key, or keys joined by dots for maps within maps.
#[derive(Clone, Debug)]
pub struct Path {
    exact: Name,
    /// The keys, if there are several.
    steps: Vec<Name>,
}

impl Path {
    pub fn new(text: &str) -> Self {
        let steps = if text.contains('.') { text.split('.').map(Name::new).collect() } else { Vec::new() };
        Self { exact: Name::new(text), steps }
    }

    /// Find the field among pairs: of equal keys the last one's value, as JSON Lines have it.
    fn find<'a>(&self, pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Option<&'a [u8]> {
        let last =
            |name: &Name| pairs.clone().filter(|(key, _)| name.is_plain(key)).last().map(|(_, value)| value);
        if let Some(value) = last(&self.exact) {
            return Some(value);
        }
        let (first, rest) = self.steps.split_first()?;
        let mut found = last(first)?;
        for name in rest {
            let (count, at) = mp::map_head(found, 0).expect("checked before")?;
            let mut inner = None;
            let pair = |key, value| {
                if name.is_plain(key) {
                    inner = Some(value);
                }
            };
            each_pair(found, at, count, pair).expect("checked before");
            found = inner?;
        }
        Some(found)
    }
}

/// See `logflow.engine.api.Engine.splice`; `fields` are keys, and keys and values packed.
pub fn splice(data: &[u8], fields: &[(Name, Vec<u8>)]) -> Result<Vec<u8>, Error> {
    let added: usize = fields.iter().map(|(_, packed)| packed.len()).sum();
    let mut out = Out::with_capacity(data.len() + data.len() / 4 + 16 * added);
    let mut missing = vec![true; fields.len()];
    let mut at = 0;
    while at < data.len() {
        let head = entries::head(data, at)?;
        missing.fill(true);
        let end = each_pair(data, head.first, head.pairs, |key, _| {
            for ((name, _), missing) in fields.iter().zip(&mut missing) {
                *missing &= !name.is_packed(key);
            }
        })?;
        out.extend(&data[at..at + ENTRY_HEAD]);
        out.map_head(head.pairs + missing.iter().filter(|&&missing| missing).count());
        out.extend(&data[head.first..end]);
        for ((_, packed), _) in fields.iter().zip(&missing).filter(|(_, missing)| **missing) {
            out.extend(packed);
        }
        at = end;
    }
    Ok(out.into_vec())
}

/// A rule: a pattern that is searched in the text of a field.
pub struct Rule {
    pub path: Path,
    pub pattern: Regex,
}

impl Rule {
    fn matches(&self, pairs: &[(&[u8], &[u8])]) -> bool {
        let value = self.path.find(pairs.iter().copied());
        value.is_some_and(|value| self.pattern.is_match(&plain_text(value)))
    }
}

/// See `logflow.engine.api.Grep`.
pub struct Grep {
    pub keep: Vec<Rule>,
    pub exclude: Vec<Rule>,
    /// Whether all rules of `keep` must match, or any.
    pub all: bool,
}

impl Grep {
    /// The kept entries (`None`: all) and their number.
    pub fn apply(&self, data: &[u8]) -> Result<(Option<Vec<u8>>, usize), Error> {
        let mut kept = Vec::new();
        let mut count = 0;
        // Start of the run of wanted entries that is still to be copied.
        let mut run = 0;
        let mut pairs = Vec::new();
        let mut at = 0;
        while at < data.len() {
            let head = entries::head(data, at)?;
            pairs.clear();
            let end = each_pair(data, head.first, head.pairs, |key, value| pairs.push((key, value)))?;
            if self.wants(&pairs) {
                count += 1;
            } else {
                kept.extend_from_slice(&data[run..at]);
                run = end;
            }
            at = end;
        }
        if run == 0 {
            return Ok((None, count));
        }
        kept.extend_from_slice(&data[run..]);
        Ok((Some(kept), count))
    }

    fn wants(&self, pairs: &[(&[u8], &[u8])]) -> bool {
        let matches = |rule: &Rule| rule.matches(pairs);
        let kept = if self.all {
            self.keep.iter().all(matches)
        } else {
            self.keep.is_empty() || self.keep.iter().any(matches)
        };
        kept && !self.exclude.iter().any(matches)
    }
}

/// A key of a change: its text and how it is packed.
pub struct Target {
    name: Name,
    packed: Vec<u8>,
}

impl Target {
    pub fn new(text: &str) -> Self {
        let mut out = Out::default();
        out.str(text.as_bytes());
        Self { name: Name::new(text), packed: out.into_vec() }
    }
}

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
    Set(Target, NewValue),
    Default(Target, NewValue),
    Remove(Name),
    Rename(Name, Target),
    Copy(Name, Target),
}

/// See `logflow.engine.api.Modify`.
pub struct Modify(pub Vec<Change>);

/// A part of a record that is being changed: of the input or the change, or made for it.
#[derive(Clone, Copy)]
enum Packed<'a> {
    Lent(&'a [u8]),
    /// In the texts of the record.
    Made(usize, usize),
}

/// The top level of a record that is being changed.
#[derive(Default)]
struct Record<'a> {
    items: Vec<(&'a [u8], Packed<'a>)>,
    /// Packed texts that templates gave.
    made: Vec<u8>,
}

impl<'a> Record<'a> {
    fn value(&self, value: Packed<'a>) -> &[u8] {
        match value {
            Packed::Lent(bytes) => bytes,
            Packed::Made(start, end) => &self.made[start..end],
        }
    }

    fn find(&self, name: &Name) -> Option<usize> {
        self.items.iter().position(|(key, _)| name.is_packed(key))
    }

    fn set(&mut self, target: &'a Target, value: Packed<'a>) {
        match self.find(&target.name) {
            Some(i) => self.items[i].1 = value,
            None => self.items.push((&target.packed, value)),
        }
    }

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
                    let pairs = self.items.iter().map(|(key, value)| (*key, self.value(*value)));
                    if let Some(value) = path.find(pairs) {
                        text.extend_from_slice(&plain_text(value));
                    }
                }
            }
        }
        let mut out = Out::default();
        out.str(&text);
        let start = self.made.len();
        self.made.extend_from_slice(out.as_slice());
        Packed::Made(start, self.made.len())
    }

    fn change(&mut self, change: &'a Change, tag: &str) {
        match change {
            Change::Set(target, value) => {
                let value = self.new_value(value, tag);
                self.set(target, value);
            }
            Change::Default(target, value) => {
                if self.find(&target.name).is_none() {
                    let value = self.new_value(value, tag);
                    self.set(target, value);
                }
            }
            Change::Remove(name) => {
                if let Some(i) = self.find(name) {
                    self.items.remove(i);
                }
            }
            Change::Copy(from, to) => {
                if let Some(i) = self.find(from) {
                    self.set(to, self.items[i].1);
                }
            }
            Change::Rename(old, new) => self.rename(old, new),
        }
    }

    fn rename(&mut self, old: &Name, new: &'a Target) {
        let Some(i) = self.find(old) else { return };
        if old.text == new.name.text {
            return;
        }
        let value = self.items[i].1;
        match self.find(&new.name) {
            Some(target) => {
                self.items[target].1 = value;
                self.items.remove(i);
            }
            None => self.items[i] = (&new.packed, value),
        }
    }
}

impl Modify {
    pub fn apply(&self, data: &[u8], tag: &str) -> Result<Vec<u8>, Error> {
        let mut out = Out::with_capacity(data.len() + data.len() / 4);
        let mut record = Record::default();
        let mut at = 0;
        while at < data.len() {
            let head = entries::head(data, at)?;
            record.items.clear();
            record.made.clear();
            let items = &mut record.items;
            let end = each_pair(data, head.first, head.pairs, |key, value| {
                items.push((key, Packed::Lent(value)));
            })?;
            for change in &self.0 {
                record.change(change, tag);
            }
            out.extend(&data[at..at + ENTRY_HEAD]);
            out.map_head(record.items.len());
            for (key, value) in &record.items {
                out.extend(key);
                out.extend(record.value(*value));
            }
            at = end;
        }
        Ok(out.into_vec())
    }
}

/// Take a template apart: `{tag}`, `{name}` of a variable, `{field}`, `{{` and `}}`. `None` when the text holds
/// none of these.
pub fn template(text: &str, variable: impl Fn(&str) -> Option<String>) -> Option<Vec<Part>> {
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
            rest = after;
            found = true;
            if let Some(value) = variable(name).filter(|_| name != "tag") {
                plain.push_str(&value);
                continue;
            }
            parts.push(Part::Text(std::mem::take(&mut plain)));
            parts.push(if name == "tag" { Part::Tag } else { Part::Field(Path::new(name)) });
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
