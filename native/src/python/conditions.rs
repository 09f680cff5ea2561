//! Expressions, and what is done with their values.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::changes::{Steps, path};
use super::{Data, run};
use crate::expressions::{self, Surroundings};
use crate::records;

/// An expression, as a condition or for its values.
#[pyclass(frozen, module = "logflow.engine._native")]
pub struct Expression(expressions::Program);

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
pub fn expression(program: &[u8]) -> PyResult<Expression> {
    Ok(Expression(expressions::Program::new([program])?))
}

#[pyclass(frozen, module = "logflow.engine._native")]
pub struct Assignment(records::Assignment);

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
pub fn assignment(fields: Vec<(Steps, Vec<u8>)>, time: Option<Vec<u8>>) -> PyResult<Assignment> {
    let programs = fields.iter().map(|(_, program)| program).chain(&time);
    let program = expressions::Program::new(programs.map(|program| &**program))?;
    let paths = fields.into_iter().map(|(steps, _)| path(steps)).collect();
    Ok(Assignment(records::Assignment::new(paths, program, time.is_some())))
}

#[pyfunction]
pub fn draw<'py>(entries: &Bound<'py, PyAny>, seed: u64, most: u64) -> PyResult<Bound<'py, PyBytes>> {
    let data = Data::of(entries)?;
    let bytes = data.as_bytes();
    let marks = run(data.py(), bytes.len(), || expressions::draw(bytes, seed, most))?;
    Ok(PyBytes::new(data.py(), &marks))
}

#[pyfunction]
pub fn divide<'py>(
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
pub fn interleave<'py>(
    kept: &Bound<'py, PyAny>, rest: &Bound<'py, PyAny>, marks: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let (kept, rest) = (Data::of(kept)?, Data::of(rest)?);
    let (some, others) = (kept.as_bytes(), rest.as_bytes());
    let merged = run(kept.py(), some.len(), || expressions::interleave(some, others, marks))?;
    Ok(PyBytes::new(kept.py(), &merged))
}
