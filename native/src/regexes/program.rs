//! Patterns as short programs, which match lines of logs faster than a general engine.
//!
//! ```text
//! ^(?P<host>\S+) "(?P<path>[^"]*?)(?: HTTP)?"(?: (?P<ms>\d+))?$
//!
//! save, run, save, text, save, split ... save, split, text, text, peek ... save, run, save, end, match
//! ```
//!
//! A run takes all characters of its set at once. It stands where nothing that may follow begins with such a
//! character, as there is no other way to match then; elsewhere a loop tries with `split` how many to take, and
//! goes back. What was tried at a place is not tried there again. As runs may still be repeated, there is a
//! budget; a text that needs more is left to the general engine, which takes linear time.
//!
//! Only sets are known that have all characters beyond ASCII or none.

use memchr::{memchr, memchr2};
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// A group that did not take part.
pub const NONE: usize = usize::MAX;

/// Longest program.
const MOST: usize = 500;

/// Most that may be remembered of what was tried, in bits.
const MOST_TRIED: usize = 1 << 20;

/// A set of characters by their first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Set([u64; 4]);

impl Set {
    fn of(byte: u8) -> Self {
        let mut set = Self::default();
        set.add(byte);
        set
    }

    fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    #[inline]
    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    fn union(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).any(|(a, b)| a & b != 0)
    }

    /// The set of a class; `None` when it has some but not all of what is not ASCII.
    fn of_class(class: &Class) -> Option<Self> {
        let Class::Unicode(class) = class else { return None };
        let mut set = Self::default();
        for range in class.ranges() {
            let (first, last) = (u32::from(range.start()), u32::from(range.end()));
            (first..=last.min(0x7f)).for_each(|b| set.add(b as u8));
            if last > 0x7f {
                if first > 0x80 || last != 0x10_ffff {
                    return None;
                }
                (0x80..=0xff).for_each(|b| set.add(b));
            }
        }
        Some(set)
    }
}

/// How the end of a run is found.
enum Stop {
    /// At this byte, or the end.
    At(u8),
    AtTwo(u8, u8),
    /// At a byte that is not in the set.
    Table(Box<[bool; 256]>),
}

impl Stop {
    fn new(set: &Set) -> Self {
        let missing: Vec<u8> = (0..=255).filter(|&b| !set.has(b)).collect();
        match missing[..] {
            [a] => Self::At(a),
            [a, b] => Self::AtTwo(a, b),
            _ => Self::Table(Box::new(std::array::from_fn(|b| set.has(b as u8)))),
        }
    }

    /// How many bytes at the start of `text` are of the run.
    #[inline]
    fn count(&self, text: &[u8]) -> usize {
        let stop = match self {
            Self::At(a) => memchr(*a, text),
            Self::AtTwo(a, b) => memchr2(*a, *b, text),
            Self::Table(table) => text.iter().position(|&b| !table[usize::from(b)]),
        };
        stop.unwrap_or(text.len())
    }
}

enum Step {
    Text(Vec<u8>),
    /// One character.
    One(Set),
    /// As many characters as there are, at least so many.
    Run(Stop, usize),
    /// Put the place into a slot: the start or end of a group.
    Save(usize),
    Look(Look),
    Jump(usize),
    /// Go on with the next step if the next byte is of the set, else at another.
    Peek(Set, usize),
    /// Try one step, then another. Numbered.
    Split(usize, usize, usize),
    Match,
}

/// What may come at a place.
#[derive(Clone, Copy)]
struct First {
    set: Set,
    /// Whether the pattern may go on there whatever the next character is: it ends, or an assertion comes.
    open: bool,
    /// Whether an assertion comes, which may hold at one place and not at another.
    look: bool,
    /// Whether the end of the text may come.
    end: bool,
}

impl First {
    fn of(set: Set) -> Self {
        Self { set, open: false, look: false, end: false }
    }

    fn or(self, other: Self) -> Self {
        Self {
            set: self.set.union(other.set),
            open: self.open || other.open,
            look: self.look || other.look,
            end: self.end || other.end,
        }
    }

    /// Whether the next character says if this comes, or the other.
    fn differs(&self, other: &Self) -> bool {
        !self.open && !self.end && !other.open && !self.set.meets(&other.set)
    }
}

/// What may come where a part begins that `follow` comes after.
fn first_of(hir: &Hir, follow: First) -> Option<First> {
    Some(match hir.kind() {
        HirKind::Empty => follow,
        HirKind::Literal(literal) => First::of(Set::of(literal.0[0])),
        HirKind::Class(class) => First::of(Set::of_class(class)?),
        // Nothing can follow an end, so that what comes before it is sure of its own.
        HirKind::Look(Look::End) => First { end: true, ..First::of(Set::default()) },
        HirKind::Look(_) => First { open: true, look: true, ..follow },
        HirKind::Repetition(repetition) => {
            let first = first_of(&repetition.sub, follow)?;
            if repetition.min == 0 { first.or(follow) } else { first }
        }
        HirKind::Capture(capture) => first_of(&capture.sub, follow)?,
        HirKind::Concat(parts) => {
            parts.iter().rev().try_fold(follow, |follow, part| first_of(part, follow))?
        }
        HirKind::Alternation(branches) => {
            let mut firsts = branches.iter().map(|branch| first_of(branch, follow));
            let first = firsts.next()??;
            firsts.try_fold(first, |all, first| Some(all.or(first?)))?
        }
    })
}

pub struct Program {
    steps: Vec<Step>,
    splits: usize,
    /// Whether a match can only begin at the start of the text.
    pub anchored: bool,
}

/// What matching uses again.
#[derive(Default)]
pub struct Memory {
    tried: Vec<u64>,
    stack: Vec<Job>,
}

enum Job {
    Try(usize, usize),
    /// Put back what a slot held.
    Restore(usize, usize),
}

#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Match,
    NoMatch,
    /// The budget was not enough.
    Unknown,
}

impl Program {
    /// Compile a pattern; `None` when it needs the general engine.
    pub fn new(hir: &Hir) -> Option<Self> {
        let mut compiler = Compiler { steps: vec![Step::Match], splits: 0 };
        let open = First { open: true, ..First::of(Set::default()) };
        compiler.compile(hir, open)?;
        let anchored = hir.properties().look_set_prefix().contains(Look::Start);
        Some(compiler.finish(anchored))
    }

    /// Match at a place; the slots are those of regex captures.
    pub fn matches(&self, memory: &mut Memory, text: &[u8], start: usize, slots: &mut [usize]) -> Answer {
        let width = text.len() + 1;
        if self.splits * width > MOST_TRIED {
            return Answer::Unknown;
        }
        memory.stack.clear();
        if self.splits > 0 {
            memory.tried.clear();
            memory.tried.resize((self.splits * width).div_ceil(64), 0);
        }
        slots.fill(NONE);
        let mut budget = 1000 + 30 * text.len();
        let (mut step, mut at) = (0, start);
        loop {
            match self.follow(memory, text, step, at, slots, &mut budget) {
                Some(end) => {
                    slots[0] = start;
                    slots[1] = end;
                    return Answer::Match;
                }
                None if budget == 0 => return Answer::Unknown,
                None => {}
            }
            (step, at) = loop {
                match memory.stack.pop() {
                    None => return Answer::NoMatch,
                    Some(Job::Try(step, at)) => break (step, at),
                    Some(Job::Restore(slot, place)) => slots[slot] = place,
                }
            };
        }
    }

    /// Follow the steps until they fail or match; returns where the match ends.
    #[inline]
    fn follow(
        &self, memory: &mut Memory, text: &[u8], mut step: usize, mut at: usize, slots: &mut [usize],
        budget: &mut usize,
    ) -> Option<usize> {
        loop {
            *budget = budget.saturating_sub(1);
            match &self.steps[step] {
                Step::Text(expected) => {
                    if !text[at..].starts_with(expected) {
                        return None;
                    }
                    at += expected.len();
                }
                Step::One(set) => {
                    let &byte = text.get(at)?;
                    if !set.has(byte) {
                        return None;
                    }
                    at += character_size(byte);
                }
                Step::Run(stop, least) => {
                    let n = stop.count(&text[at..]);
                    *budget = budget.saturating_sub(n);
                    if n < *least {
                        return None;
                    }
                    at += n;
                }
                Step::Save(slot) => {
                    if !memory.stack.is_empty() {
                        memory.stack.push(Job::Restore(*slot, slots[*slot]));
                    }
                    slots[*slot] = at;
                }
                Step::Look(look) => {
                    if !holds(*look, text, at) {
                        return None;
                    }
                }
                Step::Jump(to) => {
                    step = *to;
                    continue;
                }
                Step::Peek(set, other) => {
                    if !text.get(at).is_some_and(|&byte| set.has(byte)) {
                        step = *other;
                        continue;
                    }
                }
                Step::Split(first, second, number) => {
                    let bit = number * (text.len() + 1) + at;
                    let (word, mask) = (bit / 64, 1 << (bit % 64));
                    if memory.tried[word] & mask != 0 || *budget == 0 {
                        return None;
                    }
                    memory.tried[word] |= mask;
                    memory.stack.push(Job::Try(*second, at));
                    step = *first;
                    continue;
                }
                Step::Match => return Some(at),
            }
            step += 1;
        }
    }
}

/// Bytes of a character of UTF-8 by its first.
#[inline]
fn character_size(first: u8) -> usize {
    match first {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

fn holds(look: Look, text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|i| text[i]);
    let after = text.get(at).copied();
    let is_word = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    match look {
        Look::Start => before.is_none(),
        Look::End => after.is_none(),
        Look::StartLF => before.is_none_or(|b| b == b'\n'),
        Look::EndLF => after.is_none_or(|b| b == b'\n'),
        Look::WordAscii => is_word(before) != is_word(after),
        _ => unreachable!("other assertions are not compiled"),
    }
}

/// Writes the steps from the last to the first, so that it is known what follows; they are numbered from the end
/// until they are turned round.
struct Compiler {
    steps: Vec<Step>,
    splits: usize,
}

impl Compiler {
    fn finish(mut self, anchored: bool) -> Program {
        let last = self.steps.len() - 1;
        self.steps.reverse();
        for step in &mut self.steps {
            match step {
                Step::Jump(to) | Step::Peek(_, to) => *to = last - *to,
                Step::Split(first, second, _) => (*first, *second) = (last - *first, last - *second),
                _ => {}
            }
        }
        Program { steps: self.steps, splits: self.splits, anchored }
    }

    fn push(&mut self, step: Step) -> Option<()> {
        self.steps.push(step);
        (self.steps.len() < MOST).then_some(())
    }

    /// Number of the step that was written last, which is the next one to be followed.
    fn next(&self) -> usize {
        self.steps.len() - 1
    }

    fn split(&mut self, first: usize, second: usize) -> Option<()> {
        self.splits += 1;
        self.push(Step::Split(first, second, self.splits - 1))
    }

    /// Write a part that `follow` comes after.
    fn compile(&mut self, hir: &Hir, follow: First) -> Option<()> {
        match hir.kind() {
            HirKind::Empty => Some(()),
            HirKind::Literal(literal) => self.push(Step::Text(literal.0.to_vec())),
            HirKind::Class(class) => self.push(Step::One(Set::of_class(class)?)),
            HirKind::Look(look) => {
                let known = [Look::Start, Look::End, Look::StartLF, Look::EndLF, Look::WordAscii];
                self.push(Step::Look(known.contains(look).then_some(*look)?))
            }
            HirKind::Repetition(repetition) => self.repetition(repetition, follow),
            HirKind::Capture(capture) => {
                let slot = 2 * capture.index as usize;
                self.push(Step::Save(slot + 1))?;
                self.compile(&capture.sub, follow)?;
                self.push(Step::Save(slot))
            }
            HirKind::Concat(parts) => {
                let mut follow = follow;
                for part in parts.iter().rev() {
                    self.compile(part, follow)?;
                    follow = first_of(part, follow)?;
                }
                Some(())
            }
            HirKind::Alternation(branches) => self.alternation(branches, follow),
        }
    }

    fn repetition(&mut self, repetition: &Repetition, follow: First) -> Option<()> {
        let (least, sub) = (repetition.min, &*repetition.sub);
        let mut first = follow;
        match repetition.max {
            None if self.run(repetition, follow).is_some() => return Some(()),
            None => {
                self.repeat(sub, repetition.greedy, follow)?;
                first = first_of(sub, follow)?.or(follow);
            }
            Some(most) => {
                for _ in least..most {
                    self.optional(sub, repetition.greedy, first)?;
                    first = first_of(sub, first)?.or(first);
                }
            }
        }
        for _ in 0..least {
            self.compile(sub, first)?;
            first = first_of(sub, first)?;
        }
        Some(())
    }

    /// Write a run, if the repeated is a set and it is sure how far it goes.
    fn run(&mut self, repetition: &Repetition, follow: First) -> Option<()> {
        let set = match repetition.sub.kind() {
            HirKind::Class(class) => Set::of_class(class)?,
            HirKind::Literal(literal) if literal.0.len() == 1 => Set::of(literal.0[0]),
            _ => return None,
        };
        let least = repetition.min as usize;
        let sure = !set.meets(&follow.set) && !follow.look && (repetition.greedy || !follow.open);
        if !sure || (least > 1 && set.has(0xff)) {
            return None;
        }
        self.push(Step::Run(Stop::new(&set), least))
    }

    /// Write a loop around what cannot be empty.
    fn repeat(&mut self, sub: &Hir, greedy: bool, follow: First) -> Option<()> {
        let after = self.next();
        // Its place is known; where it jumps to is not, yet.
        let back = self.steps.len();
        self.push(Step::Jump(0))?;
        // After the body comes the body again, or what follows the loop.
        self.compile(sub, first_of(sub, follow)?.or(follow))?;
        let body = self.next();
        if greedy {
            self.split(body, after)?
        } else {
            self.split(after, body)?
        }
        self.steps[back] = Step::Jump(self.next());
        Some(())
    }

    /// Write a part that may be left out.
    fn optional(&mut self, sub: &Hir, greedy: bool, follow: First) -> Option<()> {
        let after = self.next();
        let first = first_of(sub, follow)?;
        self.compile(sub, follow)?;
        let body = self.next();
        if first.differs(&follow) {
            self.push(Step::Peek(first.set, after))
        } else if greedy {
            self.split(body, after)
        } else {
            self.split(after, body)
        }
    }

    fn alternation(&mut self, branches: &[Hir], follow: First) -> Option<()> {
        let after = self.next();
        let (last, others) = branches.split_last()?;
        self.compile(last, follow)?;
        let mut rest = first_of(last, follow)?;
        for branch in others.iter().rev() {
            let other = self.next();
            self.push(Step::Jump(after))?;
            let first = first_of(branch, follow)?;
            self.compile(branch, follow)?;
            if first.differs(&rest) {
                self.push(Step::Peek(first.set, other))?;
            } else {
                let body = self.next();
                self.split(body, other)?;
            }
            rest = rest.or(first);
        }
        Some(())
    }
}
