//! Cuts what is too long, too deep or too many; see `logflow.engine.api.Limits`.

use crate::entries;
use crate::error::Error;
use crate::mp::{self, MAX_DEPTH, Value};
use crate::out::{ENTRY_HEAD, Out};
use crate::records::{Name, plain_text};

/// Most bytes of a text, levels of nesting, and fields of a map or items of an array.
pub struct Limits {
    pub bytes: usize,
    pub depth: usize,
    pub fields: usize,
    /// Marks a record of which something was cut: its key, and key and value packed.
    pub mark: (Name, Vec<u8>),
}

/// How many texts were cut, containers written as text, and fields left out.
pub type Counts = [u64; 3];

impl Limits {
    /// The entries (`None`: all are within the limits), and what was cut.
    pub fn apply(&self, data: &[u8]) -> Result<(Option<Vec<u8>>, Counts), Error> {
        let mut out = Out::default();
        let mut counts = [0; 3];
        let (mut run, mut at) = (0, 0);
        while at < data.len() {
            let head = entries::head(data, at)?;
            let end = mp::skip_many(data, head.first, 2 * head.pairs, MAX_DEPTH - 1)?;
            if end - at > self.bytes.min(self.fields) || self.depth < MAX_DEPTH {
                let (start, before) = (out.len(), counts);
                out.extend(&data[run..at + ENTRY_HEAD]);
                self.record(data, head.first, head.pairs, &mut out, &mut counts);
                if counts == before {
                    out.truncate(start);
                } else {
                    run = end;
                }
            }
            at = end;
        }
        if run == 0 {
            return Ok((None, counts));
        }
        out.extend(&data[run..]);
        Ok((Some(out.into_vec()), counts))
    }

    fn record(&self, data: &[u8], mut at: usize, pairs: usize, out: &mut Out, counts: &mut Counts) {
        let head = out.len();
        let before = *counts;
        out.push(0);
        let kept = self.kept(pairs, counts);
        let (name, mark) = &self.mark;
        let mut marked = false;
        for _ in 0..kept {
            let middle = mp::skip(data, at, MAX_DEPTH).expect("checked before");
            marked |= name.is_packed(&data[at..middle]);
            out.extend(&data[at..middle]);
            at = self.value(data, middle, 2, out, counts);
        }
        let adds = *counts != before && !marked;
        if adds {
            out.extend(mark);
        }
        out.patch_head(head, kept + usize::from(adds), true);
    }

    fn kept(&self, count: usize, counts: &mut Counts) -> usize {
        counts[2] += count.saturating_sub(self.fields) as u64;
        count.min(self.fields)
    }

    /// Write a value that would be at a level; returns the position after it.
    fn value(&self, data: &[u8], at: usize, level: usize, out: &mut Out, counts: &mut Counts) -> usize {
        let end = mp::skip(data, at, MAX_DEPTH).expect("checked before");
        let whole = &data[at..end];
        let (count, first, map) = match mp::read(data, at).expect("checked before").0 {
            Value::Str(text) if text.len() > self.bytes => {
                counts[0] += 1;
                out.str(cut(text, self.bytes));
                return end;
            }
            Value::Bin(text) if text.len() > self.bytes => {
                counts[0] += 1;
                out.bin(cut(text, self.bytes));
                return end;
            }
            Value::Map(count) if level <= self.depth => {
                let (_, first) = mp::map_head(data, at).expect("checked before").expect("a map");
                (count, first, true)
            }
            Value::Array(count) if level <= self.depth => {
                let (_, first) = mp::array_head(data, at).expect("checked before").expect("an array");
                (count, first, false)
            }
            Value::Map(_) | Value::Array(_) => {
                counts[1] += 1;
                out.str(cut(&plain_text(whole), self.bytes));
                return end;
            }
            _ => {
                out.extend(whole);
                return end;
            }
        };
        let (head, before) = (out.len(), *counts);
        out.push(0);
        let kept = self.kept(count, counts);
        let mut place = first;
        for _ in 0..kept {
            if map {
                let middle = mp::skip(data, place, MAX_DEPTH).expect("checked before");
                out.extend(&data[place..middle]);
                place = middle;
            }
            place = self.value(data, place, level + 1, out, counts);
        }
        if *counts == before {
            out.truncate(head);
            out.extend(whole);
        } else {
            out.patch_head(head, kept, map);
        }
        end
    }
}

/// The first bytes of a text, up to the end of a character.
fn cut(text: &[u8], most: usize) -> &[u8] {
    if text.len() <= most {
        return text;
    }
    let mut end = most;
    while end > 0 && most - end < 3 && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    &text[..end]
}
