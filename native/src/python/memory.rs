//! What is found out over many events, for Python; see `logflow.engine.api`.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::{Data, run};
use crate::expressions::{Program, Surroundings};
use crate::{miner as mining, repeats as repeating, tally as tallying};

#[pyclass(frozen, module = "logflow.engine._native")]
pub struct Tally(tallying::Tally);

type Series<'py> = (Bound<'py, PyBytes>, u64, f64, f64, Vec<u64>);

#[pymethods]
impl Tally {
    fn apply<'py>(
        &self, entries: &Bound<'py, PyAny>, tag: &str, source: Option<&str>, now_ns: i128,
    ) -> PyResult<Vec<(Vec<Series<'py>>, u64)>> {
        let data = Data::of(entries)?;
        let py = data.py();
        let bytes = data.as_bytes();
        let around = Surroundings { tag, source, now_ns };
        let found = run(py, bytes.len(), || self.0.apply(bytes, around))?;
        let series = |(key, one): (&Vec<u8>, tallying::Series)| {
            (PyBytes::new(py, key), one.events, one.sum, one.last, one.buckets)
        };
        let tallied =
            |one: tallying::Tallied| (one.keys.iter().zip(one.series).map(series).collect(), one.skipped);
        Ok(found.into_iter().map(tallied).collect())
    }
}

/// Numbers of expressions: the condition, the value, the labels; then the bounds, and whether values are signed.
type Measure = (Option<usize>, Option<usize>, Vec<usize>, Vec<f64>, bool);

#[pyfunction]
pub fn tally(programs: Vec<Vec<u8>>, measures: Vec<Measure>) -> PyResult<Tally> {
    let program = Program::new(programs.iter().map(|packed| &**packed))?;
    let measure = |(condition, value, labels, bounds, signed)| tallying::Measure {
        condition,
        value,
        labels,
        bounds,
        signed,
    };
    Ok(Tally(tallying::Tally { program, measures: measures.into_iter().map(measure).collect() }))
}

#[pyclass(frozen, module = "logflow.engine._native")]
pub struct Repeats(repeating::Repeats);

#[pymethods]
impl Repeats {
    fn apply<'py>(
        &self, entries: &Bound<'py, PyAny>, tag: &str, source: Option<&str>, now_ns: i128, at_ns: u64,
    ) -> PyResult<(Bound<'py, PyBytes>, usize)> {
        let data = Data::of(entries)?;
        let py = data.py();
        let bytes = data.as_bytes();
        let around = Surroundings { tag, source, now_ns };
        let (kept, count) = run(py, bytes.len(), || self.0.apply(bytes, around, at_ns))?;
        let kept = kept.map(|kept| PyBytes::new(py, &kept));
        Ok((kept.unwrap_or_else(|| data.into_bytes()), count))
    }

    fn ended<'py>(&self, py: Python<'py>, at_ns: Option<u64>) -> Vec<(String, Bound<'py, PyBytes>, u64)> {
        let ended = py.detach(|| self.0.ended(at_ns));
        ended.into_iter().map(|(tag, entry, repeats)| (tag, PyBytes::new(py, &entry), repeats)).collect()
    }

    fn forgotten(&self) -> u64 {
        self.0.forgotten()
    }
}

#[pyfunction]
pub fn repeats(programs: Vec<Vec<u8>>, within_ns: u64, most: usize, tells: bool) -> PyResult<Repeats> {
    Ok(Repeats(repeating::Repeats::new(&programs, within_ns, most, tells)?))
}

#[pyclass(frozen, module = "logflow.engine._native")]
pub struct Miner(mining::Miner);

type Mined<'py> = (Bound<'py, PyBytes>, Vec<(u64, Bound<'py, PyBytes>)>);

#[pymethods]
impl Miner {
    fn apply<'py>(
        &self, entries: &Bound<'py, PyAny>, tag: &str, source: Option<&str>, now_ns: i128,
    ) -> PyResult<Mined<'py>> {
        let data = Data::of(entries)?;
        let py = data.py();
        let bytes = data.as_bytes();
        let around = Surroundings { tag, source, now_ns };
        let (ids, groups) = run(py, bytes.len(), || self.0.apply(bytes, around))?;
        let groups = groups.iter().map(|(id, text)| (*id, PyBytes::new(py, text))).collect();
        Ok((PyBytes::new(py, &ids), groups))
    }

    fn dump<'py>(&self, py: Python<'py>) -> PyResult<Vec<(u64, Bound<'py, PyList>)>> {
        let kept = py.detach(|| self.0.dump());
        let words = |words: Vec<Vec<u8>>| PyList::new(py, words.iter().map(|word| PyBytes::new(py, word)));
        kept.into_iter().map(|(id, of)| Ok((id, words(of)?))).collect()
    }

    fn load(&self, py: Python<'_>, kept: Vec<mining::Kept>) {
        py.detach(|| self.0.load(kept));
    }

    fn counts(&self) -> (u64, u64) {
        self.0.counts()
    }
}

#[pyfunction]
pub fn miner(program: &[u8], most: usize, similarity: usize) -> PyResult<Miner> {
    Ok(Miner(mining::Miner::new(program, most, similarity)?))
}
