//! Messages to records: one module per parser that is more than a few lines.

mod csv;
mod fields;
mod logfmt;
mod ltsv;
mod regex;

use crate::json::Transcoder;
use crate::keys::{Keys, Object, Watched};
use crate::num::Fail;
use crate::out::Out;
use crate::regexes::Scratch;
use crate::text::{self, Text};
use crate::timekey::{TimeKey, Times};

pub use csv::Csv;
pub use fields::{Fields, Kind, Types};
pub use regex::RegexParser;

/// What a parser makes of a message: a record, still open at the end of the output, and its time.
pub type Outcome = Result<(Object, Option<u64>), Fail>;

/// A message parser, as `Parser.native()` describes it.
pub enum MessageParser {
    Raw { key: Vec<u8> },
    Json { time: Option<TimeKey> },
    Text { grammar: Grammar, types: Types, time: Option<TimeKey> },
    Regex { regex: Box<RegexParser>, time: Option<TimeKey> },
}

/// Formats whose values are text.
pub enum Grammar {
    Logfmt,
    Ltsv,
    Csv(Csv),
}

/// What is used again from message to message.
pub struct Work {
    transcoder: Transcoder,
    keys: Keys,
    pub watched: Watched,
    regex: Option<Scratch>,
    pub times: Times,
}

impl Work {
    pub fn new(parser: &MessageParser, watched: &Watched) -> Self {
        let regex = match parser {
            MessageParser::Regex { regex, .. } => Some(regex.scratch()),
            _ => None,
        };
        Self {
            transcoder: Transcoder::new(watched.clone()),
            keys: Keys::default(),
            watched: watched.clone(),
            regex,
            times: Times::default(),
        }
    }
}

impl MessageParser {
    /// The key that holds the time, if any: the fourth that is watched for.
    pub fn time_key(&self) -> Option<&[u8]> {
        match self {
            Self::Raw { .. } => None,
            Self::Json { time } | Self::Text { time, .. } | Self::Regex { time, .. } => {
                time.as_ref().map(|time| time.key.as_slice())
            }
        }
    }

    /// Parse one message. On failure, what was written to the output is to be taken back.
    #[inline]
    pub fn parse(&self, work: &mut Work, text: Text<'_>, out: &mut Out) -> Outcome {
        match self {
            Self::Json { time: None } => work.transcoder.any(text, out).map(|object| (object, None)),
            Self::Json { time: Some(time) } => {
                let mut object = work.transcoder.any(text, out)?;
                // An integer that became text is no time.
                let long = work.transcoder.saw_long() && work.transcoder.is_long(text, &time.key);
                let found = if long { None } else { time.take(work, out, &mut object) };
                Ok((object, found))
            }
            Self::Raw { key } => Ok((raw(work, key, text, out), None)),
            Self::Text { grammar, types, time } => {
                let mut object = grammar.parse(work, types, &text.utf8(), out)?;
                let found = time.as_ref().and_then(|time| time.take(work, out, &mut object));
                Ok((object, found))
            }
            Self::Regex { regex, time } => {
                if !regex.allows(text.end - text.start) {
                    return Err(Fail);
                }
                let scratch = work.regex.as_mut().expect("made for this parser");
                let mut object = regex.parse(scratch, &text.utf8(), &work.watched, out)?;
                let found = time.as_ref().and_then(|time| time.take(work, out, &mut object));
                Ok((object, found))
            }
        }
    }
}

impl Grammar {
    fn parse(&self, work: &mut Work, types: &Types, line: &[u8], out: &mut Out) -> Result<Object, Fail> {
        let mut fields = Fields::open(out, &mut work.keys, &work.watched, types);
        match self {
            Self::Logfmt => logfmt::parse(line, &mut fields)?,
            Self::Ltsv => ltsv::parse(line, &mut fields)?,
            Self::Csv(csv) => csv.parse(line, &mut fields)?,
        }
        Ok(fields.finish())
    }
}

fn raw(work: &Work, key: &[u8], text: Text<'_>, out: &mut Out) -> Object {
    let mut object = Object::open(out);
    out.str(key);
    if text.utf8 {
        out.short_str(text.src, text.start, text.end);
    } else {
        out.str(&text::to_text(text.bytes()));
    }
    object.count = 1;
    object.seen = work.watched.find(key);
    object
}
