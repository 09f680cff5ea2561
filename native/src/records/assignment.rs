//! Fields set to what expressions give; see `logflow.engine.api.Assignment`.

use super::path::Path;
use super::record::Record;
use crate::entries;
use crate::error::Error;
use crate::expressions::{self, Program, Surroundings};
use crate::out::{ENTRY_HEAD, Out};

/// Sets fields to what expressions give; see `logflow.engine.api.Assignment`.
pub struct Assignment {
    pub paths: Vec<Path>,
    pub program: Program,
}

impl Assignment {
    pub fn apply(&self, data: &[u8], around: Surroundings<'_>) -> Result<Vec<u8>, Error> {
        let mut out = Out::with_capacity(data.len() + data.len() / 4);
        let mut event = self.program.event(around);
        let (mut record, mut packed) = (Record::default(), Out::default());
        let mut at = 0;
        while at < data.len() {
            let head = entries::head(data, at)?;
            event.begin(head.time_ns());
            let end = record.read(data, head, |key, value| self.program.note(&mut event, key, value))?;
            for (path, value) in self.paths.iter().zip(self.program.evaluate_all(&mut event)) {
                if matches!(value, expressions::Value::None) {
                    continue;
                }
                packed.truncate(0);
                value.pack(&mut packed);
                let made = record.make(packed.as_slice());
                record.put(path, made);
            }
            out.extend(&data[at..at + ENTRY_HEAD]);
            record.write(&mut out);
            at = end;
        }
        Ok(out.into_vec())
    }
}
