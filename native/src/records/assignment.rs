//! Fields set to what expressions give; see `logflow.engine.api.Assignment`.

use super::path::Path;
use super::record::Record;
use crate::entries;
use crate::error::Error;
use crate::expressions::{self, Program, Surroundings};
use crate::mp;
use crate::out::{ENTRY_HEAD, Out};
use crate::timekey::{TimeReader, Times};

/// Sets fields to what expressions give; see `logflow.engine.api.Assignment`.
pub struct Assignment {
    pub paths: Vec<Path>,
    /// A value for each path, and one more if there is a time.
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
            let start = out.len();
            out.extend(&data[at..at + ENTRY_HEAD]);
            for (place, value) in self.program.evaluate_all(&mut event).enumerate() {
                if matches!(value, expressions::Value::None) {
                    continue;
                }
                packed.truncate(0);
                value.pack(&mut packed);
                match self.paths.get(place) {
                    Some(path) => {
                        let made = record.make(packed.as_slice());
                        record.put(path, made);
                    }
                    None => {
                        if let Some(time_ns) = moment(packed.as_slice()) {
                            out.set_entry_time(start, time_ns);
                        }
                    }
                }
            }
            record.write(&mut out);
            at = end;
        }
        Ok(out.into_vec())
    }
}

/// The time that a packed value is: seconds since 1970, or RFC 3339.
fn moment(packed: &[u8]) -> Option<u64> {
    let (value, _) = mp::read(packed, 0).expect("just packed");
    let reader = if matches!(value, mp::Value::Str(_)) { TimeReader::Iso(0) } else { TimeReader::Unix(9) };
    reader.read(value, &mut Times::default())
}
