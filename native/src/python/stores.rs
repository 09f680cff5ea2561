//! What outputs to stores need: events in the forms of their bulk interfaces.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use super::{Data, run};
use crate::loki;
use crate::otlp::{self, Places};
use crate::snappy::compress;
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

fn list<'py>(data: &Data<'py>, parts: Vec<Vec<u8>>) -> PyResult<Bound<'py, PyList>> {
    PyList::new(data.py(), parts.iter().map(|part| PyBytes::new(data.py(), part)))
}

#[pyfunction]
pub fn to_loki<'py>(
    entries: &Bound<'py, PyAny>, streams: usize, which: Option<Vec<usize>>, line_key: Option<&str>,
    extra: Option<Vec<Vec<u8>>>,
) -> PyResult<Bound<'py, PyList>> {
    let data = Data::of(entries)?;
    let bytes = data.as_bytes();
    let form = loki::Form { streams, which, line_key, extra };
    let parts = run(data.py(), bytes.len(), || loki::to_loki(bytes, &form))?;
    list(&data, parts)
}

/// `keys` are those of body, severity, trace id and span id; `places` the first one, or all.
#[pyfunction]
pub fn to_otlp<'py>(
    entries: &Bound<'py, PyAny>, groups: usize, which: Option<Vec<usize>>,
    keys: (Option<&str>, Option<&str>, Option<&str>, Option<&str>), uid: &[u8], places: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyList>> {
    let data = Data::of(entries)?;
    let bytes = data.as_bytes();
    let places = match places.extract() {
        Ok(first) => Places::Count(first),
        Err(_) => Places::Listed(places.extract()?),
    };
    let (body, severity, trace_id, span_id) = keys;
    let form = otlp::Form { groups, which, body, severity, trace_id, span_id, uid, places };
    let parts = run(data.py(), bytes.len(), || otlp::to_otlp(bytes, &form))?;
    list(&data, parts)
}

#[pyfunction]
pub fn snappy<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let data = Data::of(data)?;
    let bytes = data.as_bytes();
    let block = run(data.py(), bytes.len(), || compress(bytes));
    Ok(PyBytes::new(data.py(), &block))
}
