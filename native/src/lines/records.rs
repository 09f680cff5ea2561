//! Entries made of messages.

use std::borrow::Cow;

use super::{ATTRS, Extra, Run, STREAM, TRUNCATED};
use crate::keys::Object;
use crate::num::Fail;
use crate::out::ENTRY_HEAD;
use crate::text::{self, SENTINEL, Text};

impl Run<'_> {
    /// Make an entry of a finished message.
    #[inline]
    pub(super) fn finished(&mut self, time_ns: i128, text: Text<'_>, extra: Extra<'_>, cut: bool) {
        if cut || text.end - text.start > self.parser.max_line {
            return self.cut_message(time_ns, text, extra);
        }
        self.entry(time_ns, text, extra, false);
    }

    #[cold]
    pub(super) fn cut_message(&mut self, time_ns: i128, text: Text<'_>, extra: Extra<'_>) {
        let (kept, _) = self.limit(text.bytes(), true);
        let mut src = kept.to_vec();
        let end = src.len();
        src.extend_from_slice(&SENTINEL);
        self.entry(time_ns, Text { src: &src, start: 0, end, utf8: false }, extra, true);
    }

    /// Cut a message at `max_line`; says whether it was cut, now or before.
    pub(super) fn limit<'b>(&self, text: &'b [u8], cut: bool) -> (&'b [u8], bool) {
        if !cut && text.len() <= self.parser.max_line {
            return (text, false);
        }
        (whole_characters(&text[..text.len().min(self.parser.max_line)]), true)
    }

    #[inline]
    pub(super) fn entry(&mut self, time_ns: i128, text: Text<'_>, extra: Extra<'_>, cut: bool) {
        let at = self.out.len();
        self.out.entry_head(time_ns);
        match self.parser.parser.parse(&mut self.work, text, &mut self.out) {
            Ok((object, found_ns)) => self.close(at, object, found_ns, extra, cut),
            Err(Fail) => {
                self.out.truncate(at + ENTRY_HEAD);
                let object = self.keep_whole(text.bytes(), text.utf8);
                self.close(at, object, None, extra, cut);
                self.done.unparsed += 1;
            }
        }
    }

    /// Write a record that holds nothing but the message.
    pub(super) fn keep_whole(&mut self, text: &[u8], utf8: bool) -> Object {
        let key = &self.parser.message_key;
        let mut object = Object::open(&mut self.out);
        self.out.str(key);
        self.out.str(&if utf8 { Cow::Borrowed(text) } else { text::to_text(text) });
        object.count = 1;
        object.seen = self.parser.watched.find(key);
        object
    }

    /// Finish the entry at `at`: add fields that the record has not, put in its time.
    #[inline]
    pub(super) fn close(
        &mut self, at: usize, mut object: Object, found_ns: Option<u64>, extra: Extra<'_>, cut: bool,
    ) {
        let out = &mut self.out;
        if let Some(attrs) = extra.attrs.filter(|_| object.seen & ATTRS == 0) {
            out.str(b"attrs");
            out.extend(attrs);
            object.count += 1;
        }
        if let Some(stream) = extra.stream.filter(|_| object.seen & STREAM == 0) {
            out.put(*b"\xa6stream");
            out.str(stream);
            object.count += 1;
        }
        if cut {
            self.done.truncated += 1;
            if object.seen & TRUNCATED == 0 {
                out.put(*b"\xa9truncated\xc3");
                object.count += 1;
            }
        }
        if let (Some(offset), Some(at)) = (&self.parser.offset, self.at)
            && object.seen & offset.seen == 0
            && !extra.has(&offset.key)
            && !(cut && offset.key == b"truncated")
        {
            out.str(&offset.key);
            out.uint(at);
            object.count += 1;
        }
        object.close(out);
        if let Some(time_ns) = found_ns {
            out.set_entry_time(at, time_ns);
        }
        self.done.events += 1;
    }
}

/// Drop a UTF-8 character at the end that was cut in its middle.
///
/// What stands before may be such a beginning too, where a text is not UTF-8: cutting twice is the same as once.
fn whole_characters(mut text: &[u8]) -> &[u8] {
    while let Some(end) = cut_character(text) {
        text = &text[..end];
    }
    text
}

/// Where the character begins that a text ends in the middle of, if it does.
fn cut_character(text: &[u8]) -> Option<usize> {
    for back in 1..=text.len().min(3) {
        let byte = text[text.len() - back];
        if byte >= 0xc0 {
            let length = if byte < 0xe0 {
                2
            } else if byte < 0xf0 {
                3
            } else {
                4
            };
            return (back < length).then_some(text.len() - back);
        }
        if byte < 0x80 {
            break;
        }
    }
    None
}
