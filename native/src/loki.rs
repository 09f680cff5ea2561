//! Entries as Loki's push interface has them; see `logflow.engine.stores.StoreForms.to_loki`.

use crate::entries::{self, Head};
use crate::error::Error;
use crate::mp::{self, Value};
use crate::ndjson::{Prefix, Writer};
use crate::protobuf::{delimited, delimited_len, head, varint, varint_len};
use crate::text;

pub struct Form<'a> {
    pub streams: usize,
    /// Which stream each event belongs to; the first, if not said.
    pub which: Option<Vec<usize>>,
    /// The field that is the line, where it is text.
    pub line_key: Option<&'a str>,
    /// Fields of each event that are written already.
    pub extra: Option<Vec<Vec<u8>>>,
}

pub fn to_loki(data: &[u8], form: &Form<'_>) -> Result<Vec<Vec<u8>>, Error> {
    let prefix = Prefix::new("", None, None);
    let mut writer = Writer::new(data.len().min(64 << 10));
    let mut streams = vec![Vec::new(); form.streams];
    let (mut at, mut index) = (0, 0);
    while at < data.len() {
        let event = entries::head(data, at)?;
        let stream = match &form.which {
            None => Some(0),
            Some(which) => which.get(index).copied(),
        };
        let out = stream.and_then(|number| streams.get_mut(number)).ok_or_else(too_few)?;
        let extra = match &form.extra {
            None => &[][..],
            Some(extra) => extra.get(index).ok_or_else(too_few)?,
        };
        let text = match form.line_key {
            None => None,
            Some(key) => field(data, event, key.as_bytes())?,
        };
        match text {
            Some(text) => {
                at = mp::skip_many(data, event.first, 2 * event.pairs, mp::MAX_DEPTH - 1)?;
                entry(event, &text::to_text(text), extra, out);
            }
            None => {
                writer.out.truncate(0);
                at = writer.line(data, at, &prefix)?;
                let line = writer.out.as_slice();
                entry(event, &line[..line.len() - 1], extra, out);
            }
        }
        index += 1;
    }
    Ok(streams)
}

/// The text of a top-level field, if it is text; of several of that name the last one counts.
fn field<'a>(data: &'a [u8], event: Head, wanted: &[u8]) -> Result<Option<&'a [u8]>, Error> {
    let mut at = event.first;
    let mut found = None;
    for _ in 0..event.pairs {
        let is_wanted = match mp::read(data, at)?.0 {
            Value::Str(key) | Value::Bin(key) => key == wanted,
            _ => false,
        };
        let value = mp::skip(data, at, mp::MAX_DEPTH - 1)?;
        at = mp::skip(data, value, mp::MAX_DEPTH - 1)?;
        if is_wanted {
            found = match mp::read(data, value)?.0 {
                Value::Str(text) | Value::Bin(text) => Some(text),
                Value::Ext(..) => return Err(Error::Unsupported("a line that is an ext".to_owned())),
                _ => None,
            };
        }
    }
    Ok(found)
}

/// `EntryAdapter`: timestamp, line, structured metadata.
fn entry(event: Head, line: &[u8], extra: &[u8], out: &mut Vec<u8>) {
    let time_ns = event.time_ns();
    let (seconds, nanoseconds) = (time_ns / 1_000_000_000, time_ns % 1_000_000_000);
    let timestamp = 2 + varint_len(seconds as usize) + varint_len(nanoseconds as usize);
    head(2, delimited_len(timestamp) + delimited_len(line.len()) + extra.len(), out);
    head(1, timestamp, out);
    out.push(0x08);
    varint(seconds, out);
    out.push(0x10);
    varint(nanoseconds, out);
    delimited(2, line, out);
    out.extend_from_slice(extra);
}

fn too_few() -> Error {
    Error::Malformed("there are fewer streams than entries".to_owned())
}
