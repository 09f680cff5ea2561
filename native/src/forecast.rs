//! What keys are likely to come next, from the records before.
//!
//! ```text
//! start ── {"ts": ── ,"level": ─┬─ ,"msg": ── ,"status":
//!                               └─ ,"error": ── ,"msg":
//!                                     └ inside ── {"code": ── ,"text":
//! ```
//!
//! Records of one program have the same keys in the same order, or in one of a few orders. So the texts that
//! stand before values, keys and punctuation together, are kept as a tree. One comparison of 32 bytes with what
//! stands at a place does the work of finding, checking and comparing a key; and what it becomes in the output is
//! kept with it. The keys along a path of the tree differ, as those of the object did that it was learned from.
//! Objects that are the value of a key, or lie in an array that is, have a tree of their own inside that key.

use crate::out::Out;

/// Bytes that are compared, and written, at once.
const STEP: usize = 32;
/// Longest text that is learned.
const LONGEST: usize = 256;
/// Most ways that are kept open at a place; records with ever new keys are not worth learning.
const MOST_WAYS: usize = 8;
/// Most texts that are kept.
const MOST: usize = 1024;
const NONE: u32 = u32::MAX;

type Words = [u64; STEP / 8];

/// A place in the tree, a number: 0 before all, 1 beside it; two for each node, after its value and inside of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Place(u32);

impl Place {
    /// Where the outer object begins.
    pub const START: Self = Self(0);
    /// Beside the tree: nothing is known, and nothing learned.
    pub const NOWHERE: Self = Self(1);

    #[inline(always)]
    fn after(node: u32) -> Self {
        Self(2 * node + 2)
    }

    /// Where objects in the value that comes next begin.
    #[inline(always)]
    pub fn inside(self) -> Self {
        Self(self.0 | 1)
    }
}

/// A text that may come, what is written when it comes, and what else is to be known of it.
pub struct Node<T> {
    text: Words,
    mask: Words,
    output: [u8; STEP],
    text_len: u16,
    output_len: u16,
    next_way: u32,
    pub known: T,
    /// What text and output have beyond 32 bytes.
    rest: Option<Box<(Vec<u8>, Vec<u8>)>>,
}

pub struct Forecast<T> {
    nodes: Vec<Node<T>>,
    /// The first way at each place.
    ways: Vec<u32>,
}

impl<T> Default for Forecast<T> {
    fn default() -> Self {
        Self { nodes: Vec::new(), ways: vec![NONE; 2] }
    }
}

#[inline(always)]
fn words(bytes: &[u8; STEP]) -> Words {
    let (words, _) = bytes.as_chunks();
    std::array::from_fn(|i| u64::from_le_bytes(words[i]))
}

/// The first bytes of a text, with zeros after them, and the rest.
fn parts(text: &[u8]) -> ([u8; STEP], Vec<u8>) {
    let (first, rest) = text.split_at(text.len().min(STEP));
    let mut bytes = [0; STEP];
    bytes[..first.len()].copy_from_slice(first);
    (bytes, rest.to_vec())
}

impl<T> Node<T> {
    #[inline(always)]
    fn matches(&self, src: &[u8], at: usize, there: Words) -> bool {
        let mut difference = 0;
        for ((there, text), mask) in there.iter().zip(self.text).zip(self.mask) {
            difference |= (there ^ text) & mask;
        }
        difference == 0 && self.rest.as_ref().is_none_or(|rest| src[at + STEP..].starts_with(&rest.0))
    }

    #[inline(always)]
    pub fn text_len(&self) -> usize {
        usize::from(self.text_len)
    }

    #[inline(always)]
    pub fn write(&self, out: &mut Out) {
        match &self.rest {
            None => out.put_padded(&self.output, usize::from(self.output_len)),
            Some(rest) => {
                out.extend(&self.output[..STEP.min(usize::from(self.output_len))]);
                out.extend(&rest.1);
            }
        }
    }
}

impl<T> Forecast<T> {
    /// Find what stands at `at` among what may come at a place.
    #[inline(always)]
    pub fn find(&self, place: Place, src: &[u8], at: usize) -> Option<(Place, &Node<T>)> {
        let there = words(src.get(at..)?.first_chunk()?);
        let mut way = self.ways[place.0 as usize];
        while let Some(node) = self.nodes.get(way as usize) {
            if node.matches(src, at, there) {
                return Some((Place::after(way), node));
            }
            way = node.next_way;
        }
        None
    }

    /// Learn what came at a place; returns the place after it, which is nowhere when it is not learned.
    pub fn learn(&mut self, place: Place, text: &[u8], output: &[u8], known: T) -> Place {
        if place == Place::NOWHERE {
            return place;
        }
        if text.len() > LONGEST || output.len() > 2 * LONGEST || self.nodes.len() >= MOST {
            return Place::NOWHERE;
        }
        let next_way = self.ways[place.0 as usize];
        let next = |way: &u32| self.nodes.get(*way as usize).map(|node| node.next_way);
        if std::iter::successors(Some(next_way), next).take(MOST_WAYS + 1).count() > MOST_WAYS {
            return Place::NOWHERE;
        }
        let ((text_bytes, text_rest), (output_bytes, output_rest)) = (parts(text), parts(output));
        let mut mask = [0; STEP];
        mask[..text.len().min(STEP)].fill(0xff);
        let is_short = text_rest.is_empty() && output_rest.is_empty();
        let number = self.nodes.len() as u32;
        self.nodes.push(Node {
            text: words(&text_bytes),
            mask: words(&mask),
            output: output_bytes,
            text_len: text.len() as u16,
            output_len: output.len() as u16,
            next_way,
            known,
            rest: (!is_short).then(|| Box::new((text_rest, output_rest))),
        });
        self.ways[place.0 as usize] = number;
        self.ways.extend([NONE; 2]);
        Place::after(number)
    }

    /// Forget everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_it_learned_and_nothing_else() {
        let mut forecast = Forecast::default();
        let long = [b'k'; 60];
        let first = forecast.learn(Place::START, b"{\"a\":", b"\xa1a", 1);
        let second = forecast.learn(first, &long, b"long", 2);
        forecast.learn(Place::START, b"{\"b\":", b"\xa1b", 3);
        forecast.learn(first.inside(), b"{\"c\":", b"\xa1c", 4);
        let mut src = b"{\"a\":1".to_vec();
        src.extend([0; STEP]);
        let known = |place, src: &[u8]| forecast.find(place, src, 0).map(|(_, node)| node.known);
        assert_eq!(known(Place::START, &src), Some(1));
        src[2] = b'b';
        assert_eq!(known(Place::START, &src), Some(3));
        src[2] = b'c';
        assert_eq!(known(Place::START, &src), None);
        assert_eq!(known(first.inside(), &src), Some(4));
        assert_eq!(known(second.inside(), &src), None);
        assert_eq!(known(Place::NOWHERE, &src), None);
        assert_eq!(known(first, &[b'k'; 60]), Some(2));
        assert_eq!(known(first, &[b'k'; 59]), None);
        assert_eq!(known(second, &[b'k'; 60]), None);
        assert_eq!(known(first, b"kkk"), None);
    }

    #[test]
    fn gives_up_where_everything_is_new() {
        let mut forecast = Forecast::default();
        let learned = (0..100u8).filter(|i| forecast.learn(Place::START, &[*i], b"", ()) != Place::NOWHERE);
        assert_eq!(learned.count(), MOST_WAYS);
    }
}
