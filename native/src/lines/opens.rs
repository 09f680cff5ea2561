//! Messages joined to events.

use super::{Extra, LineFormat, Run};
use crate::multiline::{Held, Multiline, OPEN_MARK, Open, Step};
use crate::text::{self, SENTINEL, Text};

impl Run<'_> {
    #[inline]
    pub(super) fn line(
        &mut self, multiline: &Multiline, time_ns: i128, text: Text<'_>, extra: Extra<'_>, cut: bool,
    ) {
        if self.state.opens.is_empty() && self.is_plain(multiline, text) {
            return self.finished(time_ns, text, extra, cut);
        }
        let (bytes, cut) = self.limit(text.bytes(), cut);
        if self.state.opens.is_empty() && !cut {
            let valid = text.utf8();
            match multiline.begin(&valid) {
                Step::Alone => self.finished(time_ns, text, extra, cut),
                Step::Begins(state) => self.open(state, time_ns, bytes, extra, cut),
            }
            return;
        }
        self.line_among_open(multiline, time_ns, bytes, extra, cut);
    }

    /// Whether a text, by what it does not hold, begins no event. A block is searched once, not line by line.
    #[inline]
    pub(super) fn is_plain(&mut self, multiline: &Multiline, text: Text<'_>) -> bool {
        if multiline.spares_json && text.src.get(text.start) == Some(&b'{') && text.start < text.end {
            return true;
        }
        let Some(hints) = &multiline.hints else { return false };
        if self.parser.format == LineFormat::Docker || text.src.len() == text.end + SENTINEL.len() {
            return !hints.is_match(text.bytes());
        }
        let block = text.src.as_ptr();
        let hint = match self.hint {
            Some((known, hint)) if known == block && hint >= text.start => hint,
            _ => hints.find(text.src, text.start).unwrap_or(usize::MAX),
        };
        self.hint = Some((block, hint));
        hint >= text.end
    }

    #[cold]
    pub(super) fn line_among_open(
        &mut self, multiline: &Multiline, time_ns: i128, bytes: &[u8], extra: Extra<'_>, cut: bool,
    ) {
        let at = self.at;
        self.state.opens.sort_by(|a, b| a.key.cmp(&b.key));
        let mut i = 0;
        while i < self.state.opens.len() {
            if multiline.is_late(&self.state.opens[i], time_ns) {
                let open = self.state.opens.remove(i);
                self.close_open(open);
            } else {
                i += 1;
            }
        }
        let valid = text::to_text(bytes);
        let stream = extra.stream.unwrap_or_default();
        let mine = |open: &Open| open.key.split_last() == Some((&OPEN_MARK, stream));
        let mut line = Held { time_ns, text: bytes.to_vec(), cut, at };
        if let Some(i) = self.state.opens.iter().position(mine) {
            let mut open = self.state.opens.remove(i);
            match multiline.go_on(&mut open, &valid, line) {
                Ok((finished, goes_on)) => {
                    if let Some(message) = finished {
                        self.emit_message(message, &open);
                    }
                    if goes_on {
                        self.state.opens.push(open);
                    } else {
                        self.close_open(open);
                    }
                    return;
                }
                Err(back) => line = back,
            }
            self.close_open(open);
        }
        self.at = at;
        match multiline.begin(&valid) {
            Step::Begins(state) => self.open(state, time_ns, &line.text, extra, cut),
            Step::Alone => {
                let mut src = line.text;
                let end = src.len();
                src.extend_from_slice(&SENTINEL);
                self.finished(time_ns, Text { src: &src, start: 0, end, utf8: false }, extra, cut);
            }
        }
    }

    #[cold]
    pub(super) fn open(&mut self, state: i64, time_ns: i128, bytes: &[u8], extra: Extra<'_>, cut: bool) {
        let mut key = extra.stream.unwrap_or_default().to_vec();
        key.push(OPEN_MARK);
        let (text, attrs) = (bytes.to_vec(), extra.attrs.unwrap_or_default().to_vec());
        let (last_ns, lines, held, at) = (time_ns, 1, Vec::new(), self.at);
        self.state.opens.push(Open { key, time_ns, last_ns, text, cut, state, lines, attrs, held, at });
    }

    /// Finish an event; what is held stands for itself.
    pub(super) fn close_open(&mut self, mut open: Open) {
        let held = std::mem::take(&mut open.held);
        let text = std::mem::take(&mut open.text);
        self.emit_message(Held { time_ns: open.time_ns, text, cut: open.cut, at: open.at }, &open);
        for line in held {
            self.emit_message(line, &open);
        }
    }

    pub(super) fn close_all(&mut self) {
        let mut opens = std::mem::take(&mut self.state.opens);
        opens.sort_by(|a, b| a.key.cmp(&b.key));
        for open in opens {
            self.close_open(open);
        }
    }

    pub(super) fn emit_message(&mut self, message: Held, open: &Open) {
        self.at = message.at;
        let mut src = message.text;
        let end = src.len();
        src.extend_from_slice(&SENTINEL);
        let stream = &open.key[..open.key.len() - 1];
        let extra = Extra {
            stream: (!stream.is_empty()).then_some(stream),
            attrs: (!open.attrs.is_empty()).then_some(&open.attrs[..]),
        };
        self.finished(message.time_ns, Text { src: &src, start: 0, end, utf8: false }, extra, message.cut);
    }
}
