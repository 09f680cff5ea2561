//! Changes of packed records and questions about them; what is not changed stays byte for byte as it is.
//!
//! ```text
//! path      keys and paths, values inside containers         record        one record while it is changed
//! grep      which events are kept, by patterns               modify        a list of changes
//! globs     fields that match, and records without them    reshape       maps made and divided
//! field_parser  a parser of one field                        assignment    fields set by expressions
//! wanted    a few keys, found fast                           splice        fields set, all else copied
//! ```

mod assignment;
mod field_parser;
mod globs;
mod grep;
mod modify;
mod path;
mod record;
mod reshape;
mod splice;
mod wanted;

use crate::entries;
use crate::error::Error;
use crate::mp;
use crate::out::{ENTRY_HEAD, Out};

pub use assignment::Assignment;
pub use field_parser::FieldParser;
pub use globs::{Glob, GlobStep, Globs, Like, States};
pub use grep::{Grep, Rule};
pub use modify::{Change, Modify, NewValue, template};
pub use path::{Name, Path, Step, Target, plain_text};
pub(crate) use record::{Packed, Record};
pub use wanted::{Wanted, copy_plain, short_ascii};

use path::each_pair;

/// Bytes of the first entry: the others will have about as many.
fn first_size(data: &[u8]) -> Result<usize, Error> {
    if data.is_empty() {
        return Ok(1);
    }
    let head = entries::head(data, 0)?;
    each_pair(data, head.first, head.pairs, |_, _| ())
}

/// See `logflow.engine.api.Engine.splice`; `fields` are keys, and keys and values packed.
pub fn splice(data: &[u8], fields: &[(Name, Vec<u8>)]) -> Result<Out, Error> {
    let added: usize = fields.iter().map(|(_, packed)| packed.len()).sum();
    let mut out = Out::with_capacity(data.len() + added * (1 + data.len() / first_size(data)?));
    let mut wanted = Wanted::default();
    fields.iter().for_each(|(name, _)| wanted.push(&name.text));
    let mut missing = vec![true; fields.len()];
    let mut at = 0;
    while at < data.len() {
        let head = entries::head(data, at)?;
        missing.fill(true);
        let end = mp::each_pair(data, head.first, head.pairs, |at, middle, _| {
            let is = |number: usize| fields[number].0.is_packed(&data[at..middle]);
            wanted.find(data, at, middle, is, |number| missing[number] = false);
        })?;
        out.extend(&data[at..at + ENTRY_HEAD]);
        out.map_head(head.pairs + missing.iter().filter(|&&missing| missing).count());
        out.extend(&data[head.first..end]);
        for ((_, packed), _) in fields.iter().zip(&missing).filter(|(_, missing)| **missing) {
            out.extend(packed);
        }
        at = end;
    }
    Ok(out)
}
