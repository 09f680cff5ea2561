//! `host:10.0.0.1<TAB>status:200`; see `logflow.parsers.ltsv`.

use super::Fields;
use crate::num::Fail;

pub fn parse(text: &[u8], fields: &mut Fields<'_>) -> Result<(), Fail> {
    for field in text.split(|&b| b == b'\t') {
        match field.iter().position(|&b| b == b':') {
            Some(colon) if colon > 0 => fields.text(&field[..colon], &field[colon + 1..]),
            _ if field.is_empty() => {}
            _ => return Err(Fail),
        }
    }
    if fields.count() > 0 { Ok(()) } else { Err(Fail) }
}
