//! Reading msgpack: heads and sizes of values, never their copies.

pub const MAX_DEPTH: usize = 128;

/// Why a value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The data ends within it; so many bytes in all, counted from the start of the data, are the least that it takes.
    Short(usize),
    /// Byte 0xc1, which msgpack never uses.
    Malformed,
    /// More than MAX_DEPTH levels of nesting.
    Deep,
}

pub type Read<T> = Result<T, Fault>;

/// Sizes of the values whose first byte tells all; 0 for the others, 0xff for the byte that is never used.
const SIZES: [u8; 256] = sizes();

const fn sizes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut b = 0;
    while b < 256 {
        table[b] = match b {
            0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 | 0x80 | 0x90 => 1,
            0xa0..=0xbf => 1 + (b as u8 & 31),
            0xc1 => 0xff,
            0xcc | 0xd0 => 2,
            0xcd | 0xd1 | 0xd4 => 3,
            0xd5 => 4,
            0xca | 0xce | 0xd2 => 5,
            0xd6 => 6,
            0xcb | 0xcf | 0xd3 => 9,
            0xd7 => 10,
            0xd8 => 18,
            _ => 0,
        };
        b += 1;
    }
    table
}

#[inline(always)]
fn byte(data: &[u8], at: usize) -> Read<usize> {
    data.get(at).map(|&b| usize::from(b)).ok_or(Fault::Short(at + 1))
}

#[inline(always)]
fn be16(data: &[u8], at: usize) -> Read<usize> {
    match data.get(at..at + 2) {
        Some(b) => Ok(usize::from(u16::from_be_bytes(b.try_into().expect("2 bytes")))),
        None => Err(Fault::Short(at + 2)),
    }
}

#[inline(always)]
fn be32(data: &[u8], at: usize) -> Read<usize> {
    match data.get(at..at + 4) {
        Some(b) => Ok(u32::from_be_bytes(b.try_into().expect("4 bytes")) as usize),
        None => Err(Fault::Short(at + 4)),
    }
}

/// Position after the value at `at`; it may hold `depth` levels of containers.
#[inline(always)]
pub fn skip(data: &[u8], at: usize, depth: usize) -> Read<usize> {
    let first = byte(data, at)?;
    // Told apart by branches, which are foretold: the processor need not wait for the byte to go on.
    if let 0xa0..=0xbf = first {
        return whole(data, at + 1 + (first & 31));
    }
    if first < 0x80 {
        return whole(data, at + 1);
    }
    if first == 0xcb {
        return whole(data, at + 9);
    }
    if first == 0xd9 {
        return whole(data, at + 2 + byte(data, at + 1)?);
    }
    let size = SIZES[first];
    if size != 0 && size != 0xff {
        let next = at + usize::from(size);
        // An empty container is a level too.
        if depth == 0 && (first == 0x80 || first == 0x90) {
            return Err(Fault::Deep);
        }
        return whole(data, next);
    }
    skip_long(data, at, first, depth)
}

/// The rest of `skip`: what begins with any other byte.
#[inline]
fn skip_long(data: &[u8], at: usize, first: usize, depth: usize) -> Read<usize> {
    match first {
        0xc4 => whole(data, at + 2 + byte(data, at + 1)?),
        0xda | 0xc5 => whole(data, at + 3 + be16(data, at + 1)?),
        0xdb | 0xc6 => whole(data, at + 5 + be32(data, at + 1)?),
        0xc7 => whole(data, at + 3 + byte(data, at + 1)?),
        0xc8 => whole(data, at + 4 + be16(data, at + 1)?),
        0xc9 => whole(data, at + 6 + be32(data, at + 1)?),
        0x80..=0x8f => skip_items(data, at + 1, 2 * (first & 15), depth),
        0x90..=0x9f => skip_items(data, at + 1, first & 15, depth),
        0xdc => skip_items(data, at + 3, be16(data, at + 1)?, depth),
        0xdd => skip_items(data, at + 5, be32(data, at + 1)?, depth),
        0xde => skip_items(data, at + 3, 2 * be16(data, at + 1)?, depth),
        0xdf => skip_items(data, at + 5, 2 * be32(data, at + 1)?, depth),
        _ => Err(Fault::Malformed),
    }
}

fn skip_items(data: &[u8], mut at: usize, items: usize, depth: usize) -> Read<usize> {
    if depth == 0 {
        return Err(Fault::Deep);
    }
    for _ in 0..items {
        at = skip(data, at, depth - 1)?;
    }
    Ok(at)
}

/// The same however deep it nests: counts what is still to come, and so needs no stack.
pub fn skip_flat(data: &[u8], mut at: usize) -> Read<usize> {
    let mut left: usize = 1;
    while left > 0 {
        left -= 1;
        let (kind, size, content) = head(data, at)?;
        match kind {
            Kind::Array => (at, left) = (content, left.saturating_add(size)),
            Kind::Map => (at, left) = (content, left.saturating_add(2 * size)),
            _ => at = whole(data, content + size)?,
        }
    }
    Ok(at)
}

/// Position after `items` values in a row, which may nest deeper than `depth`.
pub fn skip_many_any(data: &[u8], mut at: usize, items: usize, depth: usize) -> Read<usize> {
    for _ in 0..items {
        at = match skip(data, at, depth) {
            Err(Fault::Deep) => skip_flat(data, at)?,
            found => found?,
        };
    }
    Ok(at)
}

/// Position after `items` values in a row.
#[inline]
pub fn skip_many(data: &[u8], mut at: usize, items: usize, depth: usize) -> Read<usize> {
    for _ in 0..items {
        at = skip(data, at, depth)?;
    }
    Ok(at)
}

/// Call `each(at, middle, next)` for the `pairs` pairs of a record from `at` on: where each begins, where its value
/// begins, and where it ends. Returns the position after them.
#[inline(always)]
pub fn each_pair(
    data: &[u8], mut at: usize, pairs: usize, mut each: impl FnMut(usize, usize, usize),
) -> Read<usize> {
    for _ in 0..pairs {
        let middle = skip(data, at, MAX_DEPTH - 1)?;
        let next = skip(data, middle, MAX_DEPTH - 1)?;
        each(at, middle, next);
        at = next;
    }
    Ok(at)
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nil,
    Bool,
    Number,
    /// A str or a bin.
    Text,
    Ext,
    Array,
    Map,
}

/// What the value at `at` is, its number of items or bytes, and where they begin.
///
/// What has no length field has the size of its bytes after the first. An ext's content begins with its type.
pub fn head(data: &[u8], at: usize) -> Read<(Kind, usize, usize)> {
    let first = byte(data, at)?;
    let fixed = usize::from(SIZES[first]).saturating_sub(1);
    Ok(match first {
        0x80..=0x8f => (Kind::Map, first & 15, at + 1),
        0x90..=0x9f => (Kind::Array, first & 15, at + 1),
        0xa0..=0xbf => (Kind::Text, fixed, at + 1),
        0xc0 => (Kind::Nil, fixed, at + 1),
        0xc1 => return Err(Fault::Malformed),
        0xc2 | 0xc3 => (Kind::Bool, fixed, at + 1),
        0xc4 | 0xd9 => (Kind::Text, byte(data, at + 1)?, at + 2),
        0xc5 | 0xda => (Kind::Text, be16(data, at + 1)?, at + 3),
        0xc6 | 0xdb => (Kind::Text, be32(data, at + 1)?, at + 5),
        0xc7 => (Kind::Ext, byte(data, at + 1)? + 1, at + 2),
        0xc8 => (Kind::Ext, be16(data, at + 1)? + 1, at + 3),
        0xc9 => (Kind::Ext, be32(data, at + 1)? + 1, at + 5),
        0xd4..=0xd8 => (Kind::Ext, fixed, at + 1),
        0xdc => (Kind::Array, be16(data, at + 1)?, at + 3),
        0xdd => (Kind::Array, be32(data, at + 1)?, at + 5),
        0xde => (Kind::Map, be16(data, at + 1)?, at + 3),
        0xdf => (Kind::Map, be32(data, at + 1)?, at + 5),
        _ => (Kind::Number, fixed, at + 1),
    })
}

/// The end of a part of the data, which must be whole.
#[inline(always)]
pub fn whole(data: &[u8], end: usize) -> Read<usize> {
    if end <= data.len() { Ok(end) } else { Err(Fault::Short(end)) }
}

/// Number of pairs and position of the first; `None` when it is no map.
#[inline]
pub fn map_head(data: &[u8], at: usize) -> Read<Option<(usize, usize)>> {
    Ok(match byte(data, at)? {
        first @ 0x80..=0x8f => Some((first & 15, at + 1)),
        0xde => Some((be16(data, at + 1)?, at + 3)),
        0xdf => Some((be32(data, at + 1)?, at + 5)),
        _ => None,
    })
}

/// Number of items and position of the first; `None` when it is no array.
#[inline]
pub fn array_head(data: &[u8], at: usize) -> Read<Option<(usize, usize)>> {
    Ok(match byte(data, at)? {
        first @ 0x90..=0x9f => Some((first & 15, at + 1)),
        0xdc => Some((be16(data, at + 1)?, at + 3)),
        0xdd => Some((be32(data, at + 1)?, at + 5)),
        _ => None,
    })
}

/// A value, or the head of a container.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Nil,
    Bool(bool),
    UInt(u64),
    /// Always negative in the shortest form, but any in others.
    Int(i64),
    F32(f32),
    F64(f64),
    Str(&'a [u8]),
    Bin(&'a [u8]),
    Ext(i8, &'a [u8]),
    Array(usize),
    Map(usize),
}

fn bytes<const N: usize>(data: &[u8], at: usize) -> Read<[u8; N]> {
    match data.get(at..at + N) {
        Some(b) => Ok(b.try_into().expect("N bytes")),
        None => Err(Fault::Short(at + N)),
    }
}

#[inline]
fn part(data: &[u8], start: usize, n: usize) -> Read<(&[u8], usize)> {
    match data.get(start..start + n) {
        Some(b) => Ok((b, start + n)),
        None => Err(Fault::Short(start + n)),
    }
}

#[inline]
fn ext(data: &[u8], at: usize, n: usize) -> Read<(Value<'_>, usize)> {
    let code = byte(data, at)? as u8 as i8;
    part(data, at + 1, n).map(|(b, next)| (Value::Ext(code, b), next))
}

/// Read the value at `at`; of a container only the head. Gives also the position after what was read.
#[inline(always)]
pub fn read(data: &[u8], at: usize) -> Read<(Value<'_>, usize)> {
    let first = byte(data, at)?;
    let next = at + 1;
    if let 0xa0..=0xbf = first {
        return part(data, next, first & 31).map(|(b, n)| (Value::Str(b), n));
    }
    read_other(data, first, next)
}

#[inline]
fn read_other(data: &[u8], first: usize, next: usize) -> Read<(Value<'_>, usize)> {
    let str = |(b, n)| (Value::Str(b), n);
    let bin = |(b, n)| (Value::Bin(b), n);
    Ok(match first {
        0x00..=0x7f => (Value::UInt(first as u64), next),
        0x80..=0x8f => (Value::Map(first & 15), next),
        0x90..=0x9f => (Value::Array(first & 15), next),
        0xc0 => (Value::Nil, next),
        0xc2 => (Value::Bool(false), next),
        0xc3 => (Value::Bool(true), next),
        0xc4 => bin(part(data, next + 1, byte(data, next)?)?),
        0xc5 => bin(part(data, next + 2, be16(data, next)?)?),
        0xc6 => bin(part(data, next + 4, be32(data, next)?)?),
        0xc7 => ext(data, next + 1, byte(data, next)?)?,
        0xc8 => ext(data, next + 2, be16(data, next)?)?,
        0xc9 => ext(data, next + 4, be32(data, next)?)?,
        0xca => (Value::F32(f32::from_be_bytes(bytes(data, next)?)), next + 4),
        0xcb => (Value::F64(f64::from_be_bytes(bytes(data, next)?)), next + 8),
        0xcc => (Value::UInt(byte(data, next)? as u64), next + 1),
        0xcd => (Value::UInt(be16(data, next)? as u64), next + 2),
        0xce => (Value::UInt(be32(data, next)? as u64), next + 4),
        0xcf => (Value::UInt(u64::from_be_bytes(bytes(data, next)?)), next + 8),
        0xd0 => (Value::Int(i64::from(i8::from_be_bytes(bytes(data, next)?))), next + 1),
        0xd1 => (Value::Int(i64::from(i16::from_be_bytes(bytes(data, next)?))), next + 2),
        0xd2 => (Value::Int(i64::from(i32::from_be_bytes(bytes(data, next)?))), next + 4),
        0xd3 => (Value::Int(i64::from_be_bytes(bytes(data, next)?)), next + 8),
        0xd4 => ext(data, next, 1)?,
        0xd5 => ext(data, next, 2)?,
        0xd6 => ext(data, next, 4)?,
        0xd7 => ext(data, next, 8)?,
        0xd8 => ext(data, next, 16)?,
        0xd9 => str(part(data, next + 1, byte(data, next)?)?),
        0xda => str(part(data, next + 2, be16(data, next)?)?),
        0xdb => str(part(data, next + 4, be32(data, next)?)?),
        0xdc => (Value::Array(be16(data, next)?), next + 2),
        0xdd => (Value::Array(be32(data, next)?), next + 4),
        0xde => (Value::Map(be16(data, next)?), next + 2),
        0xdf => (Value::Map(be32(data, next)?), next + 4),
        0xe0..=0xff => (Value::Int(i64::from(first as u8 as i8)), next),
        _ => return Err(Fault::Malformed),
    })
}
