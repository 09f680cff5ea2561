//! Blocks of container lines to packed entries.
//!
//! ```text
//! block --split at \n--> lines --container format, joins--> messages --parser--> records --> entries
//! ```

use std::borrow::Cow;

use memchr::{memchr, memrchr};

use crate::carry::{self, Join, State};
use crate::error::Error;
use crate::json::Transcoder;
use crate::keys::{Object, Seen, Watched};
use crate::mp::{self, MAX_DEPTH};
use crate::multiline::{Held, Multiline, OPEN_MARK, Open, Step};
use crate::num::Fail;
use crate::out::{ENTRY_HEAD, Out};
use crate::parsers::{MessageParser, Work};
use crate::text::{self, SENTINEL, Text};
use crate::time::Rfc3339;

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

/// A line out of its container format.
struct Piece<'a> {
    time_ns: u64,
    stream: &'a [u8],
    partial: bool,
    text: Text<'a>,
    /// Packed value of the field `attrs`.
    attrs: Option<&'a [u8]>,
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

    #[inline]
    fn line(&mut self, multiline: &Multiline, time_ns: i128, text: Text<'_>, extra: Extra<'_>, cut: bool) {
        if self.state.opens.is_empty() && self.is_plain(multiline, text) {
            return self.finished(time_ns, text, extra, cut);
        }
        let (bytes, cut) = self.limit(text.bytes(), cut);
        if self.state.opens.is_empty() && !cut {
            let valid = text.utf8();
            match multiline.begin(&valid) {
                Step::Alone => self.finished(time_ns, text, extra, cut),
                Step::Begins(state) => self.open(state, time_ns, bytes, extra, cut),
            }
            return;
        }
        self.line_among_open(multiline, time_ns, bytes, extra, cut);
    }

    /// Whether a text, by what it does not hold, begins no event. A block is searched once, not line by line.
    #[inline]
    fn is_plain(&mut self, multiline: &Multiline, text: Text<'_>) -> bool {
        if multiline.spares_json && text.src.get(text.start) == Some(&b'{') && text.start < text.end {
            return true;
        }
        let Some(hints) = &multiline.hints else { return false };
        if self.parser.format == LineFormat::Docker || text.src.len() == text.end + SENTINEL.len() {
            return !hints.is_match(text.bytes());
        }
        let block = text.src.as_ptr();
        let hint = match self.hint {
            Some((known, hint)) if known == block && hint >= text.start => hint,
            _ => hints.find(text.src, text.start).unwrap_or(usize::MAX),
        };
        self.hint = Some((block, hint));
        hint >= text.end
    }

    #[cold]
    fn line_among_open(
        &mut self, multiline: &Multiline, time_ns: i128, bytes: &[u8], extra: Extra<'_>, cut: bool,
    ) {
        let at = self.at;
        self.state.opens.sort_by(|a, b| a.key.cmp(&b.key));
        let mut i = 0;
        while i < self.state.opens.len() {
            if multiline.is_late(&self.state.opens[i], time_ns) {
                let open = self.state.opens.remove(i);
                self.close_open(open);
            } else {
                i += 1;
            }
        }
        let valid = text::to_text(bytes);
        let stream = extra.stream.unwrap_or_default();
        let mine = |open: &Open| open.key.split_last() == Some((&OPEN_MARK, stream));
        let mut line = Held { time_ns, text: bytes.to_vec(), cut, at };
        if let Some(i) = self.state.opens.iter().position(mine) {
            let mut open = self.state.opens.remove(i);
            match multiline.go_on(&mut open, &valid, line) {
                Ok((finished, goes_on)) => {
                    if let Some(message) = finished {
                        self.emit_message(message, &open);
                    }
                    if goes_on {
                        self.state.opens.push(open);
                    } else {
                        self.close_open(open);
                    }
                    return;
                }
                Err(back) => line = back,
            }
            self.close_open(open);
        }
        self.at = at;
        match multiline.begin(&valid) {
            Step::Begins(state) => self.open(state, time_ns, &line.text, extra, cut),
            Step::Alone => {
                let mut src = line.text;
                let end = src.len();
                src.extend_from_slice(&SENTINEL);
                self.finished(time_ns, Text { src: &src, start: 0, end, utf8: false }, extra, cut);
            }
        }
    }

    #[cold]
    fn open(&mut self, state: i64, time_ns: i128, bytes: &[u8], extra: Extra<'_>, cut: bool) {
        let mut key = extra.stream.unwrap_or_default().to_vec();
        key.push(OPEN_MARK);
        let (text, attrs) = (bytes.to_vec(), extra.attrs.unwrap_or_default().to_vec());
        let (last_ns, lines, held, at) = (time_ns, 1, Vec::new(), self.at);
        self.state.opens.push(Open { key, time_ns, last_ns, text, cut, state, lines, attrs, held, at });
    }

    /// Finish an event; what is held stands for itself.
    fn close_open(&mut self, mut open: Open) {
        let held = std::mem::take(&mut open.held);
        let text = std::mem::take(&mut open.text);
        self.emit_message(Held { time_ns: open.time_ns, text, cut: open.cut, at: open.at }, &open);
        for line in held {
            self.emit_message(line, &open);
        }
    }

    fn close_all(&mut self) {
        let mut opens = std::mem::take(&mut self.state.opens);
        opens.sort_by(|a, b| a.key.cmp(&b.key));
        for open in opens {
            self.close_open(open);
        }
    }

    fn emit_message(&mut self, message: Held, open: &Open) {
        self.at = message.at;
        let mut src = message.text;
        let end = src.len();
        src.extend_from_slice(&SENTINEL);
        let stream = &open.key[..open.key.len() - 1];
        let extra = Extra {
            stream: (!stream.is_empty()).then_some(stream),
            attrs: (!open.attrs.is_empty()).then_some(&open.attrs[..]),
        };
        self.finished(message.time_ns, Text { src: &src, start: 0, end, utf8: false }, extra, message.cut);
    }

    /// Make an entry of a finished message.
    #[inline]
    fn finished(&mut self, time_ns: i128, text: Text<'_>, extra: Extra<'_>, cut: bool) {
        if cut || text.end - text.start > self.parser.max_line {
            return self.cut_message(time_ns, text, extra);
        }
        self.entry(time_ns, text, extra, false);
    }

    #[cold]
    fn cut_message(&mut self, time_ns: i128, text: Text<'_>, extra: Extra<'_>) {
        let (kept, _) = self.limit(text.bytes(), true);
        let mut src = kept.to_vec();
        let end = src.len();
        src.extend_from_slice(&SENTINEL);
        self.entry(time_ns, Text { src: &src, start: 0, end, utf8: false }, extra, true);
    }

    /// Cut a message at `max_line`; says whether it was cut, now or before.
    fn limit<'b>(&self, text: &'b [u8], cut: bool) -> (&'b [u8], bool) {
        if !cut && text.len() <= self.parser.max_line {
            return (text, false);
        }
        (whole_characters(&text[..text.len().min(self.parser.max_line)]), true)
    }

    #[inline]
    fn entry(&mut self, time_ns: i128, text: Text<'_>, extra: Extra<'_>, cut: bool) {
        let at = self.out.len();
        self.out.entry_head(time_ns);
        match self.parser.parser.parse(&mut self.work, text, &mut self.out) {
            Ok((object, found_ns)) => self.close(at, object, found_ns, extra, cut),
            Err(Fail) => {
                self.out.truncate(at + ENTRY_HEAD);
                let object = self.keep_whole(text.bytes(), text.utf8);
                self.close(at, object, None, extra, cut);
                self.done.unparsed += 1;
            }
        }
    }

    /// Write a record that holds nothing but the message.
    fn keep_whole(&mut self, text: &[u8], utf8: bool) -> Object {
        let key = &self.parser.message_key;
        let mut object = Object::open(&mut self.out);
        self.out.str(key);
        self.out.str(&if utf8 { Cow::Borrowed(text) } else { text::to_text(text) });
        object.count = 1;
        object.seen = self.parser.watched.find(key);
        object
    }

    /// Finish the entry at `at`: add fields that the record has not, put in its time.
    #[inline]
    fn close(&mut self, at: usize, mut object: Object, found_ns: Option<u64>, extra: Extra<'_>, cut: bool) {
        let out = &mut self.out;
        if let Some(attrs) = extra.attrs.filter(|_| object.seen & ATTRS == 0) {
            out.str(b"attrs");
            out.extend(attrs);
            object.count += 1;
        }
        if let Some(stream) = extra.stream.filter(|_| object.seen & STREAM == 0) {
            out.put(*b"\xa6stream");
            out.str(stream);
            object.count += 1;
        }
        if cut {
            self.done.truncated += 1;
            if object.seen & TRUNCATED == 0 {
                out.put(*b"\xa9truncated\xc3");
                object.count += 1;
            }
        }
        if let (Some(offset), Some(at)) = (&self.parser.offset, self.at)
            && object.seen & offset.seen == 0
            && !extra.has(&offset.key)
            && !(cut && offset.key == b"truncated")
        {
            out.str(&offset.key);
            out.uint(at);
            object.count += 1;
        }
        object.close(out);
        if let Some(time_ns) = found_ns {
            out.set_entry_time(at, time_ns);
        }
        self.done.events += 1;
    }
}

/// Call `line(start, end)` for each line of a block that ends with a newline.
#[inline(always)]
fn each_line(block: &[u8], mut line: impl FnMut(usize, usize)) {
    let mut start = 0;
    while let Some(n) = memchr(b'\n', &block[start..]) {
        line(start, start + n);
        start += n + 1;
    }
}

#[inline(always)]
fn without_return(block: &[u8], start: usize, end: usize) -> usize {
    end - usize::from(end > start && block[end - 1] == b'\r')
}

/// Drop a UTF-8 character at the end that was cut in its middle.
///
/// What stands before may be such a beginning too, where a text is not UTF-8: cutting twice is the same as once.
fn whole_characters(mut text: &[u8]) -> &[u8] {
    while let Some(end) = cut_character(text) {
        text = &text[..end];
    }
    text
}

/// Where the character begins that a text ends in the middle of, if it does.
fn cut_character(text: &[u8]) -> Option<usize> {
    for back in 1..=text.len().min(3) {
        let byte = text[text.len() - back];
        if byte >= 0xc0 {
            let length = if byte < 0xe0 {
                2
            } else if byte < 0xf0 {
                3
            } else {
                4
            };
            return (back < length).then_some(text.len() - back);
        }
        if byte < 0x80 {
            break;
        }
    }
    None
}

/// Take a line of a container runtime apart.
#[inline(always)]
fn split_cri<'a>(
    rfc3339: &mut Rfc3339, block: &'a [u8], start: usize, end: usize, utf8: bool,
) -> Option<Piece<'a>> {
    let line = &block[start..end];
    let (time_ns, n) = rfc3339.read(line)?;
    // A blank, "stdout" or "stderr", a blank, and P or F are nine bytes.
    let part: &[u8; 9] = line.get(n..)?.first_chunk()?;
    let stream = &line[n + 1..n + 7];
    if part[0] != b' ' || part[7] != b' ' || !(stream == b"stdout" || stream == b"stderr") {
        return None;
    }
    let partial = match part[8] {
        b'P' => true,
        b'F' => false,
        _ => return None,
    };
    let mut at = n + 9;
    if line.get(at) == Some(&b':') {
        at += memchr(b' ', &line[at..]).unwrap_or(line.len() - at);
    }
    // Without a blank there is no content.
    let from = match line.get(at) {
        None => end,
        Some(b' ') => start + at + 1,
        Some(_) => return None,
    };
    let text = Text { src: block, start: from, end, utf8 };
    Some(Piece { time_ns, stream, partial, text, attrs: None })
}

/// Take the packed object that was a line of docker apart.
fn split_docker<'a>(rfc3339: &mut Rfc3339, line: &'a Out, object: Object) -> Option<Piece<'a>> {
    let data = line.as_slice();
    let (mut log, mut stream, mut time, mut attrs) = (None, None, None, None);
    let mut at = object.head + 1;
    for _ in 0..object.count {
        let (mp::Value::Str(key), value) = mp::read(data, at).ok()? else { return None };
        let next = mp::skip(data, value, MAX_DEPTH).ok()?;
        match key {
            b"log" => log = Some((value, next)),
            b"stream" => stream = Some((value, next)),
            b"time" => time = Some((value, next)),
            b"attrs" => attrs = Some(&data[value..next]),
            _ => {}
        }
        at = next;
    }
    let text = |place: Option<(usize, usize)>| match mp::read(data, place?.0) {
        Ok((mp::Value::Str(text), _)) => Some(text),
        _ => None,
    };
    let (content, stream, time) = (text(log)?, text(stream)?, text(time)?);
    if stream != b"stdout" && stream != b"stderr" {
        return None;
    }
    let (time_ns, n) = rfc3339.read(time)?;
    if n != time.len() {
        return None;
    }
    let end = log?.1;
    let start = end - content.len();
    let partial = content.last() != Some(&b'\n');
    let end = if partial { end } else { without_return(data, start, end - 1) };
    Some(Piece { time_ns, stream, partial, text: Text { src: data, start, end, utf8: true }, attrs })
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
