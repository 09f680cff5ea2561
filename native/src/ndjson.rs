//! Entries to JSON Lines.
//!
//! As in `json`, the keys of records are foretold.

use crate::entries;
use crate::error::Error;
use crate::forecast::{Forecast, Place};
use crate::keys::FEW_KEYS;
use crate::mp::{self, Fault, MAX_DEPTH, Value};
use crate::num;
use crate::out::{Out, Padded};
use crate::scan;
use crate::text;
use crate::time::Formatter;

/// Longest text that is looked at in one go.
const SHORT: usize = 32;
/// Bytes from which the head of most values can be told.
const LOOK: usize = 3;

/// Characters that are kept of the JSON of a key that is no string.
const MAX_KEY_TEXT: usize = 256;

/// A pair in the output: `,"key":value`; a comma stands before every pair.
#[derive(Clone, Copy)]
struct Pair {
    start: usize,
    /// End of the key, its closing quote included.
    key_end: usize,
}

/// Writes values as JSON.
pub struct Writer {
    pub out: Out,
    times: Formatter,
    /// The keys of records, and which of `OWN_TIME` and `OWN_TAG` each of them is.
    forecast: Forecast<u8>,
    /// Which of our keys the last record had itself: most likely the next one has them too.
    own: u8,
    /// Pairs of the maps that are open, those of the innermost last.
    pairs: Vec<Pair>,
}

/// A record has the time's key itself.
const OWN_TIME: u8 = 1;
/// A record has the tag's key itself.
const OWN_TAG: u8 = 2;

/// What stands at the beginning of a line.
struct Beginning {
    /// `{"time_key":"`, or what there is without a time.
    before_time: Padded,
    has_time: bool,
    /// `","tag_key":"tag",`, or what there is without a tag.
    after_time: Padded,
}

/// The beginnings of lines.
pub struct Prefix {
    /// By which of our keys the record has itself: `OWN_TIME | OWN_TAG`.
    beginnings: [Beginning; 4],
    /// Our keys, as JSON strings, and what they are.
    keys: Vec<(Vec<u8>, u8)>,
}

impl Prefix {
    pub fn new(tag: &str, time_key: Option<&str>, tag_key: Option<&str>) -> Self {
        let quoted = |text: &str| {
            let mut writer = Writer::new(0);
            writer.text(text.as_bytes());
            writer.out.into_vec()
        };
        let (time_key, tag_key) = (time_key.map(quoted), tag_key.map(quoted));
        // A tag under the time's key takes its place.
        let time_key = time_key.filter(|key| Some(key) != tag_key.as_ref());
        let tag = quoted(tag);
        let beginnings = std::array::from_fn(|own| {
            let wanted = |key: &Option<Vec<u8>>, bit| key.clone().filter(|_| own as u8 & bit == 0);
            Beginning::new(wanted(&time_key, OWN_TIME), wanted(&tag_key, OWN_TAG), &tag)
        });
        let times = time_key.into_iter().map(|key| (key, OWN_TIME));
        let tags = tag_key.into_iter().map(|key| (key, OWN_TAG));
        Self { beginnings, keys: times.chain(tags).collect() }
    }

    /// What a key, as a JSON string, is of our keys.
    fn own(&self, text: &[u8]) -> u8 {
        self.keys.iter().find(|(key, _)| key == text).map_or(0, |(_, bit)| *bit)
    }
}

impl Beginning {
    fn new(time_key: Option<Vec<u8>>, tag_key: Option<Vec<u8>>, tag: &[u8]) -> Self {
        let mut before_time = b"{".to_vec();
        let mut after_time = Vec::new();
        if let Some(key) = &time_key {
            before_time.extend_from_slice(key);
            before_time.extend_from_slice(b":\"");
            after_time.extend_from_slice(b"\",");
        }
        if let Some(key) = &tag_key {
            after_time.extend_from_slice(key);
            after_time.push(b':');
            after_time.extend_from_slice(tag);
            after_time.push(b',');
        }
        Self {
            before_time: Padded::new(&before_time),
            has_time: time_key.is_some(),
            after_time: Padded::new(&after_time),
        }
    }
}

/// See `logflow.engine.api.Engine.to_ndjson`.
pub fn to_ndjson(
    data: &[u8], tag: &str, time_key: Option<&str>, tag_key: Option<&str>,
) -> Result<Out, Error> {
    let prefix = Prefix::new(tag, time_key, tag_key);
    let mut writer = Writer::new(data.len() + data.len() / 2);
    let mut at = 0;
    while at < data.len() {
        at = writer.line(data, at, &prefix)?;
    }
    Ok(writer.out)
}

impl Writer {
    pub fn new(capacity: usize) -> Self {
        Self {
            out: Out::with_capacity(capacity),
            times: Formatter::default(),
            forecast: Forecast::default(),
            own: 0,
            pairs: Vec::new(),
        }
    }

    /// Write the entry at `at` as a line; returns its end.
    #[inline]
    pub fn line(&mut self, data: &[u8], at: usize, prefix: &Prefix) -> Result<usize, Error> {
        let head = entries::head(data, at)?;
        let (start, guess) = (self.out.len(), self.own);
        self.begin(&prefix.beginnings[usize::from(guess)], head.seconds, head.nanoseconds);
        let fields_start = self.out.len();
        let end = self.record(data, head.first, head.pairs, prefix)?;
        if self.own != guess {
            let fields = self.out.as_slice()[fields_start..].to_vec();
            self.out.truncate(start);
            self.begin(&prefix.beginnings[usize::from(self.own)], head.seconds, head.nanoseconds);
            self.out.extend(&fields);
        }
        // The last comma, if any, becomes the brace.
        let last = self.out.len() - 1;
        if self.out.as_slice()[last] == b',' {
            self.out.truncate(last);
        }
        self.out.put(*b"}\n");
        Ok(end)
    }

    /// Write the time and the tag, as far as the record does not have them itself.
    #[inline(always)]
    fn begin(&mut self, beginning: &Beginning, seconds: u32, nanoseconds: u32) {
        self.out.extend_padded(&beginning.before_time);
        if beginning.has_time {
            self.time(seconds, nanoseconds);
        }
        self.out.extend_padded(&beginning.after_time);
    }

    /// Write the pairs of a record, each with a comma after it, and note which of our keys it has itself.
    #[inline]
    fn record(&mut self, data: &[u8], mut at: usize, count: usize, prefix: &Prefix) -> Result<usize, Fault> {
        self.pairs.clear();
        self.own = 0;
        let mut done = 0;
        let mut place = Place::START;
        while done < count {
            let Some((next, node)) = self.forecast.find(place, data, at) else { break };
            let start = self.out.len();
            node.write(&mut self.out);
            self.own |= node.known;
            self.pairs.push(Pair { start, key_end: self.out.len() - 1 });
            at = self.item(data, at + node.text_len(), MAX_DEPTH - 1)?;
            place = next;
            done += 1;
        }
        if done < count {
            at = self.record_rest(data, at, count - done, prefix, place)?;
        }
        Ok(at)
    }

    /// Write the `count` pairs that were not foretold, and learn them.
    #[inline(never)]
    fn record_rest(
        &mut self, data: &[u8], mut at: usize, count: usize, prefix: &Prefix, mut place: Place,
    ) -> Result<usize, Fault> {
        let mut double = false;
        for _ in 0..count {
            let start = self.out.len();
            let next = self.key(data, at, MAX_DEPTH - 1)?;
            let key_end = self.out.len();
            let own = prefix.own(&self.out.as_slice()[start..key_end]);
            self.own |= own;
            self.out.push(b':');
            self.pairs.push(Pair { start, key_end });
            double |= self.is_double(0);
            if double {
                place = Place::NOWHERE;
            }
            let output = &self.out.as_slice()[start..=key_end];
            place = self.forecast.learn(place, &data[at..next], output, own);
            at = self.item(data, next, MAX_DEPTH - 1)?;
        }
        if self.drop_doubles(0, double) {
            // Doubles among many keys were learned before they were found.
            self.forecast.clear();
        }
        Ok(at)
    }

    /// Whether the key of the last pair is that of one before it in the map whose pairs begin at `base`.
    fn is_double(&self, base: usize) -> bool {
        let (last, before) = self.pairs[base..].split_last().expect("a pair was noted");
        let text = |pair: &Pair| &self.out.as_slice()[pair.start..pair.key_end];
        before.len() < FEW_KEYS && before.iter().any(|pair| text(pair) == text(last))
    }

    /// Bring the pairs from `base` on to unique keys: the place of a key's first pair, the value of its last.
    /// Says whether there were doubles.
    #[inline]
    fn drop_doubles(&mut self, base: usize, double: bool) -> bool {
        (double || self.pairs.len() - base > FEW_KEYS) && self.search_doubles(base)
    }

    #[cold]
    fn search_doubles(&mut self, base: usize) -> bool {
        let pairs = &self.pairs[base..];
        let data = self.out.as_slice();
        let key = |i: usize| &data[pairs[i].start..pairs[i].key_end];
        let end = |i: usize| pairs.get(i + 1).map_or(data.len(), |pair: &Pair| pair.start);
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by_key(|&i| key(i));
        let mut value_of = vec![None; pairs.len()];
        let mut left = 0;
        for run in order.chunk_by(|&a, &b| key(a) == key(b)) {
            value_of[run[0]] = run.last().copied();
            left += 1;
        }
        if left == pairs.len() {
            return false;
        }
        let mut unique = Vec::with_capacity(data.len() - pairs[0].start);
        for (i, value) in value_of.into_iter().enumerate() {
            if let Some(value) = value {
                unique.extend_from_slice(key(i));
                unique.extend_from_slice(&data[pairs[value].key_end..end(value)]);
            }
        }
        self.out.truncate(pairs[0].start);
        self.out.extend(&unique);
        true
    }

    /// Write the value at `at` and a comma; else as `value`.
    #[inline(always)]
    fn item(&mut self, data: &[u8], at: usize, depth: usize) -> Result<usize, Fault> {
        // What most values are, where the data goes on for long enough; all others take the longer way.
        if let Some(&[first, a, b, ..]) = data.get(at..).and_then(|rest| rest.first_chunk::<LOOK>()) {
            let next = match first {
                0xa0..=0xbf => self.short_item(data, at + 1, usize::from(first & 31)),
                0xd9 if usize::from(a) <= SHORT => self.short_item(data, at + 2, usize::from(a)),
                0x00..=0x7f => Some(self.number_item(u64::from(first), at + 1)),
                0xcc => Some(self.number_item(u64::from(a), at + 2)),
                0xcd => Some(self.number_item(u64::from(u16::from_be_bytes([a, b])), at + 3)),
                0xcb => self.float_item(data, at + 1),
                _ => None,
            };
            if let Some(next) = next {
                return Ok(next);
            }
        }
        let next = self.value(data, at, depth)?;
        self.out.push(b',');
        Ok(next)
    }

    /// Write `n` bytes of text and a comma, unless there is something special about them.
    #[inline(always)]
    fn short_item(&mut self, data: &[u8], start: usize, n: usize) -> Option<usize> {
        let chunk = data[start..].first_chunk()?;
        scan::is_plain(chunk, n).then(|| self.out.quoted(chunk, n))?;
        Some(start + n)
    }

    #[inline(always)]
    fn number_item(&mut self, value: u64, next: usize) -> usize {
        num::write_integer(value, &mut self.out);
        self.out.push(b',');
        next
    }

    #[inline(always)]
    fn float_item(&mut self, data: &[u8], at: usize) -> Option<usize> {
        let value = f64::from_be_bytes(*data[at..].first_chunk()?);
        num::short_decimal(value)?.write(&mut self.out);
        self.out.push(b',');
        Some(at + 8)
    }

    /// Write the value at `at`; returns the position after it. It may hold `depth` levels of containers.
    #[inline]
    pub fn value(&mut self, data: &[u8], at: usize, depth: usize) -> Result<usize, Fault> {
        let (value, next) = mp::read(data, at)?;
        match value {
            Value::Str(text) => self.text_at(data, next - text.len(), next),
            Value::Array(_) | Value::Map(_) if depth == 0 => return Err(Fault::Deep),
            Value::Array(count) => return self.array(data, next, count, depth - 1),
            Value::Map(count) => return self.map(data, next, count, depth - 1),
            scalar => self.scalar(scalar),
        }
        Ok(next)
    }

    #[inline]
    fn scalar(&mut self, value: Value<'_>) {
        match value {
            Value::UInt(value) => num::write_integer(value, &mut self.out),
            Value::Int(value) => self.out.extend_number(itoa::Buffer::new().format(value).as_bytes()),
            Value::F64(value) => self.float(value),
            Value::Bool(true) => self.out.put(*b"true"),
            Value::Bool(false) => self.out.put(*b"false"),
            Value::F32(value) => self.float(f64::from(value)),
            Value::Str(text) | Value::Bin(text) => self.text(text),
            Value::Ext(code, data) => self.ext(code, data),
            Value::Nil | Value::Array(_) | Value::Map(_) => self.out.put(*b"null"),
        }
    }

    /// The shortest text that reads back as the same number, in the form that msgspec gives it.
    fn float(&mut self, value: f64) {
        if !value.is_finite() {
            return self.out.put(*b"null");
        }
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value).as_bytes();
        // Only large numbers have a positive exponent.
        match if value.abs() < 1e15 { None } else { memchr::memchr(b'+', text) } {
            Some(plus) => {
                self.out.extend(&text[..plus]);
                self.out.extend(&text[plus + 1..]);
            }
            None => self.out.extend_number(text),
        }
    }

    fn array(&mut self, data: &[u8], mut at: usize, count: usize, depth: usize) -> Result<usize, Fault> {
        self.out.push(b'[');
        for _ in 0..count {
            at = self.item(data, at, depth)?;
        }
        if count > 0 {
            self.out.truncate(self.out.len() - 1);
        }
        self.out.push(b']');
        Ok(at)
    }

    fn map(&mut self, data: &[u8], mut at: usize, count: usize, depth: usize) -> Result<usize, Fault> {
        self.out.push(b'{');
        let base = self.pairs.len();
        let mut double = false;
        for _ in 0..count {
            let start = self.out.len();
            at = self.key(data, at, depth)?;
            self.pairs.push(Pair { start, key_end: self.out.len() });
            double |= self.is_double(base);
            self.out.push(b':');
            at = self.item(data, at, depth)?;
        }
        self.drop_doubles(base, double);
        self.pairs.truncate(base);
        if count > 0 {
            self.out.truncate(self.out.len() - 1);
        }
        self.out.push(b'}');
        Ok(at)
    }

    /// Write the key at `at` as a string: what is no text is written as its JSON in a string.
    fn key(&mut self, data: &[u8], at: usize, depth: usize) -> Result<usize, Fault> {
        let (value, next) = mp::read(data, at)?;
        match value {
            Value::Str(text) | Value::Bin(text) => self.text(text),
            Value::Ext(code, data) => self.ext(code, data),
            _ => {
                let start = self.out.len();
                let next = self.value(data, at, depth)?;
                let text = self.out.as_slice()[start..].to_vec();
                self.out.truncate(start);
                self.text(key_text(&text));
                return Ok(next);
            }
        }
        Ok(next)
    }

    fn time(&mut self, seconds: u32, nanoseconds: u32) {
        // An EventTime may have a second or more of nanoseconds.
        let seconds = u64::from(seconds) + u64::from(nanoseconds / 1_000_000_000);
        self.times.write(seconds, nanoseconds % 1_000_000_000, &mut self.out);
    }

    /// An EventTime is a time; any other ext is its base64.
    fn ext(&mut self, code: i8, data: &[u8]) {
        self.out.push(b'"');
        match data {
            [a, b, c, d, e, f, g, h] if code == 0 => {
                self.time(u32::from_be_bytes([*a, *b, *c, *d]), u32::from_be_bytes([*e, *f, *g, *h]));
            }
            _ if code == -1 && timestamp(data).is_some() => {
                let (seconds, nanoseconds) = timestamp(data).expect("just read");
                self.time(seconds, nanoseconds);
            }
            _ => base64(data, &mut self.out),
        }
        self.out.push(b'"');
    }

    /// Write bytes as a JSON string.
    #[inline]
    pub fn text(&mut self, text: &[u8]) {
        self.text_at(text, 0, text.len());
    }

    #[inline(always)]
    fn text_at(&mut self, data: &[u8], start: usize, end: usize) {
        match data[start..].first_chunk() {
            Some(chunk) if end - start <= SHORT && scan::is_plain(chunk, end - start) => {
                self.out.quoted(chunk, end - start);
                self.out.truncate(self.out.len() - 1);
            }
            _ => self.long_text(data, start, end),
        }
    }

    /// Write a string that may be long, may need escapes, or may not be UTF-8.
    #[inline(never)]
    fn long_text(&mut self, data: &[u8], start: usize, end: usize) {
        let quote = self.out.len();
        self.out.reserve(end - start + 2);
        self.out.push(b'"');
        let mut at = start;
        while let Some(chunk) = data[at..].first_chunk() {
            let n = (end - at).min(SHORT);
            if !scan::is_plain(chunk, n) {
                break;
            }
            self.out.put_padded(chunk, n);
            at += n;
            if at == end {
                return self.out.push(b'"');
            }
        }
        self.out.truncate(quote);
        self.odd_text(&data[start..end]);
    }

    #[inline(never)]
    fn odd_text(&mut self, text: &[u8]) {
        let text = text::to_text(text);
        self.out.push(b'"');
        let mut at = 0;
        loop {
            let end = scan::string_end(&text, at);
            self.out.extend(&text[at..end]);
            let Some(&special) = text.get(end) else { break };
            self.escape(special);
            at = end + 1;
        }
        self.out.push(b'"');
    }

    fn escape(&mut self, special: u8) {
        let letter = match special {
            b'"' | b'\\' => special,
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => {
                let digit = b"0123456789abcdef"[usize::from(special & 15)];
                return self.out.put([b'\\', b'u', b'0', b'0', b'0' + (special >> 4), digit]);
            }
        };
        self.out.put([b'\\', letter]);
    }
}

/// Seconds and nanoseconds of msgpack's own timestamp, if an event could have that time.
fn timestamp(data: &[u8]) -> Option<(u32, u32)> {
    let (seconds, nanoseconds) = match data.len() {
        4 => (u64::from(u32::from_be_bytes(data.try_into().ok()?)), 0),
        8 => {
            let number = u64::from_be_bytes(data.try_into().ok()?);
            (number & ((1 << 34) - 1), (number >> 34) as u32)
        }
        12 => {
            let nanoseconds = u32::from_be_bytes(data[..4].try_into().ok()?);
            (u64::from_be_bytes(data[4..].try_into().ok()?), nanoseconds)
        }
        _ => return None,
    };
    let seconds = u32::try_from(seconds).ok()?;
    (nanoseconds < 1_000_000_000).then_some((seconds, nanoseconds))
}

/// What is kept of the JSON of a key: escapes in keys within keys would double with each level.
pub fn key_text(json: &[u8]) -> &[u8] {
    let starts = json.iter().enumerate().filter(|(_, b)| !(0x80..0xc0).contains(*b));
    &json[..starts.map(|(at, _)| at).nth(MAX_KEY_TEXT).unwrap_or(json.len())]
}

fn base64(data: &[u8], out: &mut Out) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in data.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, &b| bits << 8 | u32::from(b)) << (8 * (3 - chunk.len()));
        let digit = |i: usize| DIGITS[(bits >> (18 - 6 * i)) as usize & 63];
        let rest = |i: usize| if i <= chunk.len() { digit(i) } else { b'=' };
        out.put([digit(0), digit(1), rest(2), rest(3)]);
    }
}
