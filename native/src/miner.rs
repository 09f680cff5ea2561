//! Templates of messages, found as Drain finds them: the twin of `logflow.engine._python.miner`.
//!
//! ```text
//! message ─ blanks ─▶ words, those with digits masked ─▶ leaf by (number of words, first word)
//!                                                          └─▶ the most similar template there, or a new one
//! ```

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use crate::error::Error;
use crate::expressions::{Program, Surroundings, Value};

/// What stands for a word that differs.
const ANY: &[u8] = b"<*>";
/// Bytes and words of a message that are looked at.
const MOST_BYTES: usize = 2048;
const MOST_WORDS: usize = 100;
/// Leaves of one number of words; beyond that, messages share the leaf of any first word.
const MOST_LEAVES: usize = 64;
/// Templates of a leaf; beyond that, the one that was not seen for the longest time is forgotten.
const MOST_OF_LEAF: usize = 64;

type Leaf = (usize, Vec<u8>);

struct Template {
    id: u64,
    words: Vec<Vec<u8>>,
    leaf: Leaf,
    used: u64,
}

/// A template as it is kept between runs: its id and words.
pub type Kept = (u64, Vec<Vec<u8>>);

#[derive(Default)]
struct Memory {
    templates: HashMap<u64, Template>,
    leaves: HashMap<Leaf, Vec<u64>>,
    /// Number of leaves by number of words.
    widths: HashMap<usize, usize>,
    /// Templates by when they were used last.
    recent: BTreeMap<u64, u64>,
    uses: u64,
    made: u64,
    forgotten: u64,
}

/// Of each event the number of its group, four bytes each; of each group, the id and text of its template.
pub type Mined = (Vec<u8>, Vec<(u64, Vec<u8>)>);

/// See `logflow.engine.keyed.Miner`.
pub struct Miner {
    program: Program,
    most: usize,
    /// Percent of the words that must be the same.
    similarity: usize,
    memory: Mutex<Memory>,
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | 9..=13)
}

fn masked(word: &[u8]) -> Cow<'_, [u8]> {
    let Some(digit) = word.iter().position(u8::is_ascii_digit) else { return word.into() };
    match word.iter().position(|&b| b == b'=') {
        Some(sign) if sign < digit => [&word[..=sign], ANY].concat().into(),
        _ => ANY.into(),
    }
}

fn words(text: &[u8]) -> Vec<Cow<'_, [u8]>> {
    let mut text = &text[..text.len().min(MOST_BYTES)];
    if let Err(error) = std::str::from_utf8(text) {
        text = &text[..error.valid_up_to()];
    }
    text.split(|&b| is_blank(b)).filter(|word| !word.is_empty()).take(MOST_WORDS).map(masked).collect()
}

fn text(words: &[Vec<u8>]) -> Vec<u8> {
    words.join(&b' ')
}

impl Miner {
    pub fn new(program: &[u8], most: usize, similarity: usize) -> Result<Self, Error> {
        Ok(Self { program: Program::new([program])?, most, similarity, memory: Mutex::default() })
    }

    /// Find the template of each event; the first group is that of events without a message.
    pub fn apply<'a>(&'a self, data: &'a [u8], around: Surroundings<'a>) -> Result<Mined, Error> {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let mut groups = vec![(0, Vec::new())];
        let mut known: HashMap<u64, usize> = HashMap::new();
        let mut ids = Vec::new();
        self.program.each_event(data, around, |event, _, _| {
            let group = match self.program.evaluate(event) {
                Value::Text(message) => match memory.learn(&words(&message), self.most, self.similarity) {
                    Some((number, changed)) => {
                        let template = &memory.templates[&number];
                        let group = *known.entry(number).or_insert(groups.len());
                        if group == groups.len() {
                            groups.push((template.id, text(&template.words)));
                        } else if changed {
                            groups[group].1 = text(&template.words);
                        }
                        group
                    }
                    None => 0,
                },
                _ => 0,
            };
            ids.extend_from_slice(&(group as u32).to_le_bytes());
        })?;
        Ok((ids, groups))
    }

    /// All templates, those that were used last at the end.
    pub fn dump(&self) -> Vec<Kept> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = |number| {
            let template: &Template = &memory.templates[number];
            (template.id, template.words.clone())
        };
        memory.recent.values().map(kept).collect()
    }

    /// Know templates that were kept, in this order, as far as there is room.
    pub fn load(&self, kept: Vec<Kept>) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, words) in kept {
            if !words.is_empty() && words.len() <= MOST_WORDS {
                memory.add(words, Some(id), self.most);
            }
        }
    }

    /// How many templates were found so far, and how many of them were forgotten, as there were too many.
    pub fn counts(&self) -> (u64, u64) {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        (memory.made, memory.forgotten)
    }
}

impl Memory {
    /// Find or make the template of some words; says also whether it is another text now.
    fn learn(&mut self, words: &[Cow<'_, [u8]>], most: usize, similarity: usize) -> Option<(u64, bool)> {
        let leaf = self.leaf(words.first()?, words.len());
        let mut best: Option<(usize, u64)> = None;
        for &number in self.leaves.get(&leaf).map_or(&[][..], Vec::as_slice) {
            let template = &self.templates[&number];
            let same = template.words.iter().zip(words).filter(|(a, b)| **a == ***b).count();
            if best.is_none_or(|(most_same, _)| same > most_same) {
                best = Some((same, number));
            }
        }
        match best {
            Some((same, number)) if same * 100 >= similarity * words.len() => {
                Some((number, self.merge(number, words, same)))
            }
            _ => Some((self.add(words.iter().map(|word| word.to_vec()).collect(), None, most), true)),
        }
    }

    fn leaf(&self, first: &[u8], width: usize) -> Leaf {
        let leaf = (width, first.to_vec());
        let full = self.widths.get(&width).is_some_and(|&leaves| leaves >= MOST_LEAVES - 1);
        if full && !self.leaves.contains_key(&leaf) { (width, ANY.to_vec()) } else { leaf }
    }

    fn merge(&mut self, number: u64, words: &[Cow<'_, [u8]>], same: usize) -> bool {
        let template = self.templates.get_mut(&number).expect("it was just found");
        self.recent.remove(&template.used);
        self.uses += 1;
        template.used = self.uses;
        self.recent.insert(self.uses, number);
        if same == words.len() {
            return false;
        }
        let mut changed = false;
        for (known, word) in template.words.iter_mut().zip(words) {
            if **known != **word && known != ANY {
                *known = ANY.to_vec();
                changed = true;
            }
        }
        changed
    }

    fn add(&mut self, words: Vec<Vec<u8>>, id: Option<u64>, most: usize) -> u64 {
        let leaf = self.leaf(&words[0], words.len());
        if let Some(numbers) = self.leaves.get(&leaf)
            && numbers.len() >= MOST_OF_LEAF
        {
            let oldest = numbers.iter().min_by_key(|number| self.templates[number].used).copied();
            self.forget(oldest.expect("a leaf is not empty"));
        }
        if self.templates.len() >= most {
            let oldest = *self.recent.first_key_value().expect("as many as templates").1;
            self.forget(oldest);
        }
        self.made += 1;
        self.uses += 1;
        let number = self.made;
        if !self.leaves.contains_key(&leaf) {
            *self.widths.entry(leaf.0).or_default() += 1;
        }
        self.leaves.entry(leaf.clone()).or_default().push(number);
        self.recent.insert(self.uses, number);
        let id = id.unwrap_or_else(|| xxhash_rust::xxh3::xxh3_64(&text(&words)));
        self.templates.insert(number, Template { id, words, leaf, used: self.uses });
        number
    }

    fn forget(&mut self, number: u64) {
        let template = self.templates.remove(&number).expect("it is there");
        self.recent.remove(&template.used);
        self.forgotten += 1;
        let numbers = self.leaves.get_mut(&template.leaf).expect("it is there");
        numbers.retain(|other| *other != number);
        if numbers.is_empty() {
            self.leaves.remove(&template.leaf);
            *self.widths.get_mut(&template.leaf.0).expect("it is there") -= 1;
        }
    }
}
