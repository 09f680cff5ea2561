//! The module `logflow.engine._native`: arguments in, tuples out. What the functions mean stands in
//! `logflow.engine.api`; how they are called, in `logflow.engine._adapter`.

mod changes;
mod conditions;
mod groups;
mod memory;
mod parsing;
mod redact;
mod stores;

use std::ops::Range;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyMemoryView, PyTuple};

use crate::entries;
use crate::error::Error;
use crate::frames::{self, Mode};
use crate::ndjson;
use crate::normal;
use crate::values;

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

type Normalized<'py> = (
    Bound<'py, PyBytes>,
    usize,
    usize,
    Bound<'py, PyDict>,
    Bound<'py, PyDict>,
    Bound<'py, PyBytes>,
    Bound<'py, PyTuple>,
);

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
        PyTuple::new(py, done.refused.iter().map(|(why, at)| (normal::SKIPPED[*why], at.start, at.end)))?,
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
    data: &Bound<'py, PyAny>, max_size: usize, most: usize,
) -> PyResult<(Bound<'py, PyList>, usize, usize)> {
    let data = Data::of(data)?;
    let py = data.py();
    let bytes = data.as_bytes();
    let scanned = run(py, bytes.len(), || frames::scan(bytes, max_size, most))?;
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

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<parsing::LineParser>()?;
    module.add_function(wrap_pyfunction!(parsing::line_parser, module)?)?;
    module.add_function(wrap_pyfunction!(normalize, module)?)?;
    module.add_function(wrap_pyfunction!(json_lines, module)?)?;
    module.add_function(wrap_pyfunction!(count, module)?)?;
    module.add_function(wrap_pyfunction!(offsets, module)?)?;
    module.add_function(wrap_pyfunction!(time_range, module)?)?;
    module.add_function(wrap_pyfunction!(to_ndjson, module)?)?;
    module.add_function(wrap_pyfunction!(stores::to_wrapped, module)?)?;
    module.add_function(wrap_pyfunction!(stores::to_loki, module)?)?;
    module.add_function(wrap_pyfunction!(stores::to_otlp, module)?)?;
    module.add_function(wrap_pyfunction!(stores::snappy, module)?)?;
    module.add_class::<changes::Regex>()?;
    module.add_function(wrap_pyfunction!(changes::regex, module)?)?;
    module.add_class::<changes::Grep>()?;
    module.add_class::<changes::Modify>()?;
    module.add_class::<conditions::Expression>()?;
    module.add_function(wrap_pyfunction!(conditions::expression, module)?)?;
    module.add_class::<conditions::Assignment>()?;
    module.add_function(wrap_pyfunction!(conditions::assignment, module)?)?;
    module.add_function(wrap_pyfunction!(conditions::divide, module)?)?;
    module.add_function(wrap_pyfunction!(conditions::interleave, module)?)?;
    module.add_class::<groups::Grouping>()?;
    module.add_function(wrap_pyfunction!(groups::grouping, module)?)?;
    module.add_function(wrap_pyfunction!(groups::admit, module)?)?;
    module.add_class::<memory::Tally>()?;
    module.add_function(wrap_pyfunction!(memory::tally, module)?)?;
    module.add_class::<memory::Repeats>()?;
    module.add_function(wrap_pyfunction!(memory::repeats, module)?)?;
    module.add_class::<memory::Miner>()?;
    module.add_function(wrap_pyfunction!(memory::miner, module)?)?;
    module.add_class::<groups::Placement>()?;
    module.add_function(wrap_pyfunction!(groups::placement, module)?)?;
    module.add_class::<redact::Redaction>()?;
    module.add_function(wrap_pyfunction!(redact::redaction, module)?)?;
    module.add_class::<redact::Limits>()?;
    module.add_function(wrap_pyfunction!(redact::limits, module)?)?;
    module.add_function(wrap_pyfunction!(conditions::draw, module)?)?;
    module.add_class::<changes::FieldParser>()?;
    module.add_function(wrap_pyfunction!(changes::field_parser, module)?)?;
    module.add_function(wrap_pyfunction!(changes::splice, module)?)?;
    module.add_function(wrap_pyfunction!(changes::grep, module)?)?;
    module.add_function(wrap_pyfunction!(changes::modify, module)?)?;
    module.add_function(wrap_pyfunction!(scan_frames, module)?)
}
