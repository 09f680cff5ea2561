//! Hides what is personal or secret in texts; see `logflow.engine.api.Redaction`.
//!
//! Only texts are written anew: what contains them counts items, not bytes, and stays as it is.

mod detectors;
mod probes;

use crate::digest;
use crate::entries::{self, Head};
use crate::error::Error;
use crate::mp::{self, MAX_DEPTH, Value};
use crate::out::Out;
use crate::records::{Globs, States};
use crate::regexes::Regex;
use crate::text;

pub use detectors::Detector;
use detectors::Span;
use probes::Probes;

/// Longest piece, in bytes, in which patterns are searched whose time grows with the square of the text.
const PIECE: usize = 4096;

/// What stands in the place of something that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Mask,
    Hash,
    Remove,
}

/// A pattern of the user's; `in_pieces` says that long texts are searched piece by piece.
pub struct Own {
    pub pattern: Regex,
    pub in_pieces: bool,
}

pub struct Redaction {
    pub detectors: Vec<Detector>,
    pub own: Vec<Own>,
    /// Names of the detectors, then of the patterns.
    pub names: Vec<String>,
    /// Which fields are looked at; all unless given.
    pub fields: Option<Globs>,
    pub action: Action,
    /// Whether keys are looked at, too.
    pub keys: bool,
}

/// What was found, and which detector found it: later ones find less.
type Found = (Span, usize);

/// One pass over entries.
struct Pass<'a> {
    redaction: &'a Redaction,
    key: &'a [u8],
    data: &'a [u8],
    probes: Probes<'a>,
    out: Out,
    /// Start of what is not copied yet.
    run: usize,
    counts: Vec<u64>,
    spans: Vec<Span>,
    found: Vec<Found>,
}

impl Redaction {
    /// The entries (`None`: nothing was found), and how many each detector found.
    pub fn apply(&self, data: &[u8], key: &[u8]) -> Result<(Option<Out>, Vec<u64>), Error> {
        let counts = vec![0; self.names.len()];
        let (spans, found) = (Vec::new(), Vec::new());
        let probes = Probes::new(data, &self.detectors);
        let out = Out::default();
        let mut pass = Pass { redaction: self, key, data, probes, out, run: 0, counts, spans, found };
        entries::walk(data, |_, head, end| pass.record(head, end))?;
        if pass.run == 0 {
            return Ok((None, pass.counts));
        }
        pass.out.extend(&data[pass.run..]);
        Ok((Some(pass.out), pass.counts))
    }
}

impl Pass<'_> {
    #[inline]
    fn record(&mut self, head: Head, end: usize) {
        if self.redaction.own.is_empty() && !self.probes.any(head.first, end) {
            return;
        }
        let mut at = head.first;
        for _ in 0..head.pairs {
            let middle = mp::skip(self.data, at, MAX_DEPTH).expect("checked before");
            let next = mp::skip(self.data, middle, MAX_DEPTH).expect("checked before");
            self.field(at, middle, next);
            at = next;
        }
    }

    /// A pair of the top level: its key at `at`, its value from `middle` to `end`.
    #[inline]
    fn field(&mut self, at: usize, middle: usize, end: usize) {
        let redaction = self.redaction;
        let Some(fields) = &redaction.fields else {
            if redaction.keys {
                self.value(at);
            }
            self.value(middle);
            return;
        };
        let mut states = States::default();
        fields.under(fields.start(), &self.data[at..middle], true, &mut states);
        if states.matched || fields.start().matched {
            if redaction.keys {
                self.value(at);
            }
            self.value(middle);
        } else if !states.is_empty() {
            self.inside(fields, middle, end, &states);
        }
    }

    /// Look for wanted fields in a value; returns the position after it.
    fn inside(&mut self, fields: &Globs, at: usize, end: usize, states: &States) -> usize {
        let mut inner = States::default();
        let one = |pass: &mut Self, key: Option<usize>, at: usize, inner: &States| {
            let end = mp::skip(pass.data, at, MAX_DEPTH).expect("checked before");
            if inner.matched {
                if let (Some(key), true) = (key, pass.redaction.keys) {
                    pass.value(key);
                }
                pass.value(at);
            } else if !inner.is_empty() {
                pass.inside(fields, at, end, inner);
            }
            end
        };
        if let Some((count, mut at)) = mp::map_head(self.data, at).expect("checked before") {
            for _ in 0..count {
                let middle = mp::skip(self.data, at, MAX_DEPTH).expect("checked before");
                fields.under(states, &self.data[at..middle], false, &mut inner);
                at = one(self, Some(at), middle, &inner);
            }
        } else if let Some((count, mut at)) = mp::array_head(self.data, at).expect("checked before") {
            for index in 0..count {
                fields.at(states, index, count, &mut inner);
                at = one(self, None, at, &inner);
            }
        }
        end
    }

    /// Look at every text in the value at `at`; returns the position after it.
    fn value(&mut self, at: usize) -> usize {
        match mp::read(self.data, at).expect("checked before") {
            (Value::Str(text), end) => {
                self.text(at, text, end, false);
                end
            }
            (Value::Bin(text), end) => {
                self.text(at, text, end, true);
                end
            }
            (Value::Array(count), first) => (0..count).fold(first, |at, _| self.value(at)),
            (Value::Map(count), first) => (0..count).fold(first, |at, _| {
                let middle = if self.redaction.keys {
                    self.value(at)
                } else {
                    mp::skip(self.data, at, MAX_DEPTH).expect("checked before")
                };
                self.value(middle)
            }),
            (_, end) => end,
        }
    }

    /// Look at the text that stands from `at` to `end` with its head.
    #[inline]
    fn text(&mut self, at: usize, text: &[u8], end: usize, binary: bool) {
        let changed = self.detect(text, end);
        let changed = self.search(changed.as_deref().unwrap_or(text)).or(changed);
        let Some(changed) = changed else { return };
        if self.run == 0 {
            self.out = Out::with_capacity(self.data.len() + self.data.len() / 16);
        }
        self.out.extend(&self.data[self.run..at]);
        if binary {
            self.out.bin(&changed)
        } else {
            self.out.str(&changed)
        }
        self.run = end;
    }

    /// The text, which ends at `end`, without what the detectors find; `None` if they find nothing.
    #[inline]
    fn detect(&mut self, text: &[u8], end: usize) -> Option<Vec<u8>> {
        self.found.clear();
        for (number, detector) in self.redaction.detectors.iter().enumerate() {
            if !self.probes.may_find(number, end - text.len(), end) {
                continue;
            }
            self.spans.clear();
            detector.find(text, &mut self.spans);
            self.found.extend(self.spans.iter().map(|span| (*span, number)));
        }
        if self.found.is_empty() { None } else { Some(self.replace(text)) }
    }

    /// The same for the user's patterns, which are searched in valid text.
    fn search(&mut self, text: &[u8]) -> Option<Vec<u8>> {
        if self.redaction.own.is_empty() {
            return None;
        }
        let text = text::to_text(text);
        self.found.clear();
        for (number, own) in self.redaction.own.iter().enumerate() {
            let number = self.redaction.detectors.len() + number;
            let mut at = 0;
            while at < text.len() {
                let end = if own.in_pieces { piece_end(&text, at) } else { text.len() };
                let found = &mut self.found;
                each_match(&own.pattern, &text[at..end], |start, stop| {
                    found.push(((at + start, at + stop), number));
                });
                at = end;
            }
        }
        if self.found.is_empty() { None } else { Some(self.replace(&text)) }
    }

    /// Write a text anew; of what overlaps, all is replaced at once.
    fn replace(&mut self, text: &[u8]) -> Vec<u8> {
        let mut found = std::mem::take(&mut self.found);
        found.sort_by_key(|((start, _), number)| (*start, *number));
        let mut to = Vec::with_capacity(text.len() + 16);
        let mut done = 0;
        let mut rest = found.iter().peekable();
        while let Some(&((start, mut end), number)) = rest.next() {
            while let Some(&&((_, other), _)) = rest.peek().filter(|((other, _), _)| *other < end) {
                end = end.max(other);
                rest.next();
            }
            to.extend_from_slice(&text[done..start]);
            self.put(&mut to, number, &text[start..end]);
            self.counts[number] += 1;
            done = end;
        }
        to.extend_from_slice(&text[done..]);
        self.found = found;
        to
    }

    fn put(&self, to: &mut Vec<u8>, number: usize, found: &[u8]) {
        let name = self.redaction.names[number].as_bytes();
        match self.redaction.action {
            Action::Remove => {}
            Action::Mask => to.extend([b"[", name, b"]"].concat()),
            Action::Hash => {
                let digest = digest::hex(&digest::hmac(self.key, found)[..8]);
                to.extend([b"[", name, b":", &digest, b"]"].concat());
            }
        }
    }
}

/// Where the piece of a text ends that begins at `at`: after a character that ends words, if there is one.
fn piece_end(text: &[u8], at: usize) -> usize {
    if text.len() - at <= PIECE {
        return text.len();
    }
    let piece = &text[at..at + PIECE];
    let separates = |b: &u8| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | b',' | b';' | b'&' | b'"' | b'\'');
    if let Some(last) = piece.iter().rposition(separates) {
        return at + last + 1;
    }
    let mut end = at + PIECE;
    while text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    end
}

/// Call `each` for every match that is not empty.
fn each_match(pattern: &Regex, text: &[u8], mut each: impl FnMut(usize, usize)) {
    let mut at = 0;
    while let Some((start, end)) = pattern.find_span(text, at) {
        if end > start {
            each(start, end);
            at = end;
            continue;
        }
        // After an empty match, go on behind the next character.
        at = end + 1;
        while at < text.len() && text[at] & 0xc0 == 0x80 {
            at += 1;
        }
        if at > text.len() {
            return;
        }
    }
}
