//! What others send as entries, brought to canonical form; see `logflow.engine.api.Engine.normalize`.
//!
//! ```text
//! [time, record]  [[time, metadata], record]        an event
//! [[-1, metadata], fields] event ... [[-2, _], _]   a group: its fields are added to the events in it
//! ```

use std::ops::Range;

use crate::error::Error;
use crate::mp::{self, Fault, Kind, MAX_DEPTH, Value};
use crate::out::{ENTRY_HEAD, Out};
use crate::records::{self, Name};
use crate::time::NANOSECOND;
use crate::timekey::scaled;

/// Why an event is left out.
pub const SKIPPED: [&str; 4] = ["not_an_event", "bad_time", "bad_record", "too_deep"];
/// What was put right.
pub const MENDED: [&str; 4] = ["time_missing", "time_scaled", "time_clamped", "group_too_large"];

/// Fields of a group that take more are left out, as they are repeated for each event.
const MAX_GROUP: usize = 8 << 10;
/// Entries that are no good of which it is said where they are.
const MAX_REFUSED: usize = 16;
/// What an EventTime can carry without being taken for the mark of a group.
const SECONDS: f64 = 4_294_967_294.0;

/// Places in `SKIPPED`.
const NOT_AN_EVENT: usize = 0;
const BAD_TIME: usize = 1;
const BAD_RECORD: usize = 2;
const TOO_DEEP: usize = 3;

/// Places in `MENDED`.
const MISSING: usize = 0;
const SCALED: usize = 1;
const CLAMPED: usize = 2;
const GROUP: usize = 3;

/// Fields to add: each with its key and value packed.
type Fields = Vec<(Name, Vec<u8>)>;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Normalized {
    /// `None`: what was consumed, as it is.
    pub entries: Option<Vec<u8>>,
    pub events: usize,
    pub consumed: usize,
    pub skipped: [usize; 4],
    pub mended: [usize; 4],
    /// The open group's fields, a packed map; empty if there is none.
    pub group: Vec<u8>,
    /// The first ones that were left out: a place in `SKIPPED`, and where each lies.
    pub refused: Vec<(usize, Range<usize>)>,
}

impl Normalized {
    fn refuse(&mut self, reason: usize, at: Range<usize>) {
        self.skipped[reason] += 1;
        if self.refused.len() < MAX_REFUSED {
            self.refused.push((reason, at));
        }
    }
}

/// Bring entries to canonical form until `limit` bytes of them are made or the data ends.
///
/// `group` is what an earlier call returned; `None`: the fields of groups are not wanted.
pub fn normalize(data: &[u8], now_ns: i128, limit: usize, group: Option<&[u8]>) -> Result<Normalized, Error> {
    let mut done = Normalized { group: group.unwrap_or_default().to_vec(), ..Normalized::default() };
    let mut fields = fields_of(&done.group)?;
    // What is canonical so far is copied only when something else is found.
    let mut out: Option<Out> = None;
    let mut at = 0;
    while at < data.len() && out.as_ref().map_or(at, Out::len) < limit {
        if fields.is_empty() && is_canonical(data, at) {
            match mp::skip(data, at + ENTRY_HEAD, MAX_DEPTH) {
                Ok(end) => {
                    if let Some(out) = &mut out {
                        out.extend(&data[at..end]);
                    }
                    at = end;
                    done.events += 1;
                    continue;
                }
                Err(Fault::Short(_)) => break,
                Err(Fault::Malformed) => return Err(Fault::Malformed.into()),
                Err(Fault::Deep) => {}
            }
        }
        let event = read_event(data, at);
        let end = match &event {
            Ok(event) => event.end,
            Err(_) => match mp::skip_flat(data, at) {
                Ok(end) => end,
                Err(Fault::Short(_)) => break,
                Err(fault) => return Err(fault.into()),
            },
        };
        let out = out.get_or_insert_with(|| {
            let mut out =
                Out::with_capacity((data.len() + data.len() / 4).min(limit.saturating_add(limit / 4)));
            out.extend(&data[..at]);
            out
        });
        match event {
            Ok(event) => match event.time.read(data, now_ns, event.metadata.is_some()) {
                Some(Read::Time(time, mended)) => {
                    if let Some(mended) = mended {
                        done.mended[mended] += 1;
                    }
                    write_event(data, &event, time, mended, &fields, out)?;
                    done.events += 1;
                }
                Some(Read::GroupStart) => {
                    let body = &data[event.record..event.end];
                    let large = body.len() > MAX_GROUP;
                    done.mended[GROUP] += usize::from(large);
                    done.group = if large || group.is_none() { Vec::new() } else { body.to_vec() };
                    fields = fields_of(&done.group)?;
                }
                Some(Read::GroupEnd) => {
                    done.group.clear();
                    fields.clear();
                }
                None => done.refuse(BAD_TIME, at..end),
            },
            Err(reason) => done.refuse(reason, at..end),
        }
        at = end;
    }
    done.consumed = at;
    done.entries = out.map(Out::into_vec);
    Ok(done)
}

/// Whether a canonical entry begins at `at`, with a time that means nothing else.
#[inline(always)]
fn is_canonical(data: &[u8], at: usize) -> bool {
    let Some(fixed) = data[at..].first_chunk::<{ ENTRY_HEAD + 1 }>() else { return false };
    let seconds = u32::from_be_bytes([fixed[3], fixed[4], fixed[5], fixed[6]]);
    // 0 stands for now; the last two seconds may be marks of groups.
    fixed[..3] == [0x92, 0xd7, 0x00]
        && seconds.wrapping_add(2) > 2
        && matches!(fixed[ENTRY_HEAD], 0x80..=0x8f | 0xde | 0xdf)
}

/// An event whose structure is right.
struct Event {
    time: Time,
    /// The metadata, if there are some at all.
    metadata: Option<Range<usize>>,
    record: usize,
    end: usize,
}

/// A time as it was sent.
struct Time {
    at: usize,
    end: usize,
}

/// What a time means.
enum Read {
    Time([u8; 8], Option<usize>),
    GroupStart,
    GroupEnd,
}

/// Read the event at `at`; an error is a place in `SKIPPED`. The caller tells whether the data ends within it.
fn read_event(data: &[u8], at: usize) -> Result<Event, usize> {
    let reason = |fault| if fault == Fault::Deep { TOO_DEEP } else { NOT_AN_EVENT };
    let Some((2, inside)) = mp::array_head(data, at).map_err(reason)? else {
        return Err(NOT_AN_EVENT);
    };
    let time_at = match mp::array_head(data, inside).map_err(reason)? {
        Some((2, first)) => first,
        Some(_) => return Err(NOT_AN_EVENT),
        None => inside,
    };
    let (kind, _, _) = mp::head(data, time_at).map_err(reason)?;
    if !matches!(kind, Kind::Nil | Kind::Number | Kind::Ext) {
        return Err(BAD_TIME);
    }
    let time = Time { at: time_at, end: mp::skip(data, time_at, MAX_DEPTH).map_err(reason)? };
    // Metadata become a field of the record, one level deeper.
    let metadata = if time_at == inside {
        None
    } else {
        Some(time.end..mp::skip(data, time.end, MAX_DEPTH - 1).map_err(reason)?)
    };
    let record = metadata.as_ref().map_or(time.end, |metadata| metadata.end);
    if mp::map_head(data, record).map_err(reason)?.is_none() {
        return Err(BAD_RECORD);
    }
    let end = mp::skip(data, record, MAX_DEPTH).map_err(reason)?;
    Ok(Event { time, metadata, record, end })
}

impl Time {
    /// What it means; `None` if it is no time.
    fn read(&self, data: &[u8], now_ns: i128, with_metadata: bool) -> Option<Read> {
        let missing = || Some(Read::Time(packed(now_ns), Some(MISSING)));
        let (value, _) = mp::read(data, self.at).ok()?;
        match value {
            Value::Ext(0, time) => match *<&[u8; 8]>::try_from(time).ok()? {
                [0, 0, 0, 0, 0, 0, 0, 0] => missing(),
                [255, 255, 255, 255, 0, 0, 0, 0] => Some(Read::GroupStart),
                [255, 255, 255, 254, 0, 0, 0, 0] => Some(Read::GroupEnd),
                time => Some(Read::Time(time, None)),
            },
            Value::Nil | Value::UInt(0) | Value::Int(0) => missing(),
            Value::Int(-1) if with_metadata => Some(Read::GroupStart),
            Value::Int(-2) if with_metadata => Some(Read::GroupEnd),
            Value::UInt(value) => Some(number(value as f64, |unit| i128::from(value) * unit)),
            Value::Int(value) => Some(number(value as f64, |unit| i128::from(value) * unit)),
            Value::F32(value) => float(f64::from(value), missing),
            Value::F64(value) => float(value, missing),
            _ => None,
        }
    }
}

fn float(value: f64, missing: impl Fn() -> Option<Read>) -> Option<Read> {
    if value == 0.0 {
        return missing();
    }
    // One nanosecond of unit is 9 digits less than a second of it.
    value.is_finite().then(|| number(value, |unit| scaled(value, unit.ilog10())))
}

/// A number of seconds, or of the smaller unit that makes it a time since 2001; else it is clamped.
///
/// `times(unit)` is the number times a power of ten: nanoseconds, if a unit has so many.
fn number(value: f64, times: impl Fn(i128) -> i128) -> Read {
    if (0.0..SECONDS).contains(&value) {
        return Read::Time(packed(times(NANOSECOND)), None);
    }
    for (unit, nanoseconds) in [(1e3, NANOSECOND / 1000), (1e6, 1000), (1e9, 1)] {
        if (1e9 * unit..SECONDS * unit).contains(&value) {
            return Read::Time(packed(times(nanoseconds)), Some(SCALED));
        }
    }
    // Not 0, which the next receiver would take for now.
    Read::Time(packed(if value < 0.0 { 1 } else { i128::MAX }), Some(CLAMPED))
}

fn packed(time_ns: i128) -> [u8; 8] {
    let mut entry = Out::default();
    entry.entry_head(time_ns);
    entry.as_slice()[3..].try_into().expect("8 bytes")
}

fn write_event(
    data: &[u8], event: &Event, time: [u8; 8], mended: Option<usize>, group: &Fields, out: &mut Out,
) -> Result<(), Error> {
    let start = out.len();
    out.put([0x92, 0xd7, 0x00]);
    out.put(time);
    out.extend(&data[event.record..event.end]);
    let mut fields = Fields::new();
    if matches!(mended, Some(SCALED | CLAMPED)) {
        fields.push(field("time_as_sent", &data[event.time.at..event.time.end]));
    }
    if !fields.is_empty() || !group.is_empty() {
        for (name, packed) in group {
            push_new(&mut fields, name.clone(), || packed.clone());
        }
        let entry = records::splice(&out.as_slice()[start..], &fields)?;
        out.truncate(start);
        out.extend(&entry);
    }
    Ok(())
}

fn field(name: &str, value: &[u8]) -> (Name, Vec<u8>) {
    let mut packed = Out::default();
    packed.str(name.as_bytes());
    packed.extend(value);
    (Name::new(name), packed.into_vec())
}

/// Of equal names the first one counts.
fn push_new(fields: &mut Fields, name: Name, packed: impl FnOnce() -> Vec<u8>) {
    if !fields.iter().any(|(known, _)| *known == name) {
        fields.push((name, packed()));
    }
}

/// The fields of a packed map whose keys are texts.
fn fields_of(map: &[u8]) -> Result<Fields, Error> {
    let mut fields = Fields::new();
    if map.is_empty() {
        return Ok(fields);
    }
    let (pairs, mut at) = mp::map_head(map, 0)?.unwrap_or((0, 0));
    for _ in 0..pairs {
        let (key, value) = mp::read(map, at)?;
        let value =
            if matches!(key, Value::Str(_) | Value::Bin(_)) { value } else { mp::skip(map, at, MAX_DEPTH)? };
        let end = mp::skip(map, value, MAX_DEPTH)?;
        if let Value::Str(text) | Value::Bin(text) = key
            && let Ok(text) = str::from_utf8(text)
        {
            push_new(&mut fields, Name::new(text), || field(text, &map[value..end]).1);
        }
        at = end;
    }
    Ok(fields)
}
