//! What can go wrong, as `logflow.errors` has it.

use crate::mp::{Fault, MAX_DEPTH};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    Malformed(String),
    Limit(String),
    Unsupported(String),
    /// The configuration asks for what does not exist.
    Invalid(String),
}

impl Error {
    pub fn malformed(text: &str) -> Self {
        Self::Malformed(text.to_owned())
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Short(_) => Self::malformed("the packed data ends in the middle of a value"),
            Fault::Malformed => Self::malformed("byte c1 is not msgpack"),
            Fault::Deep => Self::Limit(format!("msgpack nests deeper than {MAX_DEPTH} levels")),
        }
    }
}
