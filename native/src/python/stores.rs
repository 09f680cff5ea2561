//! What outputs to stores need: events in the forms of their bulk interfaces.

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use super::{Data, run};
use crate::wrapped::{self, Insert, Wrapping};

/// `insert` is nil, "seconds", the number of the first event, or the numbers of all.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "those of the interface")]
pub fn to_wrapped<'py>(
    entries: &Bound<'py, PyAny>, tag: &str, time_key: Option<&str>, tag_key: Option<&str>,
    before: Vec<Vec<u8>>, which: Option<Vec<usize>>, insert: &Bound<'py, PyAny>, between: &[u8],
    after: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let data = Data::of(entries)?;
    let bytes = data.as_bytes();
    let insert = if insert.is_none() {
        Insert::Nothing
    } else if insert.extract::<&str>().is_ok() {
        Insert::Seconds
    } else if let Ok(first) = insert.extract() {
        Insert::Count(first)
    } else {
        Insert::Listed(insert.extract()?)
    };
    let wrapping = Wrapping { before: &before, which, insert, between, after };
    let text = run(data.py(), bytes.len(), || wrapped::to_wrapped(bytes, tag, time_key, tag_key, &wrapping))?;
    Ok(PyBytes::new(data.py(), &text))
}
