//! The output: a buffer that grows, and what msgpack writes into it.
//!
//! All of the buffer is initialised, so that short copies may be of a constant size and run over
//! the end of what is meant; `len` says how much of it counts.
//!
//! Fresh memory costs as much as the work that fills it. So a large buffer that is not wanted any more is
//! kept, one for each thread, and the next one begins in it.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;

/// Bytes that `copy_short` writes whatever it is asked to copy.
const STEP: usize = 32;

/// Bytes of the longest head of a string.
const LONGEST_HEAD: usize = 5;

/// Smallest and largest buffer that is kept.
const SMALLEST_KEPT: usize = 64 << 10;
const LARGEST_KEPT: usize = 4 << 20;

thread_local! {
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

#[derive(Default)]
pub struct Out {
    buf: Vec<u8>,
    len: usize,
}

impl Drop for Out {
    #[inline]
    fn drop(&mut self) {
        if (SMALLEST_KEPT..=LARGEST_KEPT).contains(&self.buf.len()) {
            let buf = std::mem::take(&mut self.buf);
            // A thread that ends keeps nothing.
            let _ = KEPT.try_with(|kept| kept.set(buf));
        }
    }
}

impl Deref for Out {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl PartialEq for Out {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Out {}

impl fmt::Debug for Out {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(formatter)
    }
}

impl Out {
    pub fn with_capacity(capacity: usize) -> Self {
        let wanted = capacity + 2 * STEP;
        let kept = if wanted < SMALLEST_KEPT { Vec::new() } else { KEPT.take() };
        Self { buf: if kept.len() < wanted { vec![0; wanted] } else { kept }, len: 0 }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        &self.buf[..self.len]
    }

    pub fn into_vec(mut self) -> Vec<u8> {
        let mut buf = std::mem::take(&mut self.buf);
        buf.truncate(self.len);
        buf
    }

    /// Forget what was written after the first `len` bytes.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        debug_assert!(len <= self.len);
        self.len = len;
    }

    /// Make room for `n` more bytes and for a short copy after them.
    #[inline]
    pub fn reserve(&mut self, n: usize) {
        if self.buf.len() - self.len < n + STEP {
            self.grow(n);
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, n: usize) {
        let wanted = (self.buf.len() * 2).max(self.len + n + 2 * STEP);
        self.buf.resize(wanted, 0);
    }

    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.reserve(1);
        self.buf[self.len] = byte;
        self.len += 1;
    }

    /// Append a constant number of bytes.
    #[inline]
    pub fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.reserve(N);
        self.buf[self.len..self.len + N].copy_from_slice(&bytes);
        self.len += N;
    }

    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.buf[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Append what is likely to have at most 16 bytes, such as a number.
    #[inline]
    pub fn extend_number(&mut self, text: &[u8]) {
        let n = text.len();
        match (text.first_chunk::<8>(), text.last_chunk::<8>()) {
            (Some(first), Some(last)) if n <= 16 => {
                self.reserve(16);
                let to = &mut self.buf[self.len..self.len + 16];
                to[..8].copy_from_slice(first);
                to[n - 8..n].copy_from_slice(last);
                self.len += n;
            }
            _ => self.extend(text),
        }
    }

    /// Append the first `n` of a constant number of bytes.
    #[inline(always)]
    pub fn put_first<const N: usize>(&mut self, bytes: [u8; N], n: usize) {
        debug_assert!(n <= N);
        self.reserve(N);
        self.buf[self.len..self.len + N].copy_from_slice(&bytes);
        self.len += n;
    }

    /// Append a text that was padded before.
    #[inline]
    pub fn extend_padded(&mut self, text: &Padded) {
        self.reserve(text.chunks.len() * STEP);
        let to = &mut self.buf[self.len..self.len + text.chunks.len() * STEP];
        for (to, chunk) in to.as_chunks_mut().0.iter_mut().zip(&text.chunks) {
            *to = *chunk;
        }
        self.len += text.len;
    }

    /// Append `src[start..end]`; faster than `extend` where the part is short and not at the end.
    #[inline]
    pub fn copy_short(&mut self, src: &[u8], start: usize, end: usize) {
        let n = end - start;
        if n <= STEP && start + STEP <= src.len() {
            self.reserve(STEP);
            let from: &[u8; STEP] = src[start..start + STEP].try_into().expect("of that length");
            self.buf[self.len..self.len + STEP].copy_from_slice(from);
            self.len += n;
        } else {
            self.extend(&src[start..end]);
        }
    }

    /// Append the first `n` bytes of a padded constant.
    #[inline]
    pub fn put_padded(&mut self, bytes: &[u8; STEP], n: usize) {
        debug_assert!(n <= STEP);
        self.reserve(STEP);
        self.buf[self.len..self.len + STEP].copy_from_slice(bytes);
        self.len += n;
    }

    #[inline]
    pub fn set(&mut self, at: usize, byte: u8) {
        self.buf[at] = byte;
    }

    /// Overwrite bytes that were written before.
    #[inline]
    pub fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        self.buf[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Make a gap of `n` bytes at `at`, moving what follows.
    pub fn open_gap(&mut self, at: usize, n: usize) {
        self.reserve(n);
        self.buf.copy_within(at..self.len, at + n);
        self.len += n;
    }

    /// Take out `n` bytes at `at`, moving what follows.
    pub fn close_gap(&mut self, at: usize, n: usize) {
        self.buf.copy_within(at + n..self.len, at);
        self.len -= n;
    }

    // What follows writes msgpack, everything in its shortest form.

    #[inline]
    pub fn nil(&mut self) {
        self.push(0xc0);
    }

    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.push(0xc2 + u8::from(value));
    }

    #[inline]
    pub fn uint(&mut self, value: u64) {
        if value < 0x80 {
            self.push(value as u8);
        } else if value <= 0xff {
            self.put([0xcc, value as u8]);
        } else if value <= 0xffff {
            let b = (value as u16).to_be_bytes();
            self.put([0xcd, b[0], b[1]]);
        } else if value <= 0xffff_ffff {
            self.head4(0xce, value as u32);
        } else {
            self.head8(0xcf, value);
        }
    }

    #[inline]
    pub fn int(&mut self, value: i64) {
        if value >= 0 {
            self.uint(value as u64);
        } else if value >= -32 {
            self.push(value as u8);
        } else if value >= i64::from(i8::MIN) {
            self.put([0xd0, value as u8]);
        } else if value >= i64::from(i16::MIN) {
            let b = (value as i16).to_be_bytes();
            self.put([0xd1, b[0], b[1]]);
        } else if value >= i64::from(i32::MIN) {
            self.head4(0xd2, value as i32 as u32);
        } else {
            self.head8(0xd3, value as u64);
        }
    }

    #[inline]
    pub fn float(&mut self, value: f64) {
        self.head8(0xcb, value.to_bits());
    }

    #[inline]
    fn head4(&mut self, code: u8, value: u32) {
        let b = value.to_be_bytes();
        self.put([code, b[0], b[1], b[2], b[3]]);
    }

    #[inline]
    fn head8(&mut self, code: u8, value: u64) {
        let b = value.to_be_bytes();
        self.put([code, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
    }

    #[inline]
    pub fn str_head(&mut self, n: usize) {
        if n < 32 {
            self.push(0xa0 | n as u8);
        } else if n <= 0xff {
            self.put([0xd9, n as u8]);
        } else if n <= 0xffff {
            let b = (n as u16).to_be_bytes();
            self.put([0xda, b[0], b[1]]);
        } else {
            self.head4(0xdb, length32(n));
        }
    }

    #[inline]
    pub fn str(&mut self, text: &[u8]) {
        self.str_head(text.len());
        self.extend(text);
    }

    /// Write `src[start..end]` as a string; fastest where it is short and not at the end.
    #[inline(always)]
    pub fn short_str(&mut self, src: &[u8], start: usize, end: usize) {
        let n = end - start;
        match src.get(start..).and_then(|rest| rest.first_chunk::<STEP>()) {
            Some(from) if n < STEP => {
                self.reserve(1 + STEP);
                let to = &mut self.buf[self.len..self.len + 1 + STEP];
                to[0] = 0xa0 | n as u8;
                to[1..].copy_from_slice(from);
                self.len += 1 + n;
            }
            _ => self.str(&src[start..end]),
        }
    }

    /// Begin a string of unknown length; its bytes are to follow. Returns where it begins.
    pub fn open_str(&mut self) -> usize {
        self.put([0; LONGEST_HEAD]);
        self.len - LONGEST_HEAD
    }

    /// End the string that was begun at `at`: write its head, and move its bytes up to it.
    pub fn close_str(&mut self, at: usize) {
        let (start, end) = (at + LONGEST_HEAD, self.len);
        self.len = at;
        self.str_head(end - start);
        self.buf.copy_within(start..end, self.len);
        self.len += end - start;
    }

    /// Write the first `n` bytes of a chunk between quotes, and a comma.
    #[inline(always)]
    pub fn quoted(&mut self, chunk: &[u8; STEP], n: usize) {
        self.reserve(3 + STEP);
        let to = &mut self.buf[self.len..self.len + 3 + STEP];
        to[0] = b'"';
        to[1..=STEP].copy_from_slice(chunk);
        to[1 + n] = b'"';
        to[2 + n] = b',';
        self.len += 3 + n;
    }

    pub fn bin(&mut self, data: &[u8]) {
        let n = data.len();
        if n <= 0xff {
            self.put([0xc4, n as u8]);
        } else if n <= 0xffff {
            let b = (n as u16).to_be_bytes();
            self.put([0xc5, b[0], b[1]]);
        } else {
            self.head4(0xc6, length32(n));
        }
        self.extend(data);
    }

    pub fn array_head(&mut self, n: usize) {
        if n <= 15 {
            self.push(0x90 | n as u8);
        } else if n <= 0xffff {
            let b = (n as u16).to_be_bytes();
            self.put([0xdc, b[0], b[1]]);
        } else {
            self.head4(0xdd, length32(n));
        }
    }

    pub fn map_head(&mut self, n: usize) {
        if n <= 15 {
            self.push(0x80 | n as u8);
        } else if n <= 0xffff {
            let b = (n as u16).to_be_bytes();
            self.put([0xde, b[0], b[1]]);
        } else {
            self.head4(0xdf, length32(n));
        }
    }

    /// Turn the byte at `at`, kept free for it, into the header of a container of `n`.
    #[inline]
    pub fn patch_head(&mut self, at: usize, n: usize, map: bool) {
        if n <= 15 {
            self.buf[at] = if map { 0x80 } else { 0x90 } | n as u8;
        } else {
            self.patch_long_head(at, n, map);
        }
    }

    #[cold]
    fn patch_long_head(&mut self, at: usize, n: usize, map: bool) {
        let code = if map { 0xde } else { 0xdc };
        if n <= 0xffff {
            self.open_gap(at + 1, 2);
            self.buf[at] = code;
            self.overwrite(at + 1, &(n as u16).to_be_bytes());
        } else {
            self.open_gap(at + 1, 4);
            self.buf[at] = code + 1;
            self.overwrite(at + 1, &length32(n).to_be_bytes());
        }
    }

    /// The first bytes of an entry: array of two and its time.
    #[inline]
    pub fn entry_head(&mut self, time_ns: i128) {
        let clamped = time_ns.clamp(0, MAX_TIME_NS);
        self.entry_head_at(clamped as u64);
    }

    #[inline]
    pub fn entry_head_at(&mut self, time_ns: u64) {
        let s = ((time_ns / 1_000_000_000) as u32).to_be_bytes();
        let n = ((time_ns % 1_000_000_000) as u32).to_be_bytes();
        self.put([0x92, 0xd7, 0x00, s[0], s[1], s[2], s[3], n[0], n[1], n[2], n[3]]);
    }
}

impl Out {
    /// Overwrite the time of the entry at `at`.
    #[inline]
    pub fn set_entry_time(&mut self, at: usize, time_ns: u64) {
        self.overwrite(at + 3, &((time_ns / 1_000_000_000) as u32).to_be_bytes());
        self.overwrite(at + 7, &((time_ns % 1_000_000_000) as u32).to_be_bytes());
    }
}

/// A text that is copied 32 bytes at a time.
pub struct Padded {
    chunks: Vec<[u8; STEP]>,
    len: usize,
}

impl Padded {
    pub fn new(text: &[u8]) -> Self {
        let padded = |part: &[u8]| std::array::from_fn(|i| part.get(i).copied().unwrap_or(0));
        Self { chunks: text.chunks(STEP).map(padded).collect(), len: text.len() }
    }
}

/// Bytes of an entry before its record.
pub const ENTRY_HEAD: usize = 11;

/// The latest time that an entry can hold: 32 bits of seconds.
pub const MAX_TIME_NS: i128 = (1 << 32) * 1_000_000_000 - 1;

/// Lengths here are those of parts of one block, far below 4 GiB; a longer one is an error in this program.
fn length32(n: usize) -> u32 {
    u32::try_from(n).expect("no part of a block is 4 GiB long")
}
