//! Where detectors may find something: all of the data is searched at once for what each of them needs, so that most
//! records need not be taken apart.

use memchr::{memchr_iter, memchr2, memchr2_iter, memmem};

use super::detectors::{CARD_DIGITS, Detector, IBAN_CHARACTERS, is_iban, is_local};

/// Finds the first place where a detector may find something.
type Find = fn(&[u8]) -> Option<usize>;

/// A search for what one detector needs.
struct Probe {
    /// The detector's number.
    of: usize,
    find: Find,
    /// Where it found something; past the end of the data if there is nothing.
    next: usize,
}

/// Searches for what detectors need, all in the same data.
pub struct Probes<'a> {
    data: &'a [u8],
    probes: Vec<Probe>,
}

impl<'a> Probes<'a> {
    pub fn new(data: &'a [u8], detectors: &[Detector]) -> Self {
        let mut probes = Vec::new();
        for (of, detector) in detectors.iter().enumerate() {
            probes.extend(needs(*detector).iter().map(|&find| Probe { of, find, next: 0 }));
        }
        probes.iter_mut().for_each(|probe| probe.look(data, 0));
        Self { data, probes }
    }

    /// Whether any detector may find something in `data[start..end]`. Questions are asked in the order of the data.
    #[inline]
    pub fn any(&mut self, start: usize, end: usize) -> bool {
        self.probes.iter_mut().any(|probe| probe.is_within(self.data, start, end))
    }

    /// Whether a detector, given by its number, may find something in `data[start..end]`.
    #[inline]
    pub fn may_find(&mut self, number: usize, start: usize, end: usize) -> bool {
        let mut own = self.probes.iter_mut().filter(|probe| probe.of == number);
        own.any(|probe| probe.is_within(self.data, start, end))
    }
}

impl Probe {
    #[inline]
    fn is_within(&mut self, data: &[u8], start: usize, end: usize) -> bool {
        if self.next < start {
            self.look(data, start);
        }
        self.next < end
    }

    fn look(&mut self, data: &[u8], at: usize) {
        self.next = (self.find)(&data[at..]).map_or(usize::MAX, |found| at + found);
    }
}

/// A search for each reason that a detector has to find something.
fn needs(detector: Detector) -> &'static [Find] {
    match detector {
        Detector::Email => &[address],
        Detector::Card => &[|data| long_run(data, &CARD)],
        Detector::Iban => &[|data| long_run(data, &IBAN)],
        Detector::Ip => &[|data| memchr2(b'.', b':', data)],
        Detector::Jwt => &[|data| memmem::find(data, b"eyJ")],
        Detector::Bearer => &[|data| word(data, b"bearer")],
        Detector::AwsKey => &[|data| memmem::find(data, b"IA"), |data| word(data, b"secret")],
        Detector::PrivateKey => &[|data| memmem::find(data, b"-----BEGIN ")],
    }
}

/// Where an @ stands that has a part of an address on both sides; many floats have this byte, too.
fn address(data: &[u8]) -> Option<usize> {
    memchr_iter(b'@', data).find(|&at| {
        at > 0
            && is_local(data[at - 1])
            && data.get(at + 1).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'-')
    })
}

/// Where a word in lower case stands, whatever the case in the data.
fn word(data: &[u8], word: &[u8]) -> Option<usize> {
    memchr2_iter(word[0], word[0].to_ascii_uppercase(), data).find(|&start| {
        data.get(start + 1).is_some_and(|b| b | 0x20 == word[1])
            && data.get(start..start + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word))
    })
}

/// What long runs are made of.
struct Kind {
    /// How many characters are at least in a row.
    least: usize,
    /// Whether eight of them may be in a row; most others are told from them at once.
    dense: fn(u64) -> bool,
    is: fn(u8) -> bool,
    /// What may stand alone between two of them.
    between: fn(u8) -> bool,
}

const CARD: Kind = Kind {
    least: CARD_DIGITS,
    // All bytes are in 0x20..0x40.
    dense: |word| word & (BYTES * 0xe0) == BYTES * 0x20,
    is: |b| b.is_ascii_digit(),
    between: |b| matches!(b, b' ' | b'-'),
};

const IBAN: Kind = Kind {
    least: IBAN_CHARACTERS,
    // All bytes are below 0x60.
    dense: |word| (word & (word << 1) & (BYTES * 0x40)) | (word & (BYTES * 0x80)) == 0,
    is: is_iban,
    between: |b| b == b' ',
};

/// Multiplied by a byte, eight of it.
const BYTES: u64 = u64::MAX / 0xff;

/// Where the first long run of a kind begins.
#[inline(always)]
fn long_run(data: &[u8], kind: &Kind) -> Option<usize> {
    let is_at = |at: usize| data.get(at).is_some_and(|b| (kind.is)(*b));
    let belongs =
        |at: usize| is_at(at) || (at > 0 && (kind.between)(data[at]) && is_at(at - 1) && is_at(at + 1));
    let mut at = 0;
    while let Some(window) = data[at.min(data.len())..].first_chunk() {
        if (kind.dense)(u64::from_le_bytes(*window)) {
            let before = (0..at).rev().take(kind.least).take_while(|at| belongs(*at)).count();
            let after = (at..data.len()).take(kind.least).take_while(|at| belongs(*at)).count();
            if after > 0 && before + after >= kind.least {
                return Some(at - before);
            }
        }
        // Some such window lies wholly in any run that is long enough.
        at += kind.least - 7;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_runs_are_found_wherever_they_begin() {
        for size in 0..80 {
            for start in 0..size {
                for length in 0..=(size - start).min(30) {
                    let mut data = vec![b'x'; size];
                    data[start..start + length].fill(b'7');
                    let expected = (length >= 13).then_some(start);
                    assert_eq!(long_run(&data, &CARD), expected, "{size} {start} {length}");
                }
            }
        }
    }

    #[test]
    fn what_stands_alone_between_two_belongs_to_a_run() {
        let run = |text: &str| long_run(text.as_bytes(), &CARD);
        assert_eq!(run("a 4111 1111 1111 1"), Some(2));
        assert_eq!(run("4111  1111 1111 11 "), None);
        assert_eq!(run(" 4111 1111 11 "), None);
        assert_eq!(long_run(b"; DE89 3704 0044 0532 0130 00;", &IBAN), Some(2));
    }

    #[test]
    fn a_run_is_found_behind_shorter_ones() {
        for gap in 1..30 {
            let data = [&b"123456789012"[..], &vec![b'x'; gap], b"12345x", b"1234567890123"].concat();
            assert_eq!(long_run(&data, &CARD), Some(12 + gap + 6));
        }
    }
}
