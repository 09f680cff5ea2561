//! What is hidden or cut in records, for Python; see `logflow.engine.api`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::changes::globs;
use super::{Data, run};
use crate::limit;
use crate::out::Out;
use crate::records::Name;
use crate::redact::{self, Action, Detector, Own};
use crate::regexes;

#[pyclass(frozen, module = "logflow.engine._native")]
pub struct Redaction(redact::Redaction);

#[pymethods]
impl Redaction {
    fn apply<'py>(
        &self, entries: &Bound<'py, PyAny>, key: &[u8],
    ) -> PyResult<(Bound<'py, PyBytes>, Vec<u64>)> {
        let data = Data::of(entries)?;
        let bytes = data.as_bytes();
        let (changed, counts) = run(data.py(), bytes.len(), || self.0.apply(bytes, key))?;
        let changed = changed.map(|changed| PyBytes::new(data.py(), &changed));
        Ok((changed.unwrap_or_else(|| data.into_bytes()), counts))
    }
}

/// `own` are names, patterns, and whether long texts are searched piece by piece.
#[pyfunction]
pub fn redaction(
    detectors: Vec<String>, own: Vec<(String, String, bool)>, fields: Option<Bound<'_, PyAny>>, action: &str,
    keys: bool,
) -> PyResult<Redaction> {
    let named = |name: &String| {
        Detector::named(name).ok_or_else(|| PyValueError::new_err(format!("there is no detector {name:?}")))
    };
    let found = detectors.iter().map(named).collect::<PyResult<_>>()?;
    let names = detectors.into_iter().chain(own.iter().map(|(name, _, _)| name.clone())).collect();
    let compiled = |(_, pattern, in_pieces): (String, String, bool)| {
        Ok::<_, PyErr>(Own { pattern: regexes::Regex::new(&pattern)?, in_pieces })
    };
    let action = match action {
        "mask" => Action::Mask,
        "hash" => Action::Hash,
        "remove" => Action::Remove,
        _ => return Err(PyValueError::new_err(format!("{action:?} is not an action of redact"))),
    };
    Ok(Redaction(redact::Redaction {
        detectors: found,
        own: own.into_iter().map(compiled).collect::<PyResult<_>>()?,
        names,
        fields: fields.map(|fields| globs(&fields)).transpose()?,
        action,
        keys,
    }))
}

#[pyclass(frozen, module = "logflow.engine._native")]
pub struct Limits(limit::Limits);

#[pymethods]
impl Limits {
    fn apply<'py>(&self, entries: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyBytes>, u64, u64, u64)> {
        let data = Data::of(entries)?;
        let bytes = data.as_bytes();
        let (changed, [texts, containers, fields]) = run(data.py(), bytes.len(), || self.0.apply(bytes))?;
        let changed = changed.map(|changed| PyBytes::new(data.py(), &changed));
        Ok((changed.unwrap_or_else(|| data.into_bytes()), texts, containers, fields))
    }
}

#[pyfunction]
pub fn limits(bytes: usize, depth: usize, fields: usize, mark: &str) -> Limits {
    let mut packed = Out::default();
    packed.str(mark.as_bytes());
    packed.bool(true);
    Limits(limit::Limits { bytes, depth, fields, mark: (Name::new(mark), packed.into_vec()) })
}
