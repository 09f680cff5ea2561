//! The native engine of logflow: the twin of `logflow.engine._python`, which is its specification.
//!
//! ```text
//! lines     block --container format, joins (carry)--> messages --multiline, parsers--> entries
//! parsers   json with keys foretold (forecast), text formats, regexes; times (timekey, pattern, time)
//! entries   canonical entries: count, check, normalize          frames   Forward frames
//! ndjson    entries to JSON Lines                               records  changes of packed records
//! wrapped   the same in the wrappings of bulk interfaces
//! loki, otlp  entries in protocol buffers (protobuf)             snappy   blocks of it
//! expressions  conditions and computed values                groups   events in groups
//! tally, repeats, miner   what is found out over many events
//! redact    what is personal or secret                       limit    what is too long or too deep
//! python    the module that Python sees
//! out, mp   writing and reading msgpack                         scan, num, text, keys   smaller parts
//! ```
//!
//! Input is hostile. All of it is read through checked slices; `scan` has the one unsafe block, with its proof.

pub mod carry;
pub mod digest;
pub mod entries;
pub mod error;
pub mod expressions;
pub mod forecast;
pub mod frames;
pub mod groups;
pub mod json;
pub mod keys;
pub mod limit;
pub mod lines;
pub mod loki;
pub mod miner;
pub mod mp;
pub mod multiline;
pub mod ndjson;
pub mod normal;
pub mod num;
pub mod otlp;
pub mod out;
pub mod parsers;
pub mod pattern;
pub mod protobuf;
pub mod records;
pub mod redact;
pub mod regexes;
pub mod repeats;
pub mod scan;
pub mod snappy;
pub mod tally;
pub mod text;
pub mod time;
pub mod timekey;
pub mod values;
pub mod wrapped;

#[cfg(feature = "python")]
mod python;
