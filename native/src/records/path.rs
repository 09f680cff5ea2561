//! Keys and paths of fields, and values inside packed containers; see `logflow.paths`.

use std::borrow::Cow;

use crate::error::Error;
use crate::mp::{self, MAX_DEPTH, Value};
use crate::ndjson::{Writer, key_text};
use crate::out::Out;
use crate::text;

/// A key to be compared with packed ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub text: Vec<u8>,
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
    pub fn is_packed(&self, key: &[u8]) -> bool {
        matches!(mp::read(key, 0), Ok((Value::Str(bytes) | Value::Bin(bytes), _)) if self.is(bytes))
    }

    /// The same for keys of any kind, by the text that JSON Lines give them.
    pub fn is_plain(&self, key: &[u8]) -> bool {
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

/// A key of a change: its text and how it is packed.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: Name,
    pub packed: Vec<u8>,
}

impl Target {
    pub fn new(text: &str) -> Self {
        let mut out = Out::default();
        out.str(text.as_bytes());
        Self { name: Name::new(text), packed: out.into_vec() }
    }
}

/// Call `each(key, value)` for the `pairs` pairs from `at` on; returns the position after them.
pub fn each_pair<'a>(
    data: &'a [u8], at: usize, pairs: usize, mut each: impl FnMut(&'a [u8], &'a [u8]),
) -> Result<usize, Error> {
    Ok(mp::each_pair(data, at, pairs, |at, middle, next| each(&data[at..middle], &data[middle..next]))?)
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
    pub exact: Option<Target>,
    pub steps: Vec<Step>,
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
    pub fn find<'a>(&self, pairs: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone) -> Option<&'a [u8]> {
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
pub fn items(array: &[u8]) -> Option<Vec<&[u8]>> {
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
pub fn place(index: i64, count: usize) -> Option<usize> {
    let at = if index < 0 { index + count as i64 } else { index };
    usize::try_from(at).ok().filter(|at| *at < count)
}

pub fn item(array: &[u8], index: i64) -> Option<&[u8]> {
    let items = items(array)?;
    Some(items[place(index, items.len())?])
}

/// The pairs of a packed map; `None` if it is none.
pub fn pairs(map: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (count, at) = mp::map_head(map, 0).expect("checked before")?;
    let mut pairs = Vec::new();
    each_pair(map, at, count, |key, value| pairs.push((key, value))).expect("checked before");
    Some(pairs)
}

pub fn packed_map(pairs: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut out = Out::default();
    out.map_head(pairs.len());
    for (key, value) in pairs {
        out.extend(key);
        out.extend(value);
    }
    out.into_vec()
}

pub fn packed_array(items: &[&[u8]]) -> Vec<u8> {
    let mut out = Out::default();
    out.array_head(items.len());
    for item in items {
        out.extend(item);
    }
    out.into_vec()
}

/// Find a value inside a container: of equal keys the first one's.
pub fn inside<'a>(value: &'a [u8], steps: &[Step]) -> Option<&'a [u8]> {
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
pub fn with(container: Option<&[u8]>, steps: &[Step], value: &[u8]) -> Option<Vec<u8>> {
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
pub fn without(container: &[u8], steps: &[Step]) -> Option<Vec<u8>> {
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
