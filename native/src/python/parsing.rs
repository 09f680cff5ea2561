//! Parsers of lines, as Python describes them.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::{Data, run};
use crate::error::Error;
use crate::lines::{self, LineFormat};
use crate::multiline::{Multiline, Rule};
use crate::parsers::{Csv, Grammar, Kind, MessageParser, RegexParser, Types};
use crate::pattern::Pattern;
use crate::regexes;
use crate::timekey::{TimeKey, TimeReader};

#[pyclass(frozen, module = "logflow.engine._native")]
pub struct LineParser(lines::LineParser);

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
        &self, block: &Bound<'py, PyAny>, carry: &Bound<'py, PyAny>, now_ns: i128, offset: u64,
    ) -> PyResult<Parsed<'py>> {
        let (block, carry) = (Data::of(block)?, Data::of(carry)?);
        let (data, joins) = (block.as_bytes(), carry.as_bytes());
        let done = run(block.py(), data.len(), || self.0.parse(data, joins, now_ns, offset))?;
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
#[pyo3(signature = (format, parser, *, max_line, stream=None, message_key="message", multiline=None,
    offset_key=None))]
pub fn line_parser(
    format: &str, parser: &Bound<'_, PyDict>, max_line: usize, stream: Option<String>, message_key: &str,
    multiline: Option<&Bound<'_, PyDict>>, offset_key: Option<String>,
) -> PyResult<LineParser> {
    let format = match format {
        "cri" => LineFormat::Cri,
        "docker" => LineFormat::Docker,
        "plain" => LineFormat::Plain,
        _ => return Err(PyValueError::new_err(format!("{format:?} is not a format of lines"))),
    };
    let parser = message_parser(parser)?;
    let stream = stream.map(String::into_bytes);
    let mut lines = lines::LineParser::new(format, parser, max_line, stream, message_key.as_bytes().to_vec());
    if let Some(key) = offset_key {
        lines = lines.with_offset(key.into_bytes());
    }
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

pub fn message_parser(config: &Bound<'_, PyDict>) -> PyResult<MessageParser> {
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
