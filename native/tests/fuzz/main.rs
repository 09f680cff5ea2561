//! Feeds the engine with hostile input for a while, and checks what must hold for any.
//!
//! ```text
//! LOGFLOW_FUZZ_SECONDS=60 LOGFLOW_FUZZ_SEED=1 cargo test --profile fuzz --no-default-features \
//!     --test fuzz -- --ignored --nocapture
//! ```
//!
//! Inputs are samples that were damaged, cut, mixed and nested at random. Whatever fails prints the seed and the
//! number of the case, which repeat it, and the input.

mod changes;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use _native::json::Transcoder;
use _native::keys::Watched;
use _native::lines::{LineFormat, LineParser, Parsed};
use _native::out::Out;
use _native::parsers::{Csv, Grammar, Kind, MessageParser, RegexParser, Types};
use _native::pattern::Pattern;
use _native::records::{self, Change, FieldParser, Grep, Modify, Name, NewValue, Path, Rule, Step, Target};
use _native::regexes::Regex;
use _native::timekey::{TimeKey, TimeReader};
use _native::{entries, frames, ndjson, normal, values};

/// Nasty lines of every kind; the parity tests read them too.
const CORPUS: &[u8] = include_bytes!("../corpus/lines");

const TOKENS: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"\\u",
    b"\\ud800",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\n",
    b"\r\n",
    b"\0",
    b"1e999",
    b"\"a\":",
    b"\xdf\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xc7\x08\x00",
    b"\xd7\x00",
    b"\xc1",
    b"\x92",
    b"\x81\xa1a",
    b" stdout F ",
    b" stderr P ",
    b"2026-01-31T12:00:00Z",
    b"99999999999999999999",
    b"\xf0\x9f\x98\x80",
    b"=",
    b"\t",
    b"-",
];

/// Marsaglia's xorshift64*.
struct Random<'s> {
    state: u64,
    samples: &'s [&'s [u8]],
}

impl Random<'_> {
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit.max(1)
    }

    fn pick<'a>(&mut self, from: &[&'a [u8]]) -> &'a [u8] {
        from[self.below(from.len())]
    }

    fn damage(&mut self, data: &mut Vec<u8>) {
        let at = self.below(data.len() + 1);
        let n = 1 + self.below(8);
        let end = (at + n).min(data.len());
        match self.below(8) {
            0 => data.truncate(at),
            1 => drop(data.drain(at..end)),
            2 if at < data.len() => data[at] ^= 1 << self.below(8),
            3 if at < data.len() => data[at] = self.next() as u8,
            4 => {
                let far = (at + 8 * n).min(data.len());
                let part = data[at..far].to_vec();
                data.splice(at..at, part);
            }
            5 => {
                let token = self.pick(TOKENS).repeat(1 + self.below(3) * self.below(70));
                data.splice(at..at, token);
            }
            6 => drop(data.splice(at..at, self.pick(self.samples).to_vec())),
            _ => drop(data.splice(at..at, self.pick(TOKENS).to_vec())),
        }
    }

    fn damaged(&mut self, mut data: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.below(6) {
            self.damage(&mut data);
        }
        data
    }

    fn block(&mut self) -> Vec<u8> {
        let mut block = Vec::new();
        for _ in 0..1 + self.below(6) {
            let line = self.pick(self.samples).to_vec();
            block.extend(self.damaged(line));
            block.push(b'\n');
        }
        self.damaged(block)
    }
}

struct Engine {
    parsers: Vec<(&'static str, LineParser)>,
    patterns: Vec<Regex>,
    grep: [Grep; 2],
    modify: Modify,
    field_parsers: Vec<FieldParser>,
    fields: Vec<(Name, Vec<u8>)>,
    changes: changes::Changes,
}

const NGINX: &str = r#"^(?P<remote>[^ ]*) (?P<host>[^ ]*) (?P<user>[^ ]*) \[(?P<time>[^\]]*)\] "(?P<method>\S+)(?: +(?P<path>[^"]*?)(?: +\S*)?)?" (?P<code>[^ ]*) (?P<size>[^ ]*)(?: "(?P<referer>[^"]*)" "(?P<agent>[^"]*)")?$"#;
const CLF: &str = r"(?P<d>[0-9]{1,2})/(?P<b>(?i:jan(?:uary)?|feb(?:ruary)?))/(?P<Y>[0-9]{4}):(?P<H>[0-9]{1,2}):(?P<M>[0-9]{1,2}):(?P<S>[0-9]{1,2})[ \t]+(?P<z>[Zz]|[+-][0-9]{2}(?::?[0-9]{2})?)";

fn time_key(key: &str, reader: TimeReader) -> Option<TimeKey> {
    Some(TimeKey { key: key.into(), keep: false, reader })
}

fn message_parser(number: usize) -> MessageParser {
    let types = || Types(vec![(b"n".to_vec(), Kind::Int), (b"code".to_vec(), Kind::Float)]);
    match number {
        0 => MessageParser::Json { time: None },
        1 => MessageParser::Json { time: time_key("ts", TimeReader::Iso(3600)) },
        2 => MessageParser::Json { time: time_key("time", TimeReader::Unix(9)) },
        3 => MessageParser::Raw { key: b"message".to_vec() },
        4 => MessageParser::Text {
            grammar: Grammar::Logfmt,
            types: types(),
            time: time_key("time", TimeReader::Iso(0)),
        },
        5 => MessageParser::Text {
            grammar: Grammar::Ltsv,
            types: types(),
            time: time_key("time", TimeReader::Unix(9)),
        },
        6 => {
            let columns = ["n", "b", "c", "d", "e", "f"].map(|name| name.as_bytes().to_vec()).to_vec();
            let csv = Csv { columns, delimiter: b',', quote: b'"' };
            MessageParser::Text { grammar: Grammar::Csv(csv), types: types(), time: None }
        }
        _ => {
            let pattern = Pattern::new(CLF).expect("a pattern");
            let regex = RegexParser::new(NGINX, 16384, &types()).expect("a pattern");
            let time = time_key("time", TimeReader::Pattern(Box::new(pattern), 0));
            MessageParser::Regex { regex: Box::new(regex), time }
        }
    }
}

impl Engine {
    fn new() -> Self {
        let mut parsers = Vec::new();
        for (name, format) in
            [("cri", LineFormat::Cri), ("docker", LineFormat::Docker), ("plain", LineFormat::Plain)]
        {
            for number in 0..8 {
                for max_line in [50, 1 << 20] {
                    let stream = (number % 2 == 0).then(|| b"stdout".to_vec());
                    let parser = message_parser(number);
                    parsers
                        .push((name, LineParser::new(format, parser, max_line, stream, b"message".to_vec())));
                }
            }
        }
        let path = |text: &str| {
            let key = |key: &str| Step::Key(Target::new(key));
            Path::new(text.contains('.').then_some(text), text.split('.').map(key).collect())
        };
        let item = |key: &str, index| Path::new(None, vec![Step::Key(Target::new(key)), Step::Index(index)]);
        let rule = |text, pattern| Rule::new(path(text), Regex::new(pattern).expect("a pattern"));
        let rules = || vec![rule("a", "^[0-9.]+$"), rule("level", "info|x"), rule("a.b", "é")];
        let template = records::template("{tag}: {level} {a.b}{missing}", |_| None, |text| Some(path(text)))
            .expect("a template");
        let mut packed = Out::default();
        packed.str(b"added");
        packed.bool(true);
        let patterns = [
            NGINX,
            r"(?i)(\w+)=(\d*?)(?:\.\d+)?\b",
            r"(a|ab)(c|bcd)?(.*)$",
            r"([^:]+:)([^ ]*|\S+?) ?(x{2,3})?",
        ];
        Self {
            parsers,
            patterns: patterns.map(|pattern| Regex::new(pattern).expect("a pattern")).into(),
            grep: [
                Grep { keep: rules(), exclude: vec![], all: false },
                Grep { keep: vec![], exclude: rules(), all: true },
            ],
            modify: Modify::new(vec![
                Change::Set(path("new"), NewValue::Template(template)),
                Change::Set(path("a.new.b"), NewValue::Packed(b"\x05".to_vec())),
                Change::Rename(path("msg"), path("message")),
                Change::Rename(path("a.b"), path("c.d.e")),
                Change::Copy(path("a"), path("b")),
                Change::Copy(path("a"), item("l", -1)),
                Change::Remove(path("n")),
                Change::Remove(item("a", 0)),
            ]),
            field_parsers: (0..16)
                .map(|number| FieldParser {
                    parser: message_parser(number % 8),
                    field: if number < 8 { path("message") } else { item("a", 0) },
                    into: (number % 3 == 0).then(|| path("a.into")),
                    keep_original: number % 2 == 0,
                    drop_unparsed: number % 5 == 0,
                    present: AtomicU64::new(0),
                })
                .collect(),
            fields: vec![(Name::new("added"), packed.into_vec())],
            changes: changes::Changes::new(),
        }
    }

    fn check_lines(&self, random: &mut Random, block: &[u8], carry: &[u8]) -> Vec<u8> {
        let (_, parser) = &self.parsers[random.below(self.parsers.len())];
        let Ok(whole) = parser.parse(block, carry, 1, 0) else { return Vec::new() };
        assert_eq!(entries::count(&whole.entries).expect("canonical"), whole.events);
        assert!(whole.entries.len() <= 9 * (block.len() + carry.len()) + 120 * (whole.lines + 1), "size");
        assert!(
            whole
                .carry
                .as_ref()
                .is_none_or(|carry| carry.len() <= 3 * block.len() + 100 + whole.lines + carry.len())
        );
        // Line by line, which forgets what was learned from other lines.
        let mut parts = Parsed { carry: Some(carry.to_vec()), ..Parsed::default() };
        for line in block.split_inclusive(|&b| b == b'\n') {
            let part = parser
                .parse(line, &parts.carry.clone().expect("kept"), 1, 0)
                .expect("a carry of this engine");
            parts.entries.extend(&part.entries);
            parts.events += part.events;
            parts.consumed += part.consumed;
            parts.lines += part.lines;
            parts.unparsed += part.unparsed;
            parts.malformed += part.malformed;
            parts.truncated += part.truncated;
            parts.carry = part.carry.or(parts.carry);
        }
        parts.carry = whole.carry.as_ref().and(parts.carry);
        assert_eq!(parts, whole);
        let flushed =
            parser.flush(whole.carry.as_deref().unwrap_or_default()).expect("a carry of this engine");
        assert_eq!(entries::count(&flushed.entries).expect("canonical"), flushed.events);
        whole.entries.into_vec()
    }

    fn check_entries(&self, data: &[u8]) {
        let normalize = |data: &[u8]| normal::normalize(data, 1, usize::MAX, Some(&[]));
        let normal = normalize(data);
        if let Ok(done) = &normal {
            let entries = done.entries.as_deref().unwrap_or(&data[..done.consumed]);
            let again = normalize(entries).expect("normal");
            assert_eq!((again.events, again.consumed), (done.events, entries.len()));
            assert!(again.entries.is_none_or(|entries_again| entries_again == entries));
            assert_eq!(entries::count(entries), Ok(done.events));
        }
        let canonical = entries::count(data);
        let lines = ndjson::to_ndjson(data, "t\u{e9}\"", Some("@timestamp"), Some("@tag"));
        let spliced = records::splice(data, &self.fields);
        assert_eq!(canonical.is_err(), lines.is_err());
        assert_eq!(canonical.is_err(), spliced.is_err());
        let Ok(count) = canonical else { return };
        assert!(normal.expect("canonical").events <= count);
        check_json_lines(&lines.expect("checked"), count);
        let spliced = spliced.expect("checked");
        assert_eq!(entries::count(&spliced), Ok(count));
        assert_eq!(records::splice(&spliced, &self.fields).as_ref(), Ok(&spliced));
        assert_eq!(entries::count(&self.modify.apply(data, "t").expect("checked")), Ok(count));
        for parser in &self.field_parsers {
            let (parsed, events, _) = parser.apply(data).expect("checked");
            assert_eq!(entries::count(&parsed), Ok(events));
            assert!(ndjson::to_ndjson(&parsed, "t", Some("@timestamp"), None).is_ok());
        }
        let [keep, drop] = self.grep.each_ref().map(|grep| grep.apply(data).expect("checked").1);
        assert_eq!(keep + drop, count);
        self.changes.check(data, count);
    }

    fn check_patterns(&self, text: &[u8]) {
        let Ok(text) = std::str::from_utf8(text) else { return };
        for regex in &self.patterns {
            let (mut fast, mut slow) = (regex.scratch(), regex.scratch());
            let found = regex.search(&mut fast, text.as_bytes());
            assert_eq!(found, regex.search_general(&mut slow, text.as_bytes()));
            for group in 0..if found { regex.groups() } else { 0 } {
                assert_eq!(fast.group(group), slow.group(group));
            }
        }
    }

    fn run(&self, random: &mut Random, input: &[u8]) {
        let carry = if random.below(4) == 0 {
            random.damaged(b"\x81\xa6stdout\x93\x05\xc4\x03abc\xc2".to_vec())
        } else {
            vec![]
        };
        let packed = self.check_lines(random, input, &carry);
        self.check_entries(&packed);
        let packed = random.damaged(packed);
        self.check_entries(&packed);
        self.check_entries(input);
        check_frames(input);
        check_frames(&random.damaged(frame(&packed)));
        self.check_patterns(input);
    }
}

fn check_json_lines(lines: &[u8], count: usize) {
    assert!(std::str::from_utf8(lines).is_ok());
    assert_eq!(lines.iter().filter(|&&b| b == b'\n').count(), count);
    let mut transcoder = Transcoder::new(Watched::default());
    let mut at = 0;
    for line in lines.split_inclusive(|&b| b == b'\n') {
        let end = at + line.len() - 1;
        assert!(transcoder.object(lines, at, end, &mut Out::default()).is_ok(), "{}", line.escape_ascii());
        at = end + 1;
    }
}

fn frame(packed: &[u8]) -> Vec<u8> {
    let mut out = Out::default();
    out.array_head(3);
    out.str(b"tag");
    out.bin(packed);
    out.map_head(0);
    out.into_vec()
}

/// What is found in a part of the data is found in the whole.
fn check_frames(data: &[u8]) {
    if let Ok(done) = values::json_lines(data, false) {
        assert!(done.consumed <= data.len() && done.lines.len() <= 2 * data.len());
    }
    let Ok(whole) = frames::scan(data, 1 << 20, 256) else { return };
    assert!(whole.consumed <= data.len());
    if let Ok(part) = frames::scan(&data[..data.len() / 2], 1 << 20, 256) {
        assert!(whole.frames.starts_with(&part.frames));
        assert!(part.consumed + part.needed <= data.len() || whole.frames == part.frames);
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

#[test]
#[ignore = "takes as long as it is told to"]
fn fuzz() {
    let seconds = setting("LOGFLOW_FUZZ_SECONDS", 10);
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let seed = setting("LOGFLOW_FUZZ_SEED", clock.as_secs());
    let engine = Engine::new();
    let samples: Vec<&[u8]> = CORPUS.split(|&b| b == b'\n').collect();
    let start = Instant::now();
    let mut said = Instant::now();
    let (mut cases, mut bytes) = (0_u64, 0_usize);
    println!("Seed {seed}, for {seconds} s.");
    while start.elapsed() < Duration::from_secs(seconds) {
        let state = (seed << 32 | cases).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut random = Random { state, samples: &samples };
        random.next();
        let input = random.block();
        let case = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| engine.run(&mut random, &input)));
        if result.is_err() || case.elapsed() > Duration::from_secs(5) {
            panic!("seed {seed}, case {cases}, {:?}: {}", case.elapsed(), input.escape_ascii());
        }
        cases += 1;
        bytes += input.len();
        if said.elapsed() > Duration::from_secs(10) {
            println!("{cases} cases, {} MB after {} s.", bytes / 1_000_000, start.elapsed().as_secs());
            said = Instant::now();
        }
    }
    println!("{cases} cases, {bytes} bytes, nothing found.");
}
