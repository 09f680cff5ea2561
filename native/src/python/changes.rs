//! Changes of records and questions about them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use super::parsing::message_parser;
use super::{Data, dict_of, run};
use crate::records::{self, Change, Glob, GlobStep, Globs, Like, Name, NewValue, Path, Step, Target};
use crate::regexes;

/// Pack the value of a field by the rules that hold for records.
fn pack_value(value: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    value.py().import("logflow.packing")?.getattr("pack_value")?.call1((value, 2))?.extract()
}

#[pyfunction]
pub fn splice<'py>(entries: &Bound<'py, PyAny>, fields: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
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
pub struct Regex(regexes::Regex);

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
pub fn regex(pattern: &str) -> PyResult<Regex> {
    Ok(Regex(regexes::Regex::new(pattern)?))
}

#[pyclass(frozen, module = "logflow.engine._native")]
pub struct Grep(records::Grep);

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
pub enum PathStep {
    Index(i64),
    Key(String),
}

/// A path: its exact key and its steps.
pub type Steps = (Option<String>, Vec<PathStep>);

pub fn path((exact, steps): Steps) -> Path {
    let step = |step| match step {
        PathStep::Index(index) => Step::Index(index),
        PathStep::Key(key) => Step::Key(Target::new(&key)),
    };
    Path::new(exact.as_deref(), steps.into_iter().map(step).collect())
}

#[pyfunction]
#[pyo3(signature = (keep, exclude, mode="and"))]
pub fn grep(keep: Vec<(Steps, String)>, exclude: Vec<(Steps, String)>, mode: &str) -> PyResult<Grep> {
    let rules = |rules: Vec<(Steps, String)>| -> PyResult<Vec<records::Rule>> {
        let rule = |(steps, pattern): (Steps, String)| {
            Ok(records::Rule::new(path(steps), regexes::Regex::new(&pattern)?))
        };
        rules.into_iter().map(rule).collect()
    };
    Ok(Grep(records::Grep { keep: rules(keep)?, exclude: rules(exclude)?, all: mode == "and" }))
}

#[pyclass(frozen, module = "logflow.engine._native")]
pub struct FieldParser(records::FieldParser);

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
pub fn field_parser(
    parser: &Bound<'_, PyDict>, field: Steps, into: Option<Steps>, keep_original: bool, drop_unparsed: bool,
) -> PyResult<FieldParser> {
    let present = AtomicU64::new(0);
    let (parser, field, into) = (message_parser(parser)?, path(field), into.map(path));
    Ok(FieldParser(records::FieldParser { parser, field, into, keep_original, drop_unparsed, present }))
}

#[pyclass(frozen, module = "logflow.engine._native")]
pub struct Modify(records::Modify);

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
pub fn modify(
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
            "prune" => Change::Prune(globs(&argument)?),
            "only" => Change::Only(globs(&argument)?),
            "nest" => Change::Nest(key, likes(argument.extract()?)),
            "flatten" => {
                let (names, separator): (Vec<Vec<String>>, String) = argument.extract()?;
                Change::Flatten(likes(names), separator)
            }
            _ => {
                let what = "is not a change; write set, default, remove, rename or copy";
                return Err(PyValueError::new_err(format!("{action:?} {what}")));
            }
        })
    };
    Ok(Modify(records::Modify::new(changes.into_iter().map(change).collect::<PyResult<_>>()?)))
}

fn likes(names: Vec<Vec<String>>) -> Vec<Like> {
    names.into_iter().map(Like).collect()
}

/// A step of a glob, as `logflow.paths` describes it: an index, or pieces of a key; without pieces it is any
/// number of steps. Nothing in its place is any item.
#[derive(FromPyObject)]
enum PyGlobStep {
    Index(i64),
    Key(Vec<String>),
}

type PyGlob = (Option<Vec<String>>, Vec<Option<PyGlobStep>>);

/// Globs, each as its whole text in pieces, if it may be one key, and its steps.
pub fn globs(described: &Bound<'_, PyAny>) -> PyResult<Globs> {
    let described: Vec<PyGlob> = described.extract()?;
    let step = |step| match step {
        Some(PyGlobStep::Index(index)) => GlobStep::Index(index),
        Some(PyGlobStep::Key(pieces)) if pieces.is_empty() => GlobStep::Deep,
        Some(PyGlobStep::Key(pieces)) => GlobStep::Key(Like(pieces)),
        None => GlobStep::AnyItem,
    };
    let glob = |(whole, steps): PyGlob| Glob {
        whole: whole.map(Like),
        steps: steps.into_iter().map(step).collect(),
    };
    Ok(Globs::new(described.into_iter().map(glob).collect()))
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
