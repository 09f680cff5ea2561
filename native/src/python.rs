//! The module `logflow.engine._native`: arguments in, tuples out. What the functions mean stands in
//! `logflow.engine.api`; how they are called, in `logflow.engine._adapter`.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyMemoryView, PyTuple};

use crate::entries;
use crate::error::Error;
use crate::expressions::{self, Surroundings};
use crate::frames::{self, Mode};
use crate::lines::{self, LineFormat};
use crate::multiline::{Multiline, Rule};
use crate::ndjson;
use crate::normal;
use crate::parsers::{Csv, Grammar, Kind, MessageParser, RegexParser, Types};
use crate::pattern::Pattern;
use crate::records::{self, Change, Name, NewValue, Path, Step, Target};
use crate::regexes;
use crate::timekey::{TimeKey, TimeReader};
use crate::values;

mod groups;

/// Work on less than this is done before another thread could take the GIL.
const SHORT: usize = 4096;

impl From<Error> for PyErr {
    fn from(error: Error) -> Self {
        let (class, text) = match error {
            Error::Malformed(text) => ("MalformedData", text),
            Error::Limit(text) => ("LimitExceeded", text),
            Error::Unsupported(text) => ("Unsupported", text),
            Error::Invalid(text) => return PyValueError::new_err(text),
        };
        Python::attach(|py| {
            let raise = || py.import("logflow.errors")?.getattr(class)?.call1((text,));
            raise().map_or_else(|failed| failed, PyErr::from_value)
        })
    }
}

/// The bytes of an argument. Those of a `bytes` object are used where they are, also through a
/// memoryview of a part of it; any other buffer may change while we read, and is copied.
struct Data<'py> {
    bytes: Bound<'py, PyBytes>,
    range: Range<usize>,
}

impl<'py> Data<'py> {
    fn of(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Some(part) = Self::viewed(object)? {
            return Ok(part);
        }
        let bytes: Bound<'py, PyBytes> = match object.cast::<PyBytes>() {
            Ok(bytes) => bytes.clone(),
            Err(_) => object.py().get_type::<PyBytes>().call1((object,))?.cast_into()?,
        };
        let range = 0..bytes.as_bytes().len();
        Ok(Self { bytes, range })
    }

    /// What a memoryview shows of a `bytes` object, if that is what it is.
    fn viewed(object: &Bound<'py, PyAny>) -> PyResult<Option<Self>> {
        let Ok(view) = object.cast::<PyMemoryView>() else { return Ok(None) };
        let Ok(bytes) = view.getattr("obj")?.cast_into::<PyBytes>() else { return Ok(None) };
        let Ok(shown) = PyBuffer::<u8>::get(view) else { return Ok(None) };
        let start = shown.buf_ptr().addr().wrapping_sub(bytes.as_bytes().as_ptr().addr());
        let end = start.wrapping_add(shown.len_bytes());
        let inside = start <= end && end <= bytes.as_bytes().len();
        Ok((inside && shown.is_c_contiguous()).then_some(Self { bytes, range: start..end }))
    }

    fn py(&self) -> Python<'py> {
        self.bytes.py()
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes.as_bytes()[self.range.clone()]
    }

    /// As an object: the argument itself if it was `bytes`.
    fn into_bytes(self) -> Bound<'py, PyBytes> {
        if self.range.len() == self.bytes.as_bytes().len() {
            self.bytes
        } else {
            PyBytes::new(self.py(), self.as_bytes())
        }
    }
}

/// A mapping as a dict.
fn dict_of<'py>(mapping: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    Ok(mapping.py().get_type::<PyDict>().call1((mapping,))?.cast_into()?)
}

/// Do the work on `size` bytes, without the GIL unless that is little.
fn run<T: Send>(py: Python<'_>, size: usize, work: impl Send + FnOnce() -> T) -> T {
    if size < SHORT { work() } else { py.detach(work) }
}

#[pyclass(frozen, module = "logflow.engine._native")]
struct LineParser(lines::LineParser);

type Parsed<'py> = (Bound<'py, PyBytes>, usize, usize, Bound<'py, PyBytes>, usize, usize, usize, usize);

fn parsed<'py>(carry: Data<'py>, done: lines::Parsed) -> Parsed<'py> {
    let py = carry.py();
    (
        PyBytes::new(py, &done.entries),
        done.events,
        done.consumed,
        done.carry.map_or_else(|| carry.into_bytes(), |carry| PyBytes::new(py, &carry)),
        done.lines,
        done.unparsed,
        done.malformed,
        done.truncated,
    )
}

#[pymethods]
impl LineParser {
    fn parse<'py>(
        &self, block: &Bound<'py, PyAny>, carry: &Bound<'py, PyAny>, now_ns: i128,
    ) -> PyResult<Parsed<'py>> {
        let (block, carry) = (Data::of(block)?, Data::of(carry)?);
        let (data, joins) = (block.as_bytes(), carry.as_bytes());
        let done = run(block.py(), data.len(), || self.0.parse(data, joins, now_ns))?;
        Ok(parsed(carry, done))
    }

    fn flush<'py>(&self, carry: &Bound<'py, PyAny>, now_ns: i128) -> PyResult<Parsed<'py>> {
        // A join has the time of its first piece.
        let _ = now_ns;
        let carry = Data::of(carry)?;
        let joins = carry.as_bytes();
        let done = run(carry.py(), joins.len(), || self.0.flush(joins))?;
        Ok(parsed(carry, done))
    }
}

#[pyfunction]
#[pyo3(signature = (format, parser, *, max_line, stream=None, message_key="message", multiline=None))]
fn line_parser(
    format: &str, parser: &Bound<'_, PyDict>, max_line: usize, stream: Option<String>, message_key: &str,
    multiline: Option<&Bound<'_, PyDict>>,
) -> PyResult<LineParser> {
    let format = match format {
        "cri" => LineFormat::Cri,
        "docker" => LineFormat::Docker,
        "plain" => LineFormat::Plain,
        _ => return Err(PyValueError::new_err(format!("{format:?} is not a format of lines"))),
    };
    let parser = message_parser(parser)?;
    let stream = stream.map(String::into_bytes);
    let lines = lines::LineParser::new(format, parser, max_line, stream, message_key.as_bytes().to_vec());
    Ok(LineParser(match multiline {
        Some(config) => lines.with_multiline(read_multiline(config)?),
        None => lines,
    }))
}

fn read_multiline(config: &Bound<'_, PyDict>) -> PyResult<Multiline> {
    let rule = |(states, pattern, negate, to): (Vec<i64>, String, bool, i64)| {
        Ok::<_, PyErr>(Rule { states, pattern: regexes::Regex::new(&pattern)?, negate, to })
    };
    let rules: Vec<(Vec<i64>, String, bool, i64)> = item(config, "rules")?;
    let hints: Option<String> = item(config, "hints")?;
    Ok(Multiline {
        rules: rules.into_iter().map(rule).collect::<PyResult<_>>()?,
        hints: hints.map(|pattern| regexes::Regex::new(&pattern)).transpose()?,
        held: item(config, "held")?,
        timeout_ns: Some(item(config, "timeout_ns")?),
        max_lines: item(config, "max_lines")?,
        max_bytes: item(config, "max_bytes")?,
        spares_json: item(config, "spares_json")?,
    })
}

fn item<'py, T: FromPyObjectOwned<'py>>(config: &Bound<'py, PyDict>, key: &str) -> PyResult<T> {
    config.as_any().get_item(key)?.extract().map_err(Into::into)
}

fn message_parser(config: &Bound<'_, PyDict>) -> PyResult<MessageParser> {
    let kind: String = item(config, "type")?;
    let grammar = match kind.as_str() {
        "raw" => return Ok(MessageParser::Raw { key: item::<String>(config, "key")?.into_bytes() }),
        "json" => return Ok(MessageParser::Json { time: time_key(config)? }),
        "logfmt" => Grammar::Logfmt,
        "ltsv" => Grammar::Ltsv,
        "csv" => Grammar::Csv(csv(config)?),
        "regex" => {
            let pattern: String = item(config, "pattern")?;
            let regex = RegexParser::new(&pattern, item(config, "max_length")?, &types(config)?)?;
            return Ok(MessageParser::Regex { regex: Box::new(regex), time: time_key(config)? });
        }
        _ => return Err(Error::Unsupported(format!("parser {kind:?} is written in Python")).into()),
    };
    Ok(MessageParser::Text { grammar, types: types(config)?, time: time_key(config)? })
}

fn csv(config: &Bound<'_, PyDict>) -> PyResult<Csv> {
    let character = |key| match item::<String>(config, key)?.as_bytes() {
        [b] if b.is_ascii() => Ok(*b),
        _ => Err(PyErr::from(Error::Unsupported(format!("{key} is not one ASCII character")))),
    };
    let columns: Vec<String> = item(config, "columns")?;
    Ok(Csv {
        columns: columns.into_iter().map(String::into_bytes).collect(),
        delimiter: character("delimiter")?,
        quote: character("quote")?,
    })
}

fn types(config: &Bound<'_, PyDict>) -> PyResult<Types> {
    let types: Bound<'_, PyDict> = item(config, "types")?;
    let mut table = Vec::new();
    for (name, kind) in types.iter() {
        let kind = match kind.extract::<String>()?.as_str() {
            "str" => Kind::Str,
            "int" => Kind::Int,
            "float" => Kind::Float,
            "bool" => Kind::Bool,
            other => return Err(Error::Unsupported(format!("type {other:?} is written in Python")).into()),
        };
        table.push((name.extract::<String>()?.into_bytes(), kind));
    }
    Ok(Types(table))
}

fn time_key(config: &Bound<'_, PyDict>) -> PyResult<Option<TimeKey>> {
    let time: Bound<'_, PyDict> = item(config, "time")?;
    if time.is_empty() {
        return Ok(None);
    }
    let unsupported = |why: &str| PyErr::from(Error::Unsupported(why.to_owned()));
    let reader = if let Some(digits) = item::<Option<u32>>(&time, "digits")? {
        TimeReader::Unix(digits)
    } else {
        let offset_s: Option<i64> = item(&time, "offset_s")?;
        let offset_s =
            offset_s.ok_or_else(|| unsupported("the offset of the time zone changes with the date"))?;
        if item(&time, "iso8601")? {
            TimeReader::Iso(offset_s)
        } else {
            let pattern = Pattern::new(&item::<String>(&time, "pattern")?)?;
            TimeReader::Pattern(Box::new(pattern), offset_s)
        }
    };
    let key = item::<String>(&time, "time_key")?.into_bytes();
    Ok(Some(TimeKey { key, keep: item(&time, "keep_time")?, reader }))
}

type Normalized<'py> =
    (Bound<'py, PyBytes>, usize, usize, Bound<'py, PyDict>, Bound<'py, PyDict>, Bound<'py, PyBytes>);

#[pyfunction]
fn normalize<'py>(
    data: &Bound<'py, PyAny>, now_ns: i128, limit: Option<usize>, group: Option<&[u8]>,
) -> PyResult<Normalized<'py>> {
    let data = Data::of(data)?;
    let py = data.py();
    let bytes = data.as_bytes();
    let limit = limit.unwrap_or(usize::MAX);
    let done = run(py, bytes.len(), || normal::normalize(bytes, now_ns, limit, group))?;
    let counts = |names: [&str; 4], counts: [usize; 4]| {
        let dict = PyDict::new(py);
        for (name, count) in names.iter().zip(counts).filter(|(_, count)| *count > 0) {
            dict.set_item(name, count)?;
        }
        Ok::<_, PyErr>(dict)
    };
    let entries = match &done.entries {
        Some(changed) => PyBytes::new(py, changed),
        None if done.consumed < bytes.len() => PyBytes::new(py, &bytes[..done.consumed]),
        None => data.into_bytes(),
    };
    Ok((
        entries,
        done.events,
        done.consumed,
        counts(normal::SKIPPED, done.skipped)?,
        counts(normal::MENDED, done.mended)?,
        PyBytes::new(py, &done.group),
    ))
}

#[pyfunction]
fn json_lines<'py>(data: &Bound<'py, PyAny>, array: bool) -> PyResult<(Bound<'py, PyBytes>, usize, bool)> {
    let data = Data::of(data)?;
    let bytes = data.as_bytes();
    let done = run(data.py(), bytes.len(), || values::json_lines(bytes, array))?;
    Ok((PyBytes::new(data.py(), &done.lines), done.consumed, done.array))
}

#[pyfunction]
fn count(entries: &Bound<'_, PyAny>) -> PyResult<usize> {
    let data = Data::of(entries)?;
    let bytes = data.as_bytes();
    Ok(run(data.py(), bytes.len(), || entries::count(bytes))?)
}

#[pyfunction]
fn offsets(entries: &Bound<'_, PyAny>) -> PyResult<Vec<usize>> {
    let data = Data::of(entries)?;
    let bytes = data.as_bytes();
    Ok(run(data.py(), bytes.len(), || entries::offsets(bytes))?)
}

#[pyfunction]
fn time_range(entries: &Bound<'_, PyAny>) -> PyResult<(u64, u64)> {
    let data = Data::of(entries)?;
    let bytes = data.as_bytes();
    Ok(run(data.py(), bytes.len(), || entries::time_range(bytes))?)
}

#[pyfunction]
#[pyo3(signature = (entries, tag, time_key=Some("@timestamp"), tag_key=Some("@tag")))]
fn to_ndjson<'py>(
    entries: &Bound<'py, PyAny>, tag: &str, time_key: Option<&str>, tag_key: Option<&str>,
) -> PyResult<Bound<'py, PyBytes>> {
    let data = Data::of(entries)?;
    let bytes = data.as_bytes();
    let lines = run(data.py(), bytes.len(), || ndjson::to_ndjson(bytes, tag, time_key, tag_key))?;
    Ok(PyBytes::new(data.py(), &lines))
}

#[pyfunction]
fn scan_frames<'py>(
    data: &Bound<'py, PyAny>, max_size: usize,
) -> PyResult<(Bound<'py, PyList>, usize, usize)> {
    let data = Data::of(data)?;
    let py = data.py();
    let bytes = data.as_bytes();
    let scanned = run(py, bytes.len(), || frames::scan(bytes, max_size))?;
    let frames: Vec<Bound<'py, PyTuple>> = scanned
        .frames
        .iter()
        .map(|frame| {
            let mode = match frame.mode {
                Mode::Message => pyo3::intern!(py, "message"),
                Mode::Forward => pyo3::intern!(py, "forward"),
                Mode::Packed => pyo3::intern!(py, "packed"),
                Mode::Other => pyo3::intern!(py, "other"),
            };
            let tag = PyBytes::new(py, &bytes[frame.tag.0..frame.tag.1]);
            let places = (frame.start, frame.end, frame.events, frame.option_start, frame.option_end);
            (tag, mode, places.0, places.1, places.2, places.3, places.4).into_pyobject(py)
        })
        .collect::<PyResult<_>>()?;
    Ok((PyList::new(py, frames)?, scanned.consumed, scanned.needed))
}

/// Pack the value of a field by the rules that hold for records.
fn pack_value(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    value.py().import("logflow.packing")?.getattr("pack_value")?.call1((value, 2))?.extract()
}

#[pyfunction]
fn splice<'py>(entries: &Bound<'py, PyAny>, fields: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let mut packed = Vec::new();
    for (key, value) in dict_of(fields)?.iter() {
        let mut pair = pack_value(&key)?;
        pair.extend(pack_value(&value)?);
        packed.push((Name::new(&key.extract::<String>()?), pair));
    }
    let data = Data::of(entries)?;
    let bytes = data.as_bytes();
    let spliced = run(data.py(), bytes.len(), || records::splice(bytes, &packed))?;
    Ok(PyBytes::new(data.py(), &spliced))
}

#[pyclass(frozen, module = "logflow.engine._native")]
struct Regex(regexes::Regex);

#[pymethods]
impl Regex {
    fn found(&self, text: &str) -> bool {
        self.0.is_match(text.as_bytes())
    }

    fn fields<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Option<Bound<'py, PyDict>>> {
        let mut scratch = self.0.scratch();
        if !self.0.search(&mut scratch, text.as_bytes()) {
            return Ok(None);
        }
        let fields = PyDict::new(py);
        for (number, name) in &self.0.names {
            if let Some((start, end)) = scratch.group(*number) {
                fields.set_item(name, &text[start..end])?;
            }
        }
        Ok(Some(fields))
    }
}

#[pyfunction]
fn regex(pattern: &str) -> PyResult<Regex> {
    Ok(Regex(regexes::Regex::new(pattern)?))
}

#[pyclass(frozen, module = "logflow.engine._native")]
struct Grep(records::Grep);

#[pymethods]
impl Grep {
    fn apply<'py>(&self, entries: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyBytes>, usize)> {
        let data = Data::of(entries)?;
        let bytes = data.as_bytes();
        let (kept, count) = run(data.py(), bytes.len(), || self.0.apply(bytes))?;
        let kept = kept.map(|kept| PyBytes::new(data.py(), &kept));
        Ok((kept.unwrap_or_else(|| data.into_bytes()), count))
    }

    fn present(&self) -> Vec<u64> {
        self.0.present()
    }
}

/// A step of a path, as `logflow.paths` has it.
#[derive(FromPyObject)]
enum PathStep {
    Index(i64),
    Key(String),
}

/// A path: its exact key and its steps.
type Steps = (Option<String>, Vec<PathStep>);

fn path((exact, steps): Steps) -> Path {
    let step = |step| match step {
        PathStep::Index(index) => Step::Index(index),
        PathStep::Key(key) => Step::Key(Target::new(&key)),
    };
    Path::new(exact.as_deref(), steps.into_iter().map(step).collect())
}

#[pyfunction]
#[pyo3(signature = (keep, exclude, mode="and"))]
fn grep(keep: Vec<(Steps, String)>, exclude: Vec<(Steps, String)>, mode: &str) -> PyResult<Grep> {
    let rules = |rules: Vec<(Steps, String)>| -> PyResult<Vec<records::Rule>> {
        let rule = |(steps, pattern): (Steps, String)| {
            Ok(records::Rule::new(path(steps), regexes::Regex::new(&pattern)?))
        };
        rules.into_iter().map(rule).collect()
    };
    Ok(Grep(records::Grep { keep: rules(keep)?, exclude: rules(exclude)?, all: mode == "and" }))
}

#[pyclass(frozen, module = "logflow.engine._native")]
struct FieldParser(records::FieldParser);

#[pymethods]
impl FieldParser {
    fn apply<'py>(&self, entries: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyBytes>, usize, usize)> {
        let data = Data::of(entries)?;
        let bytes = data.as_bytes();
        let (parsed, count, unparsed) = run(data.py(), bytes.len(), || self.0.apply(bytes))?;
        Ok((PyBytes::new(data.py(), &parsed), count, unparsed))
    }

    fn present(&self) -> Vec<u64> {
        vec![self.0.present.load(Ordering::Relaxed)]
    }
}

#[pyfunction]
fn field_parser(
    parser: &Bound<'_, PyDict>, field: Steps, into: Option<Steps>, keep_original: bool, drop_unparsed: bool,
) -> PyResult<FieldParser> {
    let present = AtomicU64::new(0);
    let (parser, field, into) = (message_parser(parser)?, path(field), into.map(path));
    Ok(FieldParser(records::FieldParser { parser, field, into, keep_original, drop_unparsed, present }))
}

#[pyclass(frozen, module = "logflow.engine._native")]
struct Modify(records::Modify);

#[pymethods]
impl Modify {
    fn apply<'py>(&self, entries: &Bound<'py, PyAny>, tag: &str) -> PyResult<Bound<'py, PyBytes>> {
        let data = Data::of(entries)?;
        let bytes = data.as_bytes();
        let changed = run(data.py(), bytes.len(), || self.0.apply(bytes, tag))?;
        Ok(PyBytes::new(data.py(), &changed))
    }

    fn present(&self) -> Vec<u64> {
        self.0.present()
    }
}

/// `read_path` makes a path of a placeholder's text, or raises `ValueError`.
#[pyfunction]
fn modify(
    changes: Vec<(String, Steps, Bound<'_, PyAny>)>, variables: &Bound<'_, PyAny>,
    read_path: &Bound<'_, PyAny>,
) -> PyResult<Modify> {
    let variables: HashMap<String, String> = dict_of(variables)?.extract()?;
    let change = |(action, key, argument): (String, Steps, Bound<'_, PyAny>)| {
        let key = path(key);
        let target = |argument: &Bound<'_, PyAny>| Ok::<_, PyErr>(path(argument.extract()?));
        Ok(match action.as_str() {
            "set" => Change::Set(key, new_value(&argument, &variables, read_path)?),
            "default" => Change::Default(key, new_value(&argument, &variables, read_path)?),
            "remove" => Change::Remove(key),
            "rename" => Change::Rename(key, target(&argument)?),
            "copy" => Change::Copy(key, target(&argument)?),
            _ => {
                let what = "is not a change; write set, default, remove, rename or copy";
                return Err(PyValueError::new_err(format!("{action:?} {what}")));
            }
        })
    };
    Ok(Modify(records::Modify::new(changes.into_iter().map(change).collect::<PyResult<_>>()?)))
}

fn new_value(
    value: &Bound<'_, PyAny>, variables: &HashMap<String, String>, read_path: &Bound<'_, PyAny>,
) -> PyResult<NewValue> {
    let text = value.extract::<String>().unwrap_or_default();
    let field = |name: &str| Some(path(read_path.call1((name,)).ok()?.extract().ok()?));
    if let Some(parts) = records::template(&text, |name| variables.get(name).cloned(), field) {
        return Ok(NewValue::Template(parts));
    }
    Ok(NewValue::Packed(pack_value(value)?))
}

/// An expression, as a condition or for its values.
#[pyclass(frozen, module = "logflow.engine._native")]
struct Expression(expressions::Program);

#[pymethods]
impl Expression {
    fn split<'py>(
        &self, entries: &Bound<'py, PyAny>, tag: &str, source: Option<&str>, now_ns: i128,
    ) -> PyResult<(Bound<'py, PyBytes>, usize, Bound<'py, PyBytes>)> {
        let data = Data::of(entries)?;
        let py = data.py();
        let bytes = data.as_bytes();
        let around = Surroundings { tag, source, now_ns };
        let (kept, count, rest) = run(py, bytes.len(), || self.0.divide(bytes, around, true))?;
        let rest = if count == 0 && !bytes.is_empty() { None } else { Some(PyBytes::new(py, &rest)) };
        Ok(match (kept, rest) {
            (_, None) => (PyBytes::new(py, b""), 0, data.into_bytes()),
            (None, Some(rest)) => (data.into_bytes(), count, rest),
            (Some(kept), Some(rest)) => (PyBytes::new(py, &kept), count, rest),
        })
    }

    fn mark<'py>(
        &self, entries: &Bound<'py, PyAny>, tag: &str, source: Option<&str>, now_ns: i128,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let data = Data::of(entries)?;
        let bytes = data.as_bytes();
        let around = Surroundings { tag, source, now_ns };
        let marks = run(data.py(), bytes.len(), || self.0.mark(bytes, around))?;
        Ok(PyBytes::new(data.py(), &marks))
    }

    fn keep<'py>(
        &self, entries: &Bound<'py, PyAny>, tag: &str, source: Option<&str>, now_ns: i128,
    ) -> PyResult<(Bound<'py, PyBytes>, usize)> {
        let data = Data::of(entries)?;
        let bytes = data.as_bytes();
        let around = Surroundings { tag, source, now_ns };
        let (kept, count, _) = run(data.py(), bytes.len(), || self.0.divide(bytes, around, false))?;
        let kept = kept.map(|kept| PyBytes::new(data.py(), &kept));
        Ok((kept.unwrap_or_else(|| data.into_bytes()), count))
    }

    fn values<'py>(
        &self, entries: &Bound<'py, PyAny>, tag: &str, source: Option<&str>, now_ns: i128,
    ) -> PyResult<Bound<'py, PyList>> {
        let data = Data::of(entries)?;
        let py = data.py();
        let bytes = data.as_bytes();
        let around = Surroundings { tag, source, now_ns };
        let values = run(py, bytes.len(), || self.0.values(bytes, around))?;
        PyList::new(py, values.iter().map(|value| PyBytes::new(py, value)))
    }
}

#[pyfunction]
fn expression(program: &[u8]) -> PyResult<Expression> {
    Ok(Expression(expressions::Program::new([program])?))
}

#[pyclass(frozen, module = "logflow.engine._native")]
struct Assignment(records::Assignment);

#[pymethods]
impl Assignment {
    fn apply<'py>(
        &self, entries: &Bound<'py, PyAny>, tag: &str, source: Option<&str>, now_ns: i128,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let data = Data::of(entries)?;
        let bytes = data.as_bytes();
        let around = Surroundings { tag, source, now_ns };
        let changed = run(data.py(), bytes.len(), || self.0.apply(bytes, around))?;
        Ok(PyBytes::new(data.py(), &changed))
    }
}

#[pyfunction]
fn assignment(fields: Vec<(Steps, Vec<u8>)>) -> PyResult<Assignment> {
    let program = expressions::Program::new(fields.iter().map(|(_, program)| &**program))?;
    let paths = fields.into_iter().map(|(steps, _)| path(steps)).collect();
    Ok(Assignment(records::Assignment { paths, program }))
}

#[pyfunction]
fn divide<'py>(
    entries: &Bound<'py, PyAny>, marks: &[u8],
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    let data = Data::of(entries)?;
    let py = data.py();
    let bytes = data.as_bytes();
    let (kept, _, rest) = run(py, bytes.len(), || expressions::divide(bytes, marks))?;
    let kept = kept.map(|kept| PyBytes::new(py, &kept));
    Ok((kept.unwrap_or_else(|| data.into_bytes()), PyBytes::new(py, &rest)))
}

#[pyfunction]
fn interleave<'py>(
    kept: &Bound<'py, PyAny>, rest: &Bound<'py, PyAny>, marks: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let (kept, rest) = (Data::of(kept)?, Data::of(rest)?);
    let (some, others) = (kept.as_bytes(), rest.as_bytes());
    let merged = run(kept.py(), some.len(), || expressions::interleave(some, others, marks))?;
    Ok(PyBytes::new(kept.py(), &merged))
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<LineParser>()?;
    module.add_function(wrap_pyfunction!(line_parser, module)?)?;
    module.add_function(wrap_pyfunction!(normalize, module)?)?;
    module.add_function(wrap_pyfunction!(json_lines, module)?)?;
    module.add_function(wrap_pyfunction!(count, module)?)?;
    module.add_function(wrap_pyfunction!(offsets, module)?)?;
    module.add_function(wrap_pyfunction!(time_range, module)?)?;
    module.add_function(wrap_pyfunction!(to_ndjson, module)?)?;
    module.add_class::<Regex>()?;
    module.add_function(wrap_pyfunction!(regex, module)?)?;
    module.add_class::<Grep>()?;
    module.add_class::<Modify>()?;
    module.add_class::<Expression>()?;
    module.add_function(wrap_pyfunction!(expression, module)?)?;
    module.add_class::<Assignment>()?;
    module.add_function(wrap_pyfunction!(assignment, module)?)?;
    module.add_function(wrap_pyfunction!(divide, module)?)?;
    module.add_function(wrap_pyfunction!(interleave, module)?)?;
    module.add_class::<groups::Grouping>()?;
    module.add_function(wrap_pyfunction!(groups::grouping, module)?)?;
    module.add_function(wrap_pyfunction!(groups::admit, module)?)?;
    module.add_class::<groups::Placement>()?;
    module.add_function(wrap_pyfunction!(groups::placement, module)?)?;
    module.add_class::<FieldParser>()?;
    module.add_function(wrap_pyfunction!(field_parser, module)?)?;
    module.add_function(wrap_pyfunction!(splice, module)?)?;
    module.add_function(wrap_pyfunction!(grep, module)?)?;
    module.add_function(wrap_pyfunction!(modify, module)?)?;
    module.add_function(wrap_pyfunction!(scan_frames, module)?)
}
