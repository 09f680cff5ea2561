//! A line that a regular expression with named groups matches; see `logflow.parsers.regex`.

use super::fields::{Kind, Types, write_as};
use crate::error::Error;
use crate::keys::{Object, Watched};
use crate::num::Fail;
use crate::out::Out;
use crate::regexes::{Regex, Scratch};

/// A group that becomes a field.
struct Field {
    group: usize,
    key: Vec<u8>,
    kind: Kind,
}

pub struct RegexParser {
    regex: Regex,
    fields: Vec<Field>,
    /// Longer lines do not match.
    max_length: usize,
}

impl RegexParser {
    pub fn new(pattern: &str, max_length: usize, types: &Types) -> Result<Self, Error> {
        let regex = Regex::new(pattern)?;
        let field = |(group, name): &(usize, String)| {
            let key = name.as_bytes().to_vec();
            Field { group: *group, kind: types.find(&key), key }
        };
        let fields = regex.names.iter().map(field).collect();
        Ok(Self { regex, fields, max_length })
    }

    pub fn scratch(&self) -> Scratch {
        self.regex.scratch()
    }

    /// Whether a line of so many bytes is looked at.
    pub fn allows(&self, length: usize) -> bool {
        length <= self.max_length
    }

    /// Parse a line, which is UTF-8.
    pub fn parse(
        &self, scratch: &mut Scratch, line: &[u8], watched: &Watched, out: &mut Out,
    ) -> Result<Object, Fail> {
        if !self.regex.search(scratch, line) {
            return Err(Fail);
        }
        let mut object = Object::open(out);
        for field in &self.fields {
            if let Some((start, end)) = scratch.group(field.group) {
                out.str(&field.key);
                match field.kind {
                    Kind::Str => out.short_str(line, start, end),
                    kind => write_as(kind, &line[start..end], out),
                }
                object.count += 1;
                object.seen |= watched.find(&field.key);
            }
        }
        Ok(object)
    }
}
