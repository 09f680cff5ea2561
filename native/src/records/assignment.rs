//! Fields set to what expressions give; see `logflow.engine.api.Assignment`.

use super::path::Path;
use super::record::Record;
use super::splice::Splice;
use crate::entries;
use crate::error::Error;
use crate::expressions::{self, Event, Program, Surroundings};
use crate::mp;
use crate::out::{ENTRY_HEAD, Out};
use crate::timekey::{TimeReader, Times};

/// Sets fields to what expressions give; see `logflow.engine.api.Assignment`.
pub struct Assignment {
    paths: Vec<Path>,
    /// A value for each path, and one more if there is a time.
    program: Program,
    timed: bool,
    /// The fields, if all of them are of the top level.
    splice: Option<Splice>,
}

impl Assignment {
    /// Set the fields at `paths` to the values of a program, which has one value more if there is a time.
    pub fn new(paths: Vec<Path>, program: Program, timed: bool) -> Self {
        let splice = Splice::new(&paths);
        Self { paths, program, timed, splice }
    }

    pub fn apply(&self, data: &[u8], around: Surroundings<'_>) -> Result<Out, Error> {
        match &self.splice {
            Some(splice) => self.apply_top(splice, data, around),
            None => self.apply_any(data, around),
        }
    }

    /// The same where all fields are of the top level: what is not set is copied as it stands.
    fn apply_top(&self, splice: &Splice, data: &[u8], around: Surroundings<'_>) -> Result<Out, Error> {
        let mut out = Out::with_capacity(data.len() + data.len() / 4);
        let mut event = self.program.event(around);
        let mut spliced = splice.begin();
        let mut at = 0;
        while at < data.len() {
            let head = entries::head(data, at)?;
            event.begin(head.time_ns());
            spliced.clear();
            let end = mp::each_pair(data, head.first, head.pairs, |at, middle, next| {
                self.program.note(&mut event, data, at, middle, next);
                splice.note(&mut spliced, data, at, middle, next);
            })?;
            let start = out.len();
            out.extend(&data[at..at + ENTRY_HEAD]);
            for place in 0..self.paths.len() {
                spliced.set(place, |made| self.program.pack_some(place, &mut event, made));
            }
            if self.timed {
                set_time(&mut out, start, &self.program.evaluate_one(self.paths.len(), &mut event));
            }
            splice.write(&spliced, data, head, end, &mut out);
            at = end;
        }
        Ok(out)
    }

    fn apply_any(&self, data: &[u8], around: Surroundings<'_>) -> Result<Out, Error> {
        let mut out = Out::with_capacity(data.len() + data.len() / 4);
        let mut event = self.program.event(around);
        let mut record = Record::default();
        let mut at = 0;
        while at < data.len() {
            let head = entries::head(data, at)?;
            event.begin(head.time_ns());
            mp::each_pair(data, head.first, head.pairs, |at, middle, next| {
                self.program.note(&mut event, data, at, middle, next);
            })?;
            let end = record.read(data, head, |_, _| {})?;
            let start = out.len();
            out.extend(&data[at..at + ENTRY_HEAD]);
            self.put_all(&mut record, &mut event, &mut out, start);
            record.write(&mut out);
            at = end;
        }
        Ok(out)
    }

    fn put_all<'a>(&'a self, record: &mut Record<'a>, event: &mut Event<'a>, out: &mut Out, start: usize) {
        let mut packed = Out::default();
        for (place, path) in self.paths.iter().enumerate() {
            packed.truncate(0);
            if self.program.pack_some(place, event, &mut packed) {
                let made = record.make(&packed);
                record.put(path, made);
            }
        }
        if self.timed {
            set_time(out, start, &self.program.evaluate_one(self.paths.len(), event));
        }
    }
}

/// Set the time of the entry at `start`, if the value is one: seconds since 1970, or RFC 3339.
fn set_time(out: &mut Out, start: usize, value: &expressions::Value<'_>) {
    let mut packed = Out::default();
    value.pack(&mut packed);
    let (value, _) = mp::read(&packed, 0).expect("just packed");
    let reader = if matches!(value, mp::Value::Str(_)) { TimeReader::Iso(0) } else { TimeReader::Unix(9) };
    if let Some(time_ns) = reader.read(value, &mut Times::default()) {
        out.set_entry_time(start, time_ns);
    }
}
