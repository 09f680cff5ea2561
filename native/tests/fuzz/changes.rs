//! What is computed of entries, hidden in them and cut from them: conditions, values, groups, numbers, redaction.

use std::sync::LazyLock;

use _native::expressions::{self, Program, Surroundings};
use _native::groups::{self, Grouping};
use _native::limit::Limits;
use _native::miner::Miner;
use _native::mp;
use _native::out::Out;
use _native::records::{Glob, GlobStep, Globs, Like, Name};
use _native::redact::{Action, Detector, Own, Redaction};
use _native::regexes::Regex;
use _native::repeats::Repeats;
use _native::tally::{Measure, Tally};
use _native::{entries, ndjson};

/// Expressions as `logflow.expressions.program` describes them, packed, in hexadecimal, with their texts.
const PROGRAMS: &str = include_str!("../corpus/programs");

static EXPRESSIONS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let packed = |line: &str| {
        let hex = line.split(' ').next().expect("a word").as_bytes();
        let digit = |digit: &u8| char::from(*digit).to_digit(16).expect("a digit") as u8;
        hex.chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
    };
    PROGRAMS.lines().map(packed).collect()
});

const AROUND: Surroundings<'_> =
    Surroundings { tag: "t.é", source: Some("s"), now_ns: 1_700_000_000_000_000_000 };

pub struct Changes {
    programs: Vec<Program>,
    grouping: Grouping,
    tally: Tally,
    redactions: Vec<Redaction>,
    limits: Vec<Limits>,
}

impl Changes {
    pub fn new() -> Self {
        let program = |packed: &Vec<u8>| Program::new([&**packed]).expect("a program");
        let few = &EXPRESSIONS[..3];
        let measure = |labels| Measure {
            condition: Some(0),
            value: Some(1),
            labels,
            bounds: vec![-1.0, 0.0, 10.0],
            signed: true,
        };
        Self {
            programs: EXPRESSIONS.iter().map(program).collect(),
            grouping: Grouping::new(few).expect("programs"),
            tally: Tally {
                program: Program::new(few.iter().map(|packed| &**packed)).expect("programs"),
                measures: vec![measure(vec![]), measure(vec![1, 2])],
            },
            redactions: vec![
                redaction(None, Action::Mask, true),
                redaction(Some(globs()), Action::Hash, false),
                redaction(Some(globs()), Action::Remove, true),
            ],
            limits: vec![limits(10, 3, 4), limits(1, 1, 1), limits(usize::MAX, 2, usize::MAX)],
        }
    }

    /// `data` are `count` canonical entries, and so is what becomes of them.
    pub fn check(&self, data: &[u8], count: usize) {
        for program in &self.programs {
            check_program(program, data, count);
        }
        for redaction in &self.redactions {
            let (changed, found) = redaction.apply(data, b"key").expect("checked");
            assert_eq!(changed.is_none(), found.iter().all(|&found| found == 0));
            check_entries(changed.as_deref().unwrap_or(data), count);
        }
        for limits in &self.limits {
            let (changed, _) = limits.apply(data).expect("checked");
            check_entries(changed.as_deref().unwrap_or(data), count);
        }
        self.check_groups(data, count);
    }

    fn check_groups(&self, data: &[u8], count: usize) {
        let found = self.grouping.apply(data, AROUND).expect("checked");
        assert_eq!((found.counts.iter().sum::<usize>(), found.ids.len()), (count, 4 * count));
        assert_eq!(found.sizes.iter().sum::<usize>(), data.len());
        assert!(groups::ids(&found.ids, found.keys.len()).count() == count);
        for tallied in self.tally.apply(data, AROUND).expect("checked") {
            assert_eq!(tallied.keys.len(), tallied.series.len());
            let events: u64 = tallied.series.iter().map(|series| series.events).sum();
            assert!(events + tallied.skipped <= count as u64);
        }
        let repeats = Repeats::new(&EXPRESSIONS[1..2], 10, 3, true).expect("programs");
        let miner = Miner::new(&EXPRESSIONS[2], 3, 50).expect("a program");
        for at_ns in [1, 5, 100] {
            let (kept, events) = repeats.apply(data, AROUND, at_ns).expect("checked");
            check_entries(kept.as_deref().unwrap_or(data), events);
            let (ids, templates) = miner.apply(data, AROUND).expect("checked");
            assert!(ids.len() == 4 * count && templates.len() <= count + 1);
        }
    }
}

fn check_program(program: &Program, data: &[u8], count: usize) {
    let marks = program.mark(data, AROUND).expect("checked");
    let values = program.values(data, AROUND).expect("checked");
    assert_eq!((marks.len(), values.len()), (count, count));
    for value in &values {
        assert_eq!(mp::skip(value, 0, mp::MAX_DEPTH), Ok(value.len()));
    }
    let (kept, _, rest) = program.divide(data, AROUND, true).expect("checked");
    let kept = kept.as_deref().unwrap_or(data);
    assert_eq!(expressions::interleave(kept, &rest, &marks).as_deref(), Ok(data));
}

fn check_entries(data: &[u8], count: usize) {
    assert_eq!(entries::count(data), Ok(count));
    assert!(ndjson::to_ndjson(data, "t", Some("@timestamp"), None).is_ok());
}

fn limits(bytes: usize, depth: usize, fields: usize) -> Limits {
    let mut mark = Out::default();
    mark.str(b"cut");
    mark.bool(true);
    Limits { bytes, depth, fields, mark: (Name::new("cut"), mark.into_vec()) }
}

fn redaction(fields: Option<Globs>, action: Action, keys: bool) -> Redaction {
    let names = ["email", "card", "iban", "ip", "jwt", "bearer", "aws_key", "private_key"];
    let own = |pattern, in_pieces| Own { pattern: Regex::new(pattern).expect("a pattern"), in_pieces };
    Redaction {
        detectors: names.iter().map(|name| Detector::named(name).expect("a detector")).collect(),
        own: vec![own(r"\d{3}", true), own("(a|é)+b?$", false)],
        names: names.iter().copied().chain(["three", "own"]).map(String::from).collect(),
        fields,
        action,
        keys,
    }
}

fn globs() -> Globs {
    let like = |pieces: &[&str]| Like(pieces.iter().map(|piece| (*piece).into()).collect());
    let glob = |steps| Glob { whole: None, steps };
    Globs::new(vec![
        glob(vec![GlobStep::Key(like(&["m", ""]))]),
        glob(vec![GlobStep::Deep, GlobStep::Key(like(&["a"])), GlobStep::AnyItem]),
        glob(vec![GlobStep::Key(like(&["", ""])), GlobStep::Deep, GlobStep::Index(-1), GlobStep::Deep]),
        Glob { whole: Some(like(&["", ".", ""])), steps: vec![GlobStep::Key(like(&["a"]))] },
    ])
}
