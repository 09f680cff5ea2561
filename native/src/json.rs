//! JSON to msgpack in one pass, without a tree in between.
//!
//! Keys are foretold, see `forecast`; from the first one of an object that comes unforeseen, they are read one by
//! one, and learned. What libraries make of a line, a tape (simd-json) or values (sonic-rs), takes them
//! two to three times as long, and would still have to be written as msgpack.

use crate::forecast::{Forecast, Place};
use crate::keys::{self, FEW_KEYS, Keys, Object, Seen, Watched, key_range};
use crate::mp;
use crate::num::{self, Fail, Long};
use crate::out::Out;
use crate::scan;
use crate::text::{SENTINEL, Text, escaped_json, is_utf8};

pub use crate::mp::MAX_DEPTH;

/// Objects that lie deeper are read key by key: going back over what was written costs once for each level.
const FORETOLD_DEPTH: usize = 4;

/// Transcodes objects one after another; remembers the keys of those before.
pub struct Transcoder {
    /// With each key: whether it is watched.
    forecast: Forecast<Seen>,
    /// Whether a key that stands twice among many may have been learned: then all is forgotten.
    stale: bool,
    keys: Keys,
    watched: Watched,
    long: Long,
}

/// Where a value begins: how many levels are open there with it, and what is foretold of it.
#[derive(Clone, Copy)]
struct Level {
    depth: usize,
    place: Place,
}

impl Level {
    const OUTER: Self = Self { depth: 1, place: Place::START };

    /// That of the containers in the value that comes next in an object.
    #[inline(always)]
    fn inside(self) -> Self {
        let place = if self.depth < FORETOLD_DEPTH { self.place.inside() } else { Place::NOWHERE };
        Self { depth: self.depth + 1, place }
    }

    /// That of the containers in an array: what is in them is foretold together.
    #[inline(always)]
    fn in_array(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

#[inline(always)]
fn blank(src: &[u8], mut at: usize, end: usize) -> usize {
    while at < end && matches!(src[at], b' ' | b'\t' | b'\n' | b'\r') {
        at += 1;
    }
    at
}

#[inline(always)]
fn peek(src: &[u8], at: usize, end: usize) -> Result<u8, Fail> {
    if at < end { Ok(src[at]) } else { Err(Fail) }
}

impl Transcoder {
    /// `watched`: keys whose presence in the outer object the caller wants to know.
    pub fn new(watched: Watched) -> Self {
        Self {
            forecast: Forecast::default(),
            stale: false,
            keys: Keys::default(),
            watched,
            long: Long::default(),
        }
    }

    /// Transcode the object that `src[start..end]` holds, which must be UTF-8.
    ///
    /// What follows `end` in `src`, if anything, is a carriage return or a newline: no value reads past it.
    /// On failure the output is as it was.
    #[inline]
    pub fn object(&mut self, src: &[u8], start: usize, end: usize, out: &mut Out) -> Result<Object, Fail> {
        let head = out.len();
        self.long.seen = false;
        self.keys.clear();
        if self.stale {
            self.forecast.clear();
            self.stale = false;
        }
        let result = self.outer(src, start, end, out);
        if result.is_err() {
            out.truncate(head);
        }
        result
    }

    /// The same for a text that may hold bytes that are not UTF-8.
    #[inline]
    pub fn any(&mut self, text: Text<'_>, out: &mut Out) -> Result<Object, Fail> {
        if text.utf8 || is_utf8(text.bytes()) {
            return self.object(text.src, text.start, text.end, out);
        }
        let mut src = escaped_json(text.bytes());
        let end = src.len();
        src.extend_from_slice(&SENTINEL);
        self.object(&src, 0, end, out)
    }

    /// Whether an integer of the last object became text, being too long.
    pub fn saw_long(&self) -> bool {
        self.long.seen
    }

    /// Whether the value of `key` in an object that was transcoded before is such an integer.
    #[cold]
    pub fn is_long(&mut self, text: Text<'_>, key: &[u8]) -> bool {
        let mut out = Out::default();
        self.long.mark = true;
        let object = self.any(text, &mut out);
        self.long.mark = false;
        let place = object.ok().and_then(|object| object.find(&out, key));
        place.is_some_and(|(_, value, end)| out.as_slice()[value..end] == [0xc0])
    }

    #[inline]
    fn outer(&mut self, src: &[u8], start: usize, end: usize, out: &mut Out) -> Result<Object, Fail> {
        let (at, object) = self.pairs(src, blank(src, start, end), end, out, Level::OUTER)?;
        if blank(src, at, end) == end { Ok(object) } else { Err(Fail) }
    }

    /// Transcode the object at `at`, all but its header.
    #[inline(always)]
    fn pairs(
        &mut self, src: &[u8], mut at: usize, end: usize, out: &mut Out, mut level: Level,
    ) -> Result<(usize, Object), Fail> {
        let mut object = Object::open(out);
        if self.stale {
            level.place = Place::NOWHERE;
        }
        while let Some((next, node)) = self.forecast.find(level.place, src, at) {
            node.write(out);
            object.seen |= node.known;
            object.count += 1;
            level.place = next;
            at = blank(src, at + node.text_len(), end);
            at = self.value(src, at, end, out, level.inside())?;
        }
        if object.count > 0 && peek(src, at, end)? == b'}' {
            return Ok((at + 1, object));
        }
        let rest = self.rest(src, at, end, out, level, &mut object);
        // Doubles among many keys were learned, perhaps, and are not found any more.
        self.stale |= rest.is_err() && object.count > FEW_KEYS;
        Ok((rest?, object))
    }

    /// Read the pairs that were not foretold, and learn them.
    #[inline(never)]
    fn rest(
        &mut self, src: &[u8], mut at: usize, end: usize, out: &mut Out, mut level: Level,
        object: &mut Object,
    ) -> Result<usize, Fail> {
        let base = self.keys.len();
        self.recall(out, object);
        let mut double = false;
        loop {
            let text = at;
            match step(src, at, end, object.count == 0)? {
                Step::Key(next) => at = self.key(src, next, end, out)?,
                Step::End(next) => {
                    at = next;
                    break;
                }
            }
            double |= self.keys.is_double(out, base);
            let (start, stop) = self.keys.last();
            let seen = if level.depth == 1 { self.watched.find(&out.as_slice()[start..stop]) } else { 0 };
            object.seen |= seen;
            object.count += 1;
            // What has control characters could be found across the end of a line.
            let learned = &src[text..at];
            if double || self.stale || learned.iter().any(|&b| b < 0x20) {
                level.place = Place::NOWHERE;
            }
            if level.place != Place::NOWHERE {
                let packed = &out.as_slice()[start - head_size(stop - start)..stop];
                level.place = self.forecast.learn(level.place, learned, packed, seen);
            }
            at = self.value(src, at, end, out, level.inside())?;
        }
        self.keys.truncate(base);
        if double || object.count > FEW_KEYS {
            let left = keys::drop_doubles(out, object.head + 1, object.count);
            // Doubles among many keys were learned before they were found.
            self.stale |= left < object.count && object.count > FEW_KEYS;
            object.count = left;
        }
        Ok(at)
    }

    /// Find again the keys that were foretold.
    fn recall(&mut self, out: &Out, object: &Object) {
        let mut at = object.head + 1;
        for _ in 0..object.count {
            let (start, end) = key_range(out, at);
            self.keys.note(out, start, end);
            at = mp::skip(out.as_slice(), end, MAX_DEPTH).expect("written here");
        }
    }

    /// Transcode the key at `at` and skip the colon after it; returns where the value begins.
    #[inline]
    fn key(&mut self, src: &[u8], at: usize, end: usize, out: &mut Out) -> Result<usize, Fail> {
        if peek(src, at, end)? != b'"' {
            return Err(Fail);
        }
        let written = out.len();
        let at = blank(src, self.string(src, at, out)?, end);
        let (start, stop) = key_range(out, written);
        self.keys.note(out, start, stop);
        if peek(src, at, end)? != b':' {
            return Err(Fail);
        }
        Ok(blank(src, at + 1, end))
    }

    /// Transcode the value at `at`; returns the position after it. The level is that of a container.
    #[inline]
    fn value(
        &mut self, src: &[u8], at: usize, end: usize, out: &mut Out, level: Level,
    ) -> Result<usize, Fail> {
        match peek(src, at, end)? {
            b'"' => self.string(src, at, out),
            b'-' | b'0'..=b'9' => num::transcode(src, at, out, &mut self.long),
            b't' if src[at..end].starts_with(b"true") => {
                out.bool(true);
                Ok(at + 4)
            }
            b'f' if src[at..end].starts_with(b"false") => {
                out.bool(false);
                Ok(at + 5)
            }
            b'n' if src[at..end].starts_with(b"null") => {
                out.nil();
                Ok(at + 4)
            }
            b'{' if level.depth <= MAX_DEPTH => self.inner_object(src, at, end, out, level),
            b'[' if level.depth <= MAX_DEPTH => self.array(src, at + 1, end, out, level),
            _ => Err(Fail),
        }
    }

    #[inline(never)]
    fn inner_object(
        &mut self, src: &[u8], at: usize, end: usize, out: &mut Out, level: Level,
    ) -> Result<usize, Fail> {
        let (at, object) = self.pairs(src, at, end, out, level)?;
        object.close(out);
        Ok(at)
    }

    fn array(
        &mut self, src: &[u8], at: usize, end: usize, out: &mut Out, level: Level,
    ) -> Result<usize, Fail> {
        let head = out.len();
        out.push(0);
        let mut at = blank(src, at, end);
        let mut count = 0;
        if peek(src, at, end)? != b']' {
            loop {
                at = blank(src, self.value(src, at, end, out, level.in_array())?, end);
                count += 1;
                match peek(src, at, end)? {
                    b',' => at = blank(src, at + 1, end),
                    b']' => break,
                    _ => return Err(Fail),
                }
            }
        }
        out.patch_head(head, count, false);
        Ok(at + 1)
    }

    /// Transcode the string whose opening quote is at `at`.
    #[inline(always)]
    fn string(&mut self, src: &[u8], at: usize, out: &mut Out) -> Result<usize, Fail> {
        let start = at + 1;
        let end = scan::string_end(src, start);
        match src.get(end) {
            Some(b'"') => {
                out.short_str(src, start, end);
                Ok(end + 1)
            }
            Some(b'\\') => self.escaped_string(src, start, end, out),
            _ => Err(Fail),
        }
    }

    /// The same, for a string with escapes; the first one is at `end`.
    #[inline(never)]
    fn escaped_string(
        &mut self, src: &[u8], start: usize, mut end: usize, out: &mut Out,
    ) -> Result<usize, Fail> {
        let head = out.open_str();
        let mut from = start;
        loop {
            out.copy_short(src, from, end);
            match src.get(end) {
                Some(b'"') => break,
                Some(b'\\') => {
                    from = unescape(src, end + 1, out)?;
                    // Escapes often follow one another, as those of a word that is not ASCII.
                    while src.get(from) == Some(&b'\\') {
                        from = unescape(src, from + 1, out)?;
                    }
                }
                _ => return Err(Fail),
            }
            end = scan::string_end(src, from);
        }
        out.close_str(head);
        Ok(end + 1)
    }
}

/// What comes next in an object.
enum Step {
    /// A key, at this position.
    Key(usize),
    /// Nothing; the object ends before this position.
    End(usize),
}

/// Read what stands before a key: the opening brace before the `first`, a comma before the others.
#[inline(always)]
fn step(src: &[u8], at: usize, end: usize, first: bool) -> Result<Step, Fail> {
    let at = blank(src, at, end);
    match (peek(src, at, end)?, first) {
        (b'{', true) => {
            let next = blank(src, at + 1, end);
            Ok(if peek(src, next, end)? == b'}' { Step::End(next + 1) } else { Step::Key(next) })
        }
        (b',', false) => Ok(Step::Key(blank(src, at + 1, end))),
        (b'}', false) => Ok(Step::End(at + 1)),
        _ => Err(Fail),
    }
}

/// What the letter of an escape stands for; 0 where there is no such escape, or one of `u`.
const ESCAPES: [u8; 256] = {
    let mut table = [0; 256];
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[b'/' as usize] = b'/';
    table[b'b' as usize] = 8;
    table[b'f' as usize] = 12;
    table[b'n' as usize] = b'\n';
    table[b'r' as usize] = b'\r';
    table[b't' as usize] = b'\t';
    table
};

/// Write what the escape whose letter is at `at` stands for; returns the position after it.
#[inline]
fn unescape(src: &[u8], at: usize, out: &mut Out) -> Result<usize, Fail> {
    let letter = *src.get(at).ok_or(Fail)?;
    match ESCAPES[usize::from(letter)] {
        0 if letter == b'u' => unescape_unicode(src, at + 1, out),
        0 => Err(Fail),
        plain => {
            out.push(plain);
            Ok(at + 1)
        }
    }
}

/// The values of hexadecimal digits; 0xff for all other bytes.
const HEX: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut value = 0;
    while value < 16 {
        table[b"0123456789abcdef"[value] as usize] = value as u8;
        table[b"0123456789ABCDEF"[value] as usize] = value as u8;
        value += 1;
    }
    table
};

#[inline]
fn hex4(src: &[u8], at: usize) -> Result<u32, Fail> {
    let digits: &[u8; 4] = src.get(at..).and_then(|rest| rest.first_chunk()).ok_or(Fail)?;
    let [a, b, c, d] = digits.map(|digit| u32::from(HEX[usize::from(digit)]));
    if (a | b | c | d) > 0xf { Err(Fail) } else { Ok(a << 12 | b << 8 | c << 4 | d) }
}

fn unescape_unicode(src: &[u8], at: usize, out: &mut Out) -> Result<usize, Fail> {
    let mut code = hex4(src, at)?;
    let mut next = at + 4;
    if (0xd800..0xdc00).contains(&code) && src.get(next..next + 2) == Some(b"\\u") {
        let low = hex4(src, next + 2)?;
        if (0xdc00..0xe000).contains(&low) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            next += 6;
        }
    }
    // A surrogate that is half of no pair is no char.
    let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut bytes = [0; 4];
    let n = c.encode_utf8(&mut bytes).len();
    out.put_first(bytes, n);
    Ok(next)
}

/// Size of the head of a packed string in its shortest form.
fn head_size(n: usize) -> usize {
    match n {
        0..32 => 1,
        32..0x100 => 2,
        0x100..0x1_0000 => 3,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packed(transcoder: &mut Transcoder, text: &[u8]) -> Option<Vec<u8>> {
        let mut out = Out::default();
        let object =
            transcoder.any(Text { src: text, start: 0, end: text.len(), utf8: false }, &mut out).ok()?;
        object.close(&mut out);
        Some(out.into_vec())
    }

    fn once(text: &[u8]) -> Option<Vec<u8>> {
        packed(&mut Transcoder::new(Watched::default()), text)
    }

    #[test]
    fn doubles_have_the_first_place_and_the_last_value() {
        assert_eq!(once(br#"{"a":1,"b":2,"a":3}"#), Some(b"\x82\xa1a\x03\xa1b\x02".to_vec()));
        assert_eq!(once(br#"{"x":{"a":1,"a":[]}}"#), Some(b"\x81\xa1x\x81\xa1a\x90".to_vec()));
    }

    #[test]
    fn what_was_foretold_is_what_would_have_been_read() {
        let mut transcoder = Transcoder::new(Watched::default());
        let texts: [&[u8]; 8] = [
            br#"{"level":"info","n":1,"x":null}"#,
            br#"{"level":"info","n":1}"#,
            br#"{"level":"info","m":1,"level":2}"#,
            br#"{"level" :"info","n":1,"x":null,"y":[true,false]}"#,
            br#"{"level":"info","n": 1,"n":2}"#,
            br#"{"level":{"a":1,"b":{"a":[]}},"n":[{"a":1},{"a":2},{"a":1,"a":3},{}]}"#,
            br#"{"level":{"a":1,"b":{"a":2,"a":1}},"n":[{"a":1},{"b":2,"a":{}}]}"#,
            br#"{}"#,
        ];
        for text in texts.iter().chain(texts.iter().rev()) {
            assert_eq!(packed(&mut transcoder, text), once(text), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn doubles_among_many_keys_are_not_learned() {
        let pairs: Vec<String> = (0..40).map(|i| format!("\"k{}\":{i}", i % 39)).collect();
        let many = format!("{{{}}}", pairs.join(","));
        let texts =
            [many.clone(), format!("{{\"a\":[{many},{many}],\"b\":{many}}}"), format!("{{\"a\":[{many},")];
        let mut transcoder = Transcoder::new(Watched::default());
        for text in texts.iter().chain(texts.iter().rev()) {
            assert_eq!(packed(&mut transcoder, text.as_bytes()), once(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_object() {
        for text in
            ["", "[]", "{", "{\"a\"}", "{\"a\":1,}", "{\"a\":1}x", "{\"a\":tru}", "{\"a\":\"\\ud80\"}"]
        {
            assert_eq!(once(text.as_bytes()), None, "{text}");
        }
        let nested = |levels: usize| [b"{\"a\":".repeat(levels), b"1".to_vec(), b"}".repeat(levels)].concat();
        assert!(once(&nested(MAX_DEPTH)).is_some());
        assert!(once(&nested(MAX_DEPTH + 1)).is_none());
    }

    #[test]
    fn bytes_that_are_not_utf8_are_escaped_in_strings_only() {
        assert_eq!(once(b"{\"a\":\"\xff\"}"), Some(b"\x81\xa1a\xa4\\xff".to_vec()));
        assert_eq!(once(b"{\"a\":\xff}"), None);
    }
}
