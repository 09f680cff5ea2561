//! JSON objects as lines, however they were written; see `logflow.engine.api.Engine.json_lines`.

use crate::error::Error;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    pub lines: Vec<u8>,
    pub consumed: usize,
    /// Whether an array is open.
    pub array: bool,
}

pub fn json_lines(data: &[u8], array: bool) -> Result<Lines, Error> {
    let mut done = Lines { array, ..Lines::default() };
    let mut at = 0;
    while let Some(&byte) = data.get(at) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => at += 1,
            b',' if done.array => at += 1,
            b'[' if !done.array => (done.array, at) = (true, at + 1),
            b']' if done.array => (done.array, at) = (false, at + 1),
            b'{' => {
                let Some(end) = object_end(data, at) else { break };
                push_line(&mut done.lines, &data[at..end]);
                at = end;
            }
            _ => return Err(Error::Malformed(format!("at byte {at} there is no JSON object"))),
        }
        done.consumed = at;
    }
    Ok(done)
}

/// Position after the object at `start`, by its brackets; `None` if the data ends within it.
fn object_end(data: &[u8], start: usize) -> Option<usize> {
    let (mut at, mut open) = (start, 0_usize);
    loop {
        match *data.get(at)? {
            b'"' => at = string_end(data, at)?,
            b'{' | b'[' => (open, at) = (open + 1, at + 1),
            b'}' | b']' => (open, at) = (open - 1, at + 1),
            _ => at += 1,
        }
        if open == 0 {
            return Some(at);
        }
    }
}

fn string_end(data: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match *data.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Newlines between tokens become blanks. Those in strings, where JSON has none, stay: then it does not parse.
fn push_line(lines: &mut Vec<u8>, object: &[u8]) {
    let mut at = 0;
    while at < object.len() {
        let byte = object[at];
        let end = if byte == b'"' { string_end(object, at).unwrap_or(object.len()) } else { at + 1 };
        if matches!(byte, b'\r' | b'\n') {
            lines.push(b' ')
        } else {
            lines.extend(&object[at..end])
        }
        at = end;
    }
    lines.push(b'\n');
}
