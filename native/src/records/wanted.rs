//! A few keys that are looked for among those of each record.

use crate::out::Out;

/// Keys as msgpack packs them. Most keys of records differ from each of these in their length or their first
/// seven bytes, which are compared at once.
#[derive(Debug, Default)]
pub struct Wanted {
    signs: Vec<u64>,
    packed: Vec<Vec<u8>>,
    /// Whether bytes that are not UTF-8 could have the text of one of them.
    escapes: bool,
}

impl Wanted {
    pub fn push(&mut self, text: &[u8]) {
        let mut packed = Out::default();
        packed.str(text);
        self.signs.push(sign(&packed, 0, packed.len()));
        self.packed.push(packed.into_vec());
        self.escapes |= memchr::memmem::find(text, b"\\x").is_some();
    }

    /// One of the keys, packed.
    pub fn packed(&self, number: usize) -> &[u8] {
        &self.packed[number]
    }

    /// Call `found` with the number of the key that is `data[at..end]`. Where bytes alone do not tell, `is` is asked
    /// about each number.
    #[inline(always)]
    pub fn find(
        &self, data: &[u8], at: usize, end: usize, mut is: impl FnMut(usize) -> bool,
        mut found: impl FnMut(usize),
    ) {
        // A short str is the text that its bytes say, or none that is wanted.
        if !matches!(data[at], 0xa0..=0xbf) || self.escapes {
            (0..self.packed.len()).filter(|&number| is(number)).for_each(found);
            return;
        }
        let sign = sign(data, at, end);
        for (number, wanted) in self.signs.iter().enumerate() {
            if *wanted == sign && (end - at <= 8 || self.packed[number][8..] == data[at + 8..end]) {
                found(number);
            }
        }
    }
}

/// The first eight bytes of a packed key.
#[inline(always)]
fn sign(data: &[u8], at: usize, end: usize) -> u64 {
    let size = end - at;
    match data[at..].first_chunk::<8>() {
        Some(first) if size >= 8 => u64::from_le_bytes(*first),
        Some(first) => u64::from_le_bytes(*first) & ((1 << (8 * size)) - 1),
        None => {
            let mut first = [0; 8];
            let known = size.min(8);
            first[..known].copy_from_slice(&data[at..at + known]);
            u64::from_le_bytes(first)
        }
    }
}

/// Copy a packed value if it is not nil and would be packed so again: a plain scalar. Says whether it was copied.
#[inline]
pub fn copy_plain(packed: &[u8], out: &mut Out) -> bool {
    let plain = match packed[0] {
        0x00..=0x7f | 0xc2 | 0xc3 | 0xe0..=0xff => true,
        0xa0..=0xbf => packed[1..].is_ascii(),
        0xcc => packed[1] >= 0x80,
        0xcd => packed[1] != 0,
        _ => false,
    };
    if plain {
        out.copy_short(packed, 0, packed.len());
    }
    plain
}

/// The text of a packed value that is short and of ASCII.
#[inline]
pub fn short_ascii(packed: &[u8]) -> Option<&[u8]> {
    let text = match packed[0] {
        0xa0..=0xbf => &packed[1..],
        0xd9 => &packed[2..],
        _ => return None,
    };
    text.is_ascii().then_some(text)
}
