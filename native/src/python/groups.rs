//! Events in groups, for Python; see `logflow.engine.api`.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::changes::{Steps, path};
use super::{Data, run};
use crate::expressions::Surroundings;
use crate::groups;

#[pyclass(frozen, module = "logflow.engine._native")]
pub struct Grouping(groups::Grouping);

type Groups<'py> = (Bound<'py, PyList>, Vec<usize>, Vec<usize>, Bound<'py, PyBytes>);

#[pymethods]
impl Grouping {
    fn apply<'py>(
        &self, entries: &Bound<'py, PyAny>, tag: &str, source: Option<&str>, now_ns: i128,
    ) -> PyResult<Groups<'py>> {
        let data = Data::of(entries)?;
        let py = data.py();
        let bytes = data.as_bytes();
        let around = Surroundings { tag, source, now_ns };
        let found = run(py, bytes.len(), || self.0.apply(bytes, around))?;
        let keys = PyList::new(py, found.keys.iter().map(|key| PyBytes::new(py, key)))?;
        Ok((keys, found.counts, found.sizes, PyBytes::new(py, &found.ids)))
    }
}

#[pyfunction]
pub fn grouping(programs: Vec<Vec<u8>>) -> PyResult<Grouping> {
    Ok(Grouping(groups::Grouping::new(&programs)?))
}

type Admitted<'py> = (Bound<'py, PyBytes>, usize, Vec<i64>, Vec<usize>);

#[pyfunction]
pub fn admit<'py>(
    entries: &Bound<'py, PyAny>, ids: &[u8], allowed: Vec<i64>, by_bytes: bool,
) -> PyResult<Admitted<'py>> {
    let data = Data::of(entries)?;
    let py = data.py();
    let bytes = data.as_bytes();
    let done = run(py, bytes.len(), || groups::admit(bytes, ids, &allowed, by_bytes))?;
    let kept = done.entries.map(|kept| PyBytes::new(py, &kept));
    Ok((kept.unwrap_or_else(|| data.into_bytes()), done.count, done.taken, done.refused))
}

#[pyclass(frozen, module = "logflow.engine._native")]
pub struct Placement(groups::Placement);

#[pymethods]
impl Placement {
    fn apply<'py>(
        &self, entries: &Bound<'py, PyAny>, ids: &[u8], values: Vec<Vec<Vec<u8>>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let data = Data::of(entries)?;
        let bytes = data.as_bytes();
        let placed = run(data.py(), bytes.len(), || self.0.apply(bytes, ids, &values))?;
        Ok(PyBytes::new(data.py(), &placed))
    }
}

#[pyfunction]
pub fn placement(paths: Vec<Steps>) -> Placement {
    Placement(groups::Placement { paths: paths.into_iter().map(path).collect() })
}
