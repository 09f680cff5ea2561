//! Short texts that are likely to stand at a place, compared in one go.

/// Longest text.
pub const LONGEST: usize = 32;

type Words = [u64; LONGEST / 8];

/// A text of at most 32 bytes.
pub struct Expected {
    text: Words,
    mask: Words,
    pub len: usize,
}

/// The 32 bytes at a place; `None` near the end.
#[inline(always)]
pub fn words(src: &[u8], at: usize) -> Option<Words> {
    let (words, _) = src.get(at..)?.first_chunk::<LONGEST>()?.as_chunks::<8>();
    Some(std::array::from_fn(|i| u64::from_le_bytes(words[i])))
}

impl Expected {
    /// `None` when the text is too long.
    pub fn new(text: &[u8]) -> Option<Self> {
        let mut mask = [0; LONGEST];
        mask.get_mut(..text.len())?.fill(0xff);
        Some(Self { text: words(&padded(text)?, 0)?, mask: words(&mask, 0)?, len: text.len() })
    }

    /// Whether what stands `there` begins with the text.
    #[inline(always)]
    pub fn matches(&self, there: Words) -> bool {
        let mut difference = 0;
        for ((there, text), mask) in there.iter().zip(self.text).zip(self.mask) {
            difference |= (there ^ text) & mask;
        }
        difference == 0
    }
}

/// The text with zeros after it; `None` when it is too long.
pub fn padded(text: &[u8]) -> Option<[u8; LONGEST]> {
    let mut bytes = [0; LONGEST];
    bytes.get_mut(..text.len())?.copy_from_slice(text);
    Some(bytes)
}
