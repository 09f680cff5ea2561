//! Delimited values; see `logflow.parsers.csv`.

use memchr::memchr;

use super::Fields;
use crate::num::Fail;

pub struct Csv {
    pub columns: Vec<Vec<u8>>,
    pub delimiter: u8,
    pub quote: u8,
}

impl Csv {
    pub fn parse(&self, text: &[u8], fields: &mut Fields<'_>) -> Result<(), Fail> {
        let mut columns = self.columns.iter();
        let mut at = 0;
        loop {
            let column = columns.next().ok_or(Fail)?;
            let end = if text.get(at) == Some(&self.quote) {
                self.quoted(text, at + 1, column, fields)?
            } else {
                let end = memchr(self.delimiter, &text[at..]).map_or(text.len(), |n| at + n);
                fields.text(column, &text[at..end]);
                end
            };
            match text.get(end) {
                None => break,
                Some(&b) if b == self.delimiter => at = end + 1,
                Some(_) => return Err(Fail),
            }
        }
        if columns.next().is_none() { Ok(()) } else { Err(Fail) }
    }

    /// Write the quoted value that begins at `start`; returns the position after its closing quote.
    fn quoted(
        &self, text: &[u8], start: usize, column: &[u8], fields: &mut Fields<'_>,
    ) -> Result<usize, Fail> {
        let mut value = Vec::new();
        let mut from = start;
        loop {
            let quote = from + memchr(self.quote, &text[from..]).ok_or(Fail)?;
            value.extend_from_slice(&text[from..quote]);
            if text.get(quote + 1) != Some(&self.quote) {
                fields.text(column, &value);
                return Ok(quote + 1);
            }
            value.push(self.quote);
            from = quote + 2;
        }
    }
}
