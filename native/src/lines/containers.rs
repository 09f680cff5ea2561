//! Lines of container formats taken apart.

use memchr::memchr;

use crate::keys::Object;
use crate::mp::{self, MAX_DEPTH};
use crate::out::Out;
use crate::text::Text;
use crate::time::Rfc3339;

/// A line out of its container format.
pub struct Piece<'a> {
    pub time_ns: u64,
    pub stream: &'a [u8],
    pub partial: bool,
    pub text: Text<'a>,
    /// Packed value of the field `attrs`.
    pub attrs: Option<&'a [u8]>,
}

/// Call `line(start, end)` for each line of a block that ends with a newline.
#[inline(always)]
pub fn each_line(block: &[u8], mut line: impl FnMut(usize, usize)) {
    let mut start = 0;
    while let Some(n) = memchr(b'\n', &block[start..]) {
        line(start, start + n);
        start += n + 1;
    }
}

#[inline(always)]
pub fn without_return(block: &[u8], start: usize, end: usize) -> usize {
    end - usize::from(end > start && block[end - 1] == b'\r')
}

/// Take a line of a container runtime apart.
#[inline(always)]
pub fn split_cri<'a>(
    rfc3339: &mut Rfc3339, block: &'a [u8], start: usize, end: usize, utf8: bool,
) -> Option<Piece<'a>> {
    let line = &block[start..end];
    let (time_ns, n) = rfc3339.read(line)?;
    // A blank, "stdout" or "stderr", a blank, and P or F are nine bytes.
    let part: &[u8; 9] = line.get(n..)?.first_chunk()?;
    let stream = &line[n + 1..n + 7];
    if part[0] != b' ' || part[7] != b' ' || !(stream == b"stdout" || stream == b"stderr") {
        return None;
    }
    let partial = match part[8] {
        b'P' => true,
        b'F' => false,
        _ => return None,
    };
    let mut at = n + 9;
    if line.get(at) == Some(&b':') {
        at += memchr(b' ', &line[at..]).unwrap_or(line.len() - at);
    }
    // Without a blank there is no content.
    let from = match line.get(at) {
        None => end,
        Some(b' ') => start + at + 1,
        Some(_) => return None,
    };
    let text = Text { src: block, start: from, end, utf8 };
    Some(Piece { time_ns, stream, partial, text, attrs: None })
}

/// Take the packed object that was a line of docker apart.
pub fn split_docker<'a>(rfc3339: &mut Rfc3339, line: &'a Out, object: Object) -> Option<Piece<'a>> {
    let data = line.as_slice();
    let (mut log, mut stream, mut time, mut attrs) = (None, None, None, None);
    let mut at = object.head + 1;
    for _ in 0..object.count {
        let (mp::Value::Str(key), value) = mp::read(data, at).ok()? else { return None };
        let next = mp::skip(data, value, MAX_DEPTH).ok()?;
        match key {
            b"log" => log = Some((value, next)),
            b"stream" => stream = Some((value, next)),
            b"time" => time = Some((value, next)),
            b"attrs" => attrs = Some(&data[value..next]),
            _ => {}
        }
        at = next;
    }
    let text = |place: Option<(usize, usize)>| match mp::read(data, place?.0) {
        Ok((mp::Value::Str(text), _)) => Some(text),
        _ => None,
    };
    let (content, stream, time) = (text(log)?, text(stream)?, text(time)?);
    if stream != b"stdout" && stream != b"stderr" {
        return None;
    }
    let (time_ns, n) = rfc3339.read(time)?;
    if n != time.len() {
        return None;
    }
    let end = log?.1;
    let start = end - content.len();
    let partial = content.last() != Some(&b'\n');
    let end = if partial { end } else { without_return(data, start, end - 1) };
    Some(Piece { time_ns, stream, partial, text: Text { src: data, start, end, utf8: true }, attrs })
}
