//! Blocks of container lines to packed entries.
//!
//! ```text
//! block --split at \n--> lines --container format, joins--> messages --parser--> records --> entries
//! ```
//!
//! `containers` takes lines of container formats apart, `opens` joins messages to events, `records` makes entries.

mod containers;
mod opens;
mod records;

use memchr::memrchr;

use crate::carry::{self, Join, State};
use crate::error::Error;
use crate::json::Transcoder;
use crate::keys::{Seen, Watched};
use crate::multiline::Multiline;
use crate::out::Out;
use crate::parsers::{MessageParser, Work};
use crate::text::{self, SENTINEL, Text};
use crate::time::Rfc3339;
use containers::{Piece, each_line, split_cri, split_docker, without_return};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineFormat {
    Cri,
    Docker,
    Plain,
}

/// What became of a block of lines; see `logflow.engine.api.Parsed`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    pub entries: Out,
    pub events: usize,
    pub consumed: usize,
    /// `None`: the carry that was given stays.
    pub carry: Option<Vec<u8>>,
    pub lines: usize,
    pub unparsed: usize,
    pub malformed: usize,
    pub truncated: usize,
}

/// Bits of the keys that messages are watched for.
const STREAM: Seen = 1;
const TRUNCATED: Seen = 2;
const ATTRS: Seen = 4;

/// See `logflow.engine.api.LineParser`.
pub struct LineParser {
    format: LineFormat,
    parser: MessageParser,
    max_line: usize,
    stream: Option<Vec<u8>>,
    message_key: Vec<u8>,
    watched: Watched,
    multiline: Option<Multiline>,
    offset: Option<OffsetKey>,
}

/// The field that takes the offset at which an event begins.
struct OffsetKey {
    key: Vec<u8>,
    /// Its bit among the keys that are watched for.
    seen: Seen,
}

/// The keys that a parser watches for, in the order of their bits.
pub fn watched(parser: &MessageParser) -> Watched {
    let mut keys = vec![b"stream".to_vec(), b"truncated".to_vec(), b"attrs".to_vec()];
    keys.extend(parser.time_key().map(<[u8]>::to_vec));
    Watched::new(keys)
}

/// What is added to a record.
#[derive(Clone, Copy, Default)]
struct Extra<'a> {
    attrs: Option<&'a [u8]>,
    stream: Option<&'a [u8]>,
}

impl Extra<'_> {
    fn has(&self, key: &[u8]) -> bool {
        (self.attrs.is_some() && key == b"attrs") || (self.stream.is_some() && key == b"stream")
    }
}

/// The work on one block.
struct Run<'a> {
    parser: &'a LineParser,
    work: Work,
    rfc3339: Rfc3339,
    out: Out,
    state: State,
    /// The block, and up to where it holds no word that hints at an event.
    hint: Option<(*const u8, usize)>,
    now_ns: i128,
    /// Where the block begins, if offsets are wanted.
    base: Option<u64>,
    /// Offset of the message that is at hand.
    at: Option<u64>,
    done: Parsed,
}

impl LineParser {
    pub fn new(
        format: LineFormat, parser: MessageParser, max_line: usize, stream: Option<Vec<u8>>,
        message_key: Vec<u8>,
    ) -> Self {
        let watched = watched(&parser);
        Self { format, parser, max_line, stream, message_key, watched, multiline: None, offset: None }
    }

    /// Add the offset of each event to its record.
    pub fn with_offset(mut self, key: Vec<u8>) -> Self {
        let mut keys = self.watched.keys().to_vec();
        let seen = 1 << keys.len();
        keys.push(key.clone());
        self.watched = Watched::new(keys);
        self.offset = Some(OffsetKey { key, seen });
        self
    }

    /// Join messages to events.
    pub fn with_multiline(mut self, mut multiline: Multiline) -> Self {
        multiline.max_bytes = multiline.max_bytes.min(self.max_line);
        if self.format == LineFormat::Plain {
            multiline.timeout_ns = None;
        }
        self.multiline = Some(multiline);
        self
    }

    /// Parse the whole lines of `block`; see `logflow.engine.api.LineParser.parse`.
    pub fn parse(&self, block: &[u8], carry: &[u8], now_ns: i128, offset: u64) -> Result<Parsed, Error> {
        let Some(last) = memrchr(b'\n', block) else {
            return Ok(Parsed::default());
        };
        let block = &block[..=last];
        let mut run = self.run(block.len() + block.len() / 4, now_ns);
        run.state = carry::load(carry)?;
        run.base = self.offset.as_ref().map(|_| offset);
        if self.multiline.is_none() && !run.state.opens.is_empty() {
            // What an earlier configuration left open.
            run.close_all();
        }
        let utf8 = text::is_utf8(block);
        match self.format {
            LineFormat::Cri => run.cri(block, utf8),
            LineFormat::Docker => run.docker(block, utf8),
            LineFormat::Plain => run.plain(block, utf8),
        }
        run.done.consumed = block.len();
        run.done.carry = Some(carry::dump(&run.state));
        Ok(run.finish())
    }

    /// Make entries of joins that will never be finished.
    pub fn flush(&self, carry: &[u8]) -> Result<Parsed, Error> {
        let mut state = carry::load(carry)?;
        let mut joins = std::mem::take(&mut state.joins);
        joins.sort_by(|a, b| a.stream.cmp(&b.stream));
        let mut run = self.run(carry.len() + 64 * joins.len(), 0);
        run.state = state;
        for join in joins {
            let stream = join.stream.clone();
            run.emit_join(join, Extra { stream: Some(&stream), ..Extra::default() });
        }
        run.close_all();
        run.done.carry = Some(Vec::new());
        Ok(run.finish())
    }

    fn run(&self, capacity: usize, now_ns: i128) -> Run<'_> {
        Run {
            parser: self,
            work: Work::new(&self.parser, &self.watched),
            rfc3339: Rfc3339::default(),
            out: Out::with_capacity(capacity),
            state: State::default(),
            hint: None,
            now_ns,
            base: None,
            at: None,
            done: Parsed::default(),
        }
    }
}

impl Run<'_> {
    fn finish(mut self) -> Parsed {
        self.done.entries = self.out;
        self.done
    }

    #[inline(always)]
    fn begin_line(&mut self, start: usize) {
        self.done.lines += 1;
        self.at = self.base.map(|base| base.saturating_add(start as u64));
    }

    fn plain(&mut self, block: &[u8], utf8: bool) {
        let parser = self.parser;
        let extra = Extra { stream: parser.stream.as_deref(), attrs: None };
        each_line(block, |start, end| {
            self.begin_line(start);
            let end = without_return(block, start, end);
            self.message(self.now_ns, Text { src: block, start, end, utf8 }, extra, false);
        });
    }

    fn cri(&mut self, block: &[u8], utf8: bool) {
        each_line(block, |start, end| {
            self.begin_line(start);
            match split_cri(&mut self.rfc3339, block, start, end, utf8) {
                Some(piece) if self.state.joins.is_empty() && !piece.partial => {
                    let extra = Extra { stream: Some(piece.stream), attrs: None };
                    self.message(i128::from(piece.time_ns), piece.text, extra, false);
                }
                Some(piece) => self.join(&piece),
                None => self.malformed(block, start, end, utf8),
            }
        });
    }

    fn docker(&mut self, block: &[u8], utf8: bool) {
        let mut transcoder = Transcoder::new(Watched::default());
        let mut line = Out::default();
        each_line(block, |start, end| {
            self.begin_line(start);
            line.truncate(0);
            let text = Text { src: block, start, end, utf8 };
            let object = transcoder.any(text, &mut line).ok();
            // None of the keys that are read may hold an integer that became text.
            let long = transcoder.saw_long()
                && [b"log".as_slice(), b"stream", b"time"].iter().any(|key| transcoder.is_long(text, key));
            let object = object.filter(|_| !long);
            match object.and_then(|object| split_docker(&mut self.rfc3339, &line, object)) {
                Some(piece) => self.join(&piece),
                None => self.malformed(block, start, end, utf8),
            }
        });
    }

    /// Keep a line whole that is not of the container format.
    #[cold]
    fn malformed(&mut self, block: &[u8], start: usize, end: usize, utf8: bool) {
        let end = without_return(block, start, end);
        let (text, cut) = self.limit(&block[start..end], false);
        let at = self.out.len();
        self.out.entry_head(self.now_ns);
        let object = self.keep_whole(text, utf8);
        self.close(at, object, None, Extra::default(), cut);
        self.done.malformed += 1;
    }

    /// Take in a piece: begin or go on with a join, or finish one, or a message that needs none.
    fn join(&mut self, piece: &Piece<'_>) {
        let open = self.state.joins.iter().position(|join| join.stream == piece.stream);
        let mut join = match open {
            Some(i) => self.state.joins.remove(i),
            None if !piece.partial => {
                let extra = Extra { stream: Some(piece.stream), attrs: piece.attrs };
                return self.message(i128::from(piece.time_ns), piece.text, extra, false);
            }
            None => Join {
                stream: piece.stream.to_vec(),
                time_ns: i128::from(piece.time_ns),
                text: Vec::new(),
                cut: false,
                at: self.at,
            },
        };
        if !join.cut {
            // One byte more than is kept shows that the text is too long.
            let room = self.parser.max_line.saturating_add(1).saturating_sub(join.text.len());
            let piece = piece.text.bytes();
            join.text.extend_from_slice(&piece[..piece.len().min(room)]);
        }
        if piece.partial {
            join.cut |= join.text.len() > self.parser.max_line;
            join.text.truncate(self.parser.max_line);
            self.state.joins.push(join);
        } else {
            self.emit_join(join, Extra { stream: Some(piece.stream), attrs: piece.attrs });
        }
    }

    fn emit_join(&mut self, join: Join, extra: Extra<'_>) {
        let mut src = join.text;
        let end = src.len();
        src.extend_from_slice(&SENTINEL);
        self.at = join.at;
        self.message(join.time_ns, Text { src: &src, start: 0, end, utf8: false }, extra, join.cut);
    }

    /// Take a message out of its container format: an event, or a line of one.
    #[inline]
    fn message(&mut self, time_ns: i128, text: Text<'_>, extra: Extra<'_>, cut: bool) {
        match &self.parser.multiline {
            None => self.finished(time_ns, text, extra, cut),
            Some(multiline) => self.line(multiline, time_ns, text, extra, cut),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entries;

    const BLOCK: &[u8] = b"2026-01-31T12:00:00Z stdout P one \n\
        2026-01-31T12:00:01Z stderr F other\n\
        2026-01-31T12:00:02Z stdout F line\n\
        not of the format\n\
        2026-01-31T12:00:03Z stderr P open\nrest";

    fn parser(max_line: usize) -> LineParser {
        let raw = MessageParser::Raw { key: b"message".to_vec() };
        LineParser::new(LineFormat::Cri, raw, max_line, None, b"message".to_vec())
    }

    fn has(parsed: &Parsed, text: &[u8]) -> bool {
        memchr::memmem::find(&parsed.entries, text).is_some()
    }

    #[test]
    fn joins_partial_lines_of_each_stream() {
        let parsed = parser(100).parse(BLOCK, b"", 7, 0).expect("an empty carry");
        assert_eq!((parsed.events, parsed.lines, parsed.malformed, parsed.truncated), (3, 5, 1, 0));
        assert_eq!(parsed.consumed, BLOCK.len() - 4);
        assert!(has(&parsed, b"\xa8one line\xa6stream\xa6stdout"));
        assert_eq!(entries::count(&parsed.entries), Ok(3));
        let flushed = parser(100).flush(&parsed.carry.expect("an open join")).expect("a carry");
        assert_eq!((flushed.events, has(&flushed, b"\xa4open\xa6stream\xa6stderr")), (1, true));
    }

    #[test]
    fn cuts_long_messages_after_a_whole_character() {
        let line = "2026-01-31T12:00:00Z stdout F ab\u{e9}\u{e9}\n";
        let parsed = parser(5).parse(line.as_bytes(), b"", 7, 0).expect("an empty carry");
        assert_eq!(parsed.truncated, 1);
        assert!(has(&parsed, b"\xa4ab\xc3\xa9\xa6stream\xa6stdout\xa9truncated\xc3"));
    }

    #[test]
    fn refuses_a_damaged_carry() {
        assert!(matches!(parser(5).parse(BLOCK, b"\x81\xa1a\xc0", 7, 0), Err(Error::Malformed(_))));
    }
}
