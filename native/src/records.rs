//! Changes of packed records and questions about them; what is not changed stays byte for byte as it is.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::entries;
use crate::error::Error;
use crate::expressions::{self, Program, Surroundings};
use crate::lines;
use crate::mp::{self, MAX_DEPTH, Value};
use crate::ndjson::{Writer, key_text};
use crate::out::{ENTRY_HEAD, Out};
use crate::parsers::{MessageParser, Work};
use crate::regexes::Regex;
use crate::text::{self, SENTINEL, Text};

/// A key to be compared with packed ones.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// A step of a path, from a container inwards.
#[derive(Clone, Debug)]
pub enum Step {
    Key(Target),
    /// Of an array; from its end if negative.
    Index(i64),
}

/// A path of a field, see `logflow.paths`; the first step is a key.
#[derive(Clone, Debug)]
pub struct Path {
    /// The top-level key that is meant in place of the steps, where there is one.
    exact: Option<Target>,
    steps: Vec<Step>,
}

impl Path {
    pub fn new(exact: Option<&str>, steps: Vec<Step>) -> Self {
        debug_assert!(matches!(steps.first(), Some(Step::Key(_))));
        Self { exact: exact.map(Target::new), steps }
    }

    /// A path of one key.
    pub fn key(text: &str) -> Self {
        Self { exact: None, steps: vec![Step::Key(Target::new(text))] }
    }

    /// Find the field among pairs: of equal keys the last one's value, as JSON Lines have it.
    fn find<'a>(&self, pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Option<&'a [u8]> {
        let last = |target: &Target| {
            pairs.clone().filter(|(key, _)| target.name.is_plain(key)).last().map(|(_, value)| value)
        };
        if let Some(value) = self.exact.as_ref().and_then(last) {
            return Some(value);
        }
        let Some((Step::Key(first), rest)) = self.steps.split_first() else { return None };
        let mut found = last(first)?;
        for step in rest {
            found = match step {
                Step::Index(index) => item(found, *index)?,
                Step::Key(target) => {
                    let (count, at) = mp::map_head(found, 0).expect("checked before")?;
                    let mut inner = None;
                    let pair = |key, value| {
                        if target.name.is_plain(key) {
                            inner = Some(value);
                        }
                    };
                    each_pair(found, at, count, pair).expect("checked before");
                    inner?
                }
            };
        }
        Some(found)
    }
}

/// The items of a packed array; `None` if it is none.
fn items(array: &[u8]) -> Option<Vec<&[u8]>> {
    let (count, mut at) = mp::array_head(array, 0).expect("checked before")?;
    let mut items = Vec::new();
    for _ in 0..count {
        let end = mp::skip(array, at, MAX_DEPTH).expect("checked before");
        items.push(&array[at..end]);
        at = end;
    }
    Some(items)
}

/// Where an item is, counted from the start or, if negative, from the end.
fn place(index: i64, count: usize) -> Option<usize> {
    let at = if index < 0 { index + count as i64 } else { index };
    usize::try_from(at).ok().filter(|at| *at < count)
}

fn item(array: &[u8], index: i64) -> Option<&[u8]> {
    let items = items(array)?;
    Some(items[place(index, items.len())?])
}

/// The pairs of a packed map; `None` if it is none.
fn pairs(map: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (count, at) = mp::map_head(map, 0).expect("checked before")?;
    let mut pairs = Vec::new();
    each_pair(map, at, count, |key, value| pairs.push((key, value))).expect("checked before");
    Some(pairs)
}

fn packed_map(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Out::default();
    out.map_head(pairs.len());
    for (key, value) in pairs {
        out.extend(key);
        out.extend(value);
    }
    out.into_vec()
}

fn packed_array(items: &[&[u8]]) -> Vec<u8> {
    let mut out = Out::default();
    out.array_head(items.len());
    for item in items {
        out.extend(item);
    }
    out.into_vec()
}

/// Find a value inside a container: of equal keys the first one's.
fn inside<'a>(value: &'a [u8], steps: &[Step]) -> Option<&'a [u8]> {
    let mut found = value;
    for step in steps {
        found = match step {
            Step::Index(index) => item(found, *index)?,
            Step::Key(target) => pairs(found)?.into_iter().find(|(key, _)| target.name.is_packed(key))?.1,
        };
    }
    Some(found)
}

/// The container with a value put into it; `None` if that cannot be.
fn with(container: Option<&[u8]>, steps: &[Step], value: &[u8]) -> Option<Vec<u8>> {
    let Some((step, rest)) = steps.split_first() else { return Some(value.to_vec()) };
    match (step, container) {
        (Step::Index(_), None) => None,
        (Step::Key(target), None) => {
            let inner = with(None, rest, value)?;
            Some(packed_map(&[(&target.packed, &inner)]))
        }
        (Step::Index(index), Some(array)) => {
            let mut items = items(array)?;
            let at = place(*index, items.len())?;
            let inner = with(Some(items[at]), rest, value)?;
            items[at] = &inner;
            Some(packed_array(&items))
        }
        (Step::Key(target), Some(map)) => {
            let mut pairs = pairs(map)?;
            let at = pairs.iter().position(|(key, _)| target.name.is_packed(key));
            let inner = with(at.map(|at| pairs[at].1), rest, value)?;
            match at {
                Some(at) => pairs[at].1 = &inner,
                None => pairs.push((&target.packed, &inner)),
            }
            Some(packed_map(&pairs))
        }
    }
}

/// The container without what is at a path in it, which is there.
fn without(container: &[u8], steps: &[Step]) -> Option<Vec<u8>> {
    let (step, rest) = steps.split_first()?;
    match step {
        Step::Index(index) => {
            let mut items = items(container)?;
            let at = place(*index, items.len())?;
            if rest.is_empty() {
                items.remove(at);
                return Some(packed_array(&items));
            }
            let inner = without(items[at], rest)?;
            items[at] = &inner;
            Some(packed_array(&items))
        }
        Step::Key(target) => {
            let mut pairs = pairs(container)?;
            let at = pairs.iter().position(|(key, _)| target.name.is_packed(key))?;
            if rest.is_empty() {
                pairs.remove(at);
                return Some(packed_map(&pairs));
            }
            let inner = without(pairs[at].1, rest)?;
            pairs[at].1 = &inner;
            Some(packed_map(&pairs))
        }
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
    path: Path,
    pattern: Regex,
    /// In how many events the field was there.
    present: AtomicU64,
}

impl Rule {
    pub fn new(path: Path, pattern: Regex) -> Self {
        Self { path, pattern, present: AtomicU64::new(0) }
    }

    fn matches(&self, pairs: &[(&[u8], &[u8])]) -> bool {
        let Some(value) = self.path.find(pairs.iter().copied()) else { return false };
        self.present.fetch_add(1, Ordering::Relaxed);
        self.pattern.is_match(&plain_text(value))
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
        // All rules are asked, so that each sees whether its field is there.
        let count = |rules: &[Rule]| rules.iter().filter(|rule| rule.matches(pairs)).count();
        let kept = count(&self.keep);
        let excluded = count(&self.exclude);
        let enough = if self.all { kept == self.keep.len() } else { self.keep.is_empty() || kept > 0 };
        enough && excluded == 0
    }

    pub fn present(&self) -> Vec<u64> {
        self.keep.iter().chain(&self.exclude).map(|rule| rule.present.load(Ordering::Relaxed)).collect()
    }
}

/// A key of a change: its text and how it is packed.
#[derive(Clone, Debug)]
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
    Set(Path, NewValue),
    Default(Path, NewValue),
    Remove(Path),
    Rename(Path, Path),
    Copy(Path, Path),
}

/// See `logflow.engine.api.Modify`.
pub struct Modify {
    changes: Vec<Change>,
    /// In how many events each change found its field, or could be made.
    present: Vec<AtomicU64>,
}

/// A part of a record that is being changed: of the input or the change, or made for it.
#[derive(Clone, Copy)]
pub(crate) enum Packed<'a> {
    Lent(&'a [u8]),
    /// In the texts of the record.
    Made(usize, usize),
}

/// The top level of a record that is being changed.
#[derive(Default)]
pub(crate) struct Record<'a> {
    items: Vec<(&'a [u8], Packed<'a>)>,
    /// What was made: texts of templates, changed containers, fields that were found.
    made: Vec<u8>,
    /// Fields at the end, in `made`: where their keys begin, their values begin, and they end.
    added: Vec<(usize, usize, usize)>,
}

impl<'a> Record<'a> {
    /// Begin with the pairs of an entry, each of which is shown to `see`; returns where the entry ends.
    #[inline]
    pub(crate) fn read(
        &mut self, data: &'a [u8], head: entries::Head, mut see: impl FnMut(&'a [u8], &'a [u8]),
    ) -> Result<usize, Error> {
        self.items.clear();
        self.made.clear();
        self.added.clear();
        let items = &mut self.items;
        each_pair(data, head.first, head.pairs, |key, value| {
            see(key, value);
            items.push((key, Packed::Lent(value)));
        })
    }

    fn value(&self, value: Packed<'a>) -> &[u8] {
        match value {
            Packed::Lent(bytes) => bytes,
            Packed::Made(start, end) => &self.made[start..end],
        }
    }

    fn position(&self, name: &Name) -> Option<usize> {
        self.items.iter().position(|(key, _)| name.is_packed(key))
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
    fn get(&self, path: &Path) -> Option<&[u8]> {
        let (first, rest) = self.effective(path);
        inside(self.value(self.items[self.position(&first.name)?].1), rest)
    }

    fn make(&mut self, bytes: &[u8]) -> Packed<'a> {
        let start = self.made.len();
        self.made.extend_from_slice(bytes);
        Packed::Made(start, self.made.len())
    }

    fn put_first(&mut self, target: &'a Target, value: Packed<'a>) {
        match self.position(&target.name) {
            Some(i) => self.items[i].1 = value,
            None => self.items.push((&target.packed, value)),
        }
    }

    /// Put a value at a path; says whether that was possible.
    pub(crate) fn put(&mut self, path: &'a Path, value: Packed<'a>) -> bool {
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
    fn take_out(&mut self, path: &Path) -> bool {
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
    fn rename(&mut self, old: &Path, new: &'a Path) -> bool {
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
            None => self.items[i] = (&new.packed, value),
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
        }
    }

    pub(crate) fn write(&self, out: &mut Out) {
        out.map_head(self.items.len() + self.added.len());
        for (key, value) in &self.items {
            out.extend(key);
            out.extend(self.value(*value));
        }
        for &(start, _, end) in &self.added {
            out.extend(&self.made[start..end]);
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

/// Sets fields to what expressions give; see `logflow.engine.api.Assignment`.
pub struct Assignment {
    pub paths: Vec<Path>,
    pub program: Program,
}

impl Assignment {
    pub fn apply(&self, data: &[u8], around: Surroundings<'_>) -> Result<Vec<u8>, Error> {
        let mut out = Out::with_capacity(data.len() + data.len() / 4);
        let mut event = self.program.event(around);
        let (mut record, mut packed) = (Record::default(), Out::default());
        let mut at = 0;
        while at < data.len() {
            let head = entries::head(data, at)?;
            event.begin(head.time_ns());
            let end = record.read(data, head, |key, value| self.program.note(&mut event, key, value))?;
            for (path, value) in self.paths.iter().zip(self.program.evaluate_all(&mut event)) {
                if matches!(value, expressions::Value::None) {
                    continue;
                }
                packed.truncate(0);
                value.pack(&mut packed);
                let made = record.make(packed.as_slice());
                record.put(path, made);
            }
            out.extend(&data[at..at + ENTRY_HEAD]);
            record.write(&mut out);
            at = end;
        }
        Ok(out.into_vec())
    }
}

/// Parses the text of one field; see `logflow.engine.api.FieldParser`.
pub struct FieldParser {
    pub parser: MessageParser,
    pub field: Path,
    pub into: Option<Path>,
    pub keep_original: bool,
    pub drop_unparsed: bool,
    pub present: AtomicU64,
}

impl FieldParser {
    /// The entries, their number, and how many fields did not parse.
    pub fn apply(&self, data: &[u8]) -> Result<(Vec<u8>, usize, usize), Error> {
        let watched = lines::watched(&self.parser);
        let mut work = Work::new(&self.parser, &watched);
        let mut out = Out::with_capacity(data.len() + data.len() / 4);
        let (mut record, mut found) = (Record::default(), Out::default());
        let (mut count, mut unparsed, mut present) = (0, 0, 0);
        let mut at = 0;
        while at < data.len() {
            let head = entries::head(data, at)?;
            let end = record.read(data, head, |_, _| {})?;
            let value = record.get(&self.field).map(<[u8]>::to_vec);
            let parsed = value.as_ref().and_then(|value| self.parse(&mut work, value, &mut found));
            present += u64::from(value.is_some());
            let merged = parsed.filter(|_| self.merge(&mut record, found.as_slice()));
            let start = out.len();
            if let Some(time_ns) = merged {
                out.extend(&data[at..at + ENTRY_HEAD]);
                if let Some(time_ns) = time_ns {
                    out.set_entry_time(start, time_ns);
                }
                record.write(&mut out);
            } else {
                unparsed += usize::from(value.is_some());
                if value.is_none() || !self.drop_unparsed {
                    out.extend(&data[at..end]);
                }
            }
            count += usize::from(out.len() > start);
            at = end;
        }
        self.present.fetch_add(present, Ordering::Relaxed);
        Ok((out.into_vec(), count, unparsed))
    }

    /// Parse a packed value into a packed map; gives the time that was found, if any.
    fn parse(&self, work: &mut Work, value: &[u8], found: &mut Out) -> Option<Option<u64>> {
        let mut src = match mp::read(value, 0).ok()?.0 {
            Value::Str(text) => text::to_text(text).into_owned(),
            Value::Bin(text) => text.to_vec(),
            _ => return None,
        };
        let end = src.len();
        src.extend_from_slice(&SENTINEL);
        found.truncate(0);
        let text = Text { src: &src, start: 0, end, utf8: false };
        let (object, time_ns) = self.parser.parse(work, text, found).ok()?;
        object.close(found);
        Some(time_ns)
    }

    /// Put what was found into the record; says whether that was possible.
    fn merge<'a>(&'a self, record: &mut Record<'a>, found: &[u8]) -> bool {
        if !self.keep_original {
            record.take_out(&self.field);
        }
        let Some(into) = &self.into else {
            for (key, value) in pairs(found).expect("an object") {
                let own =
                    record.items.iter().any(|(own, _)| {
                        matches!((mp::read(own, 0), mp::read(key, 0)),
                        (Ok((Value::Str(own) | Value::Bin(own), _)), Ok((Value::Str(key), _)))
                            if *text::to_text(own) == *key)
                    }) || record.added.iter().any(|&(start, middle, _)| &record.made[start..middle] == key);
                if !own {
                    let start = record.made.len();
                    record.made.extend_from_slice(key);
                    let middle = record.made.len();
                    record.made.extend_from_slice(value);
                    record.added.push((start, middle, record.made.len()));
                }
            }
            return true;
        };
        if record.get(into).is_some() {
            return true;
        }
        let value = record.make(found);
        record.put(into, value)
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
