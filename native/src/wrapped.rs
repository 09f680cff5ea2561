//! Entries as JSON objects, each in a wrapping: what bulk interfaces of stores want around a document.
//!
//! ```text
//! before[which] insert between {"@timestamp":...} after
//! ```

use crate::entries;
use crate::error::Error;
use crate::ndjson::{Prefix, Writer};
use crate::out::Out;

/// What stands between `before` and `between`.
pub enum Insert {
    Nothing,
    /// The number of the event: counted from the first, or as listed.
    Count(u64),
    Listed(Vec<u64>),
    /// Its time in seconds since 1970, with nine decimals.
    Seconds,
}

pub struct Wrapping<'a> {
    pub before: &'a [Vec<u8>],
    /// Which of them each event has; the first, if not said.
    pub which: Option<Vec<usize>>,
    pub insert: Insert,
    pub between: &'a [u8],
    pub after: &'a [u8],
}

/// See `logflow.engine.stores.StoreForms.to_wrapped`.
pub fn to_wrapped(
    data: &[u8], tag: &str, time_key: Option<&str>, tag_key: Option<&str>, wrapping: &Wrapping<'_>,
) -> Result<Out, Error> {
    let prefix = Prefix::new(tag, time_key, tag_key);
    let mut writer = Writer::new(2 * data.len());
    let (mut at, mut index) = (0, 0);
    while at < data.len() {
        let chosen = match &wrapping.which {
            None => Some(0),
            Some(which) => which.get(index).copied(),
        };
        let before = chosen.and_then(|number| wrapping.before.get(number)).ok_or_else(too_few)?;
        writer.out.extend(before);
        wrapping.insert.write(data, at, index, &mut writer.out)?;
        writer.out.extend(wrapping.between);
        at = writer.line(data, at, &prefix)?;
        writer.out.truncate(writer.out.len() - 1);
        writer.out.extend(wrapping.after);
        index += 1;
    }
    Ok(writer.out)
}

impl Insert {
    fn write(&self, data: &[u8], at: usize, index: usize, out: &mut Out) -> Result<(), Error> {
        let number = match self {
            Insert::Nothing => return Ok(()),
            Insert::Count(first) => first + index as u64,
            Insert::Listed(numbers) => *numbers.get(index).ok_or_else(too_few)?,
            Insert::Seconds => {
                let head = entries::head(data, at)?;
                let time_ns = head.time_ns();
                out.extend(itoa::Buffer::new().format(time_ns / 1_000_000_000).as_bytes());
                out.extend(format!(".{:09}", time_ns % 1_000_000_000).as_bytes());
                return Ok(());
            }
        };
        out.extend(itoa::Buffer::new().format(number).as_bytes());
        Ok(())
    }
}

fn too_few() -> Error {
    Error::Malformed("there are fewer wrappings or numbers than entries".to_owned())
}
