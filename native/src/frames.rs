//! Forward frames, found by their headers; see `logflow.engine.api.Engine.scan_frames`.
//!
//! ```text
//! message  [tag, time, record, option?]        packed   [tag, bin or str, option?]
//! forward  [tag, [entry, ...], option?]        other    anything that is no array
//! ```

use crate::error::Error;
use crate::mp::{self, Fault, Kind, MAX_DEPTH};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Message,
    Forward,
    Packed,
    Other,
}

/// One frame, as positions in the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub tag: (usize, usize),
    pub mode: Mode,
    pub start: usize,
    pub end: usize,
    /// Entries announced; -1 where the frame does not say.
    pub events: i64,
    pub option_start: usize,
    pub option_end: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Scanned {
    pub frames: Vec<Frame>,
    pub consumed: usize,
    pub needed: usize,
}

enum Bad {
    Fault(Fault),
    NoFrame(&'static str),
}

impl From<Fault> for Bad {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Find whole frames, at most `most`, as each takes many times the memory that the smallest has.
pub fn scan(data: &[u8], max_size: usize, most: usize) -> Result<Scanned, Error> {
    let mut frames = Vec::new();
    let mut at = 0;
    while at < data.len() && frames.len() < most {
        let too_large = |size: usize| {
            Error::Limit(format!("a frame of {size} bytes or more is larger than the limit of {max_size}"))
        };
        let error = match frame(data, at) {
            Ok((frame, end)) if end - at <= max_size => {
                frames.push(frame);
                at = end;
                continue;
            }
            Ok((_, end)) => too_large(end - at),
            Err(Bad::Fault(Fault::Short(needed))) if needed - at <= max_size => {
                return Ok(Scanned { frames, consumed: at, needed: needed - at });
            }
            Err(Bad::Fault(Fault::Short(needed))) => too_large(needed - at),
            Err(Bad::Fault(fault)) => fault.into(),
            Err(Bad::NoFrame(what)) => Error::malformed(what),
        };
        if frames.is_empty() {
            return Err(error);
        }
        return Ok(Scanned { frames, consumed: at, needed: 0 });
    }
    Ok(Scanned { frames, consumed: at, needed: 1 })
}

/// What follows a tag.
struct Content {
    mode: Mode,
    events: i64,
    start: usize,
    end: usize,
    /// Elements of the frame up to its end.
    read: usize,
}

fn frame(data: &[u8], start: usize) -> Result<(Frame, usize), Bad> {
    let (kind, elements, at) = mp::head(data, start)?;
    if kind != Kind::Array {
        let end = mp::skip(data, start, MAX_DEPTH)?;
        let (tag, option) = ((start, start), end);
        let frame =
            Frame { tag, mode: Mode::Other, start, end, events: 0, option_start: option, option_end: option };
        return Ok((frame, end));
    }
    if !(2..=4).contains(&elements) {
        return Err(Bad::NoFrame("an array that is not a frame of the Forward Protocol"));
    }
    let (kind, size, tag_start) = mp::head(data, at)?;
    if kind != Kind::Text {
        return Err(Bad::NoFrame("the first element of a frame is not a tag"));
    }
    let tag = (tag_start, mp::whole(data, tag_start + size)?);
    let Content { mode, events, start, end, read } = content(data, tag.1)?;
    let option = match elements.checked_sub(read) {
        Some(0) => (end, end),
        Some(1) => option(data, end)?,
        _ => return Err(Bad::NoFrame("a frame has too few or too many elements")),
    };
    let frame = Frame { tag, mode, start, end, events, option_start: option.0, option_end: option.1 };
    Ok((frame, option.1))
}

fn content(data: &[u8], at: usize) -> Result<Content, Bad> {
    let (kind, count, start) = mp::head(data, at)?;
    match kind {
        Kind::Array => {
            mp::whole(data, start + count)?; // an entry has at least one byte
            let end = mp::skip_many_any(data, start, count, MAX_DEPTH + 2)?;
            Ok(Content { mode: Mode::Forward, events: count as i64, start, end, read: 2 })
        }
        Kind::Text => {
            let end = mp::whole(data, start + count)?;
            Ok(Content { mode: Mode::Packed, events: -1, start, end, read: 2 })
        }
        Kind::Number | Kind::Ext | Kind::Nil => {
            let end = mp::skip_many_any(data, at, 2, MAX_DEPTH + 2)?;
            Ok(Content { mode: Mode::Message, events: 1, start: at, end, read: 3 })
        }
        _ => Err(Bad::NoFrame("the second element of a frame is no time, text or array")),
    }
}

/// The option map; what is nil is none, at the end of the frame.
fn option(data: &[u8], at: usize) -> Result<(usize, usize), Bad> {
    let (kind, _, _) = mp::head(data, at)?;
    let end = mp::skip(data, at, MAX_DEPTH)?;
    match kind {
        Kind::Map => Ok((at, end)),
        Kind::Nil => Ok((end, end)),
        _ => Err(Bad::NoFrame("the option of a frame is not a map")),
    }
}
