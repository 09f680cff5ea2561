//! The native engine of logflow: the twin of `logflow.engine._python`, which is its specification.

pub mod carry;
pub mod entries;
pub mod error;
pub mod forecast;
pub mod frames;
pub mod json;
pub mod keys;
pub mod lines;
pub mod mp;
pub mod ndjson;
pub mod num;
pub mod out;
pub mod parsers;
pub mod pattern;
pub mod records;
pub mod regexes;
pub mod scan;
pub mod text;
pub mod time;
pub mod timekey;

#[cfg(feature = "python")]
mod python;
