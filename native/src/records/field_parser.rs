//! A parser of one field; see `logflow.engine.api.FieldParser`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::globs::key_text;
use super::path::{Path, pairs};
use super::record::{Packed, Record};
use crate::entries;
use crate::error::Error;
use crate::lines;
use crate::mp::{self, Value};
use crate::out::{ENTRY_HEAD, Out};
use crate::parsers::{MessageParser, Work};
use crate::text::{self, SENTINEL, Text};

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
            add_missing(record, pairs(found).expect("an object"));
            return true;
        };
        if record.get(into).is_some() {
            return true;
        }
        let value = record.make(found);
        record.put(into, value)
    }
}

/// Add fields at the end that the record has not.
fn add_missing(record: &mut Record<'_>, found: Vec<(&[u8], &[u8])>) {
    let own = |(key, _): &(Packed<'_>, Packed<'_>)| key_text(record.value(*key)).map(Cow::into_owned);
    let mut known: HashSet<Vec<u8>> = record.items.iter().filter_map(own).collect();
    for (key, value) in found {
        if key_text(key).is_none_or(|text| known.insert(text.into_owned())) {
            let pair = (record.make(key), record.make(value));
            record.items.push(pair);
        }
    }
}
