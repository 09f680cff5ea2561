//! Patterns that need no search: at each place the next byte says how to go on.
//!
//! ```text
//! ^(?P<host>\S+) \[(?P<time>[^\]]+)\] "(?P<request>[^"]*)"(?: (?P<ms>\d+))?$
//!  run    text  text  run     text ...                      optional       end
//! ```
//!
//! A run takes all bytes of its set. That is the only way to match when nothing that may follow begins with
//! such a byte; otherwise the pattern is no chain. The same holds for the parts of optional and alternative
//! groups. Most patterns of logs are chains, and are matched at the speed of `memchr`.

use memchr::{memchr, memchr2};
use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// A group that did not take part.
pub const NONE: usize = usize::MAX;

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bytes([u64; 4]);

impl Bytes {
    fn of(byte: u8) -> Self {
        let mut set = Self::default();
        set.add(byte);
        set
    }

    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    fn union(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).any(|(a, b)| a & b != 0)
    }

    fn missing(&self) -> Vec<u8> {
        (0..=255).filter(|&b| !self.has(b)).collect()
    }
}

/// How the end of a run is found.
enum Stop {
    /// At one of these bytes, or the end.
    At(u8),
    AtTwo(u8, u8),
    /// At a byte that is not in the table.
    Table(Box<[bool; 256]>),
}

enum Item {
    Text(Vec<u8>),
    Run {
        stop: Stop,
        least: usize,
        most: usize,
    },
    /// The place of a slot: a group's start or end.
    Slot(usize),
    /// The first branch whose bytes the next byte is among; with `optional`, or nothing.
    Choice {
        branches: Vec<(Bytes, Vec<Item>)>,
        optional: bool,
        slots: (usize, usize),
    },
    End,
}

/// What may come at a place.
#[derive(Clone, Copy)]
struct First {
    bytes: Bytes,
    /// Whether the pattern may be at its end there, wherever the text ends.
    open: bool,
}

pub struct Chain {
    items: Vec<Item>,
    /// Whether the pattern is bound to the start of the text.
    pub anchored: bool,
}

impl Chain {
    /// Compile a pattern; `None` when it is no chain.
    pub fn new(hir: &Hir) -> Option<Self> {
        let (anchored, parts) = match hir.kind() {
            HirKind::Concat(parts) if is_start(&parts[0]) => (true, &parts[1..]),
            _ => (false, std::slice::from_ref(hir)),
        };
        let open = First { bytes: Bytes::default(), open: true };
        let (items, _) = sequence(parts, open)?;
        Some(Self { items, anchored })
    }

    /// Match at the start of `text`; the slots are those of regex captures.
    pub fn matches(&self, text: &[u8], slots: &mut [usize]) -> bool {
        slots.fill(NONE);
        let Some(end) = run(&self.items, text, 0, slots) else { return false };
        slots[0] = 0;
        slots[1] = end;
        true
    }
}

fn is_start(hir: &Hir) -> bool {
    matches!(hir.kind(), HirKind::Look(Look::Start))
}

fn sequence(parts: &[Hir], follow: First) -> Option<(Vec<Item>, First)> {
    let mut first = follow;
    let mut reversed = Vec::new();
    for part in parts.iter().rev() {
        let (items, before) = compile(part, first)?;
        reversed.push(items);
        first = before;
    }
    Some((reversed.into_iter().rev().flatten().collect(), first))
}

/// Compile a part that `follow` comes after; gives also what may come where the part begins.
fn compile(hir: &Hir, follow: First) -> Option<(Vec<Item>, First)> {
    match hir.kind() {
        HirKind::Empty => Some((Vec::new(), follow)),
        HirKind::Literal(literal) => {
            let bytes = Bytes::of(*literal.0.first()?);
            Some((vec![Item::Text(literal.0.to_vec())], First { bytes, open: false }))
        }
        HirKind::Class(class) => run_of(class, 1, 1, true, follow),
        HirKind::Look(Look::End) => Some((vec![Item::End], First { bytes: Bytes::default(), open: false })),
        HirKind::Look(_) => None,
        HirKind::Repetition(repetition) => {
            let most = repetition.max.map_or(usize::MAX, |most| most as usize);
            match (repetition.sub.kind(), repetition.min, most) {
                (HirKind::Class(class), least, _) => {
                    run_of(class, least as usize, most, repetition.greedy, follow)
                }
                (HirKind::Literal(literal), least, _) if literal.0.len() == 1 => {
                    let class = Class::Bytes(regex_syntax::hir::ClassBytes::new([
                        regex_syntax::hir::ClassBytesRange::new(literal.0[0], literal.0[0]),
                    ]));
                    run_of(&class, least as usize, most, repetition.greedy, follow)
                }
                (_, 0, 1) if repetition.greedy => {
                    choice(std::slice::from_ref(&*repetition.sub), true, follow)
                }
                _ => None,
            }
        }
        HirKind::Capture(capture) => {
            let (inner, first) = compile(&capture.sub, follow)?;
            let slot = 2 * capture.index as usize;
            let mut items = vec![Item::Slot(slot)];
            items.extend(inner);
            items.push(Item::Slot(slot + 1));
            Some((items, first))
        }
        HirKind::Concat(parts) => sequence(parts, follow),
        HirKind::Alternation(branches) => choice(branches, false, follow),
    }
}

/// The bytes of a class; `None` when it has some but not all of what is not ASCII.
fn bytes_of(class: &Class) -> Option<Bytes> {
    let mut bytes = Bytes::default();
    match class {
        Class::Bytes(class) => {
            for range in class.ranges() {
                (range.start()..=range.end()).for_each(|b| bytes.add(b));
            }
        }
        Class::Unicode(class) => {
            for range in class.ranges() {
                let (first, last) = (u32::from(range.start()), u32::from(range.end()));
                (first..=last.min(0x7f)).for_each(|b| bytes.add(b as u8));
                if last > 0x7f {
                    if first > 0x80 || last != 0x10_ffff {
                        return None;
                    }
                    (0x80..=0xff).for_each(|b| bytes.add(b));
                }
            }
        }
    }
    Some(bytes)
}

fn run_of(
    class: &Class, least: usize, most: usize, greedy: bool, follow: First,
) -> Option<(Vec<Item>, First)> {
    let bytes = bytes_of(class)?;
    // Bytes are counted, so it must not matter how many a character has.
    let counts = least > 1 || most != usize::MAX;
    if (counts && bytes.has(0xff)) || bytes.meets(&follow.bytes) || (!greedy && follow.open && least != most)
    {
        return None;
    }
    let stop = match bytes.missing()[..] {
        [a] => Stop::At(a),
        [a, b] => Stop::AtTwo(a, b),
        _ => Stop::Table(Box::new(std::array::from_fn(|b| bytes.has(b as u8)))),
    };
    let first = if least == 0 {
        First { bytes: bytes.union(follow.bytes), open: follow.open }
    } else {
        First { bytes, open: false }
    };
    Some((vec![Item::Run { stop, least, most }], first))
}

fn choice(branches: &[Hir], optional: bool, follow: First) -> Option<(Vec<Item>, First)> {
    let mut all = if optional { follow.bytes } else { Bytes::default() };
    let mut slots = (usize::MAX, 0);
    let mut compiled = Vec::new();
    for branch in branches {
        if branch.properties().minimum_len().is_none_or(|n| n == 0) {
            return None;
        }
        let (items, first) = compile(branch, follow)?;
        if first.bytes.meets(&all) {
            return None;
        }
        all = all.union(first.bytes);
        note_slots(&items, &mut slots);
        compiled.push((first.bytes, items));
    }
    let first = First { bytes: all, open: optional && follow.open };
    Some((vec![Item::Choice { branches: compiled, optional, slots }], first))
}

/// Widen a range so that it holds all slots of the items.
fn note_slots(items: &[Item], range: &mut (usize, usize)) {
    for item in items {
        match item {
            Item::Slot(slot) => *range = (range.0.min(*slot), range.1.max(slot + 1)),
            Item::Choice { slots, .. } => *range = (range.0.min(slots.0), range.1.max(slots.1)),
            _ => {}
        }
    }
}

/// Match the items from `at` on; returns where they end.
fn run(items: &[Item], text: &[u8], mut at: usize, slots: &mut [usize]) -> Option<usize> {
    for item in items {
        match item {
            Item::Text(expected) => {
                if !text[at..].starts_with(expected) {
                    return None;
                }
                at += expected.len();
            }
            Item::Run { stop, least, most } => {
                let rest = &text[at..];
                let n = match stop {
                    Stop::At(a) => memchr(*a, rest).unwrap_or(rest.len()),
                    Stop::AtTwo(a, b) => memchr2(*a, *b, rest).unwrap_or(rest.len()),
                    Stop::Table(table) => {
                        rest.iter().position(|&b| !table[usize::from(b)]).unwrap_or(rest.len())
                    }
                };
                if n < *least {
                    return None;
                }
                at += n.min(*most);
            }
            Item::Slot(slot) => slots[*slot] = at,
            Item::Choice { branches, optional, slots: inside } => {
                let found = branches.iter().find(|(first, _)| text.get(at).is_some_and(|&b| first.has(b)));
                match found.and_then(|(_, items)| run(items, text, at, slots)) {
                    Some(end) => at = end,
                    None if *optional => {
                        if inside.0 < inside.1 {
                            slots[inside.0..inside.1].fill(NONE);
                        }
                    }
                    None => return None,
                }
            }
            Item::End => {
                if at != text.len() {
                    return None;
                }
            }
        }
    }
    Some(at)
}
