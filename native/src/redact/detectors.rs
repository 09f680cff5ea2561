//! Finds what is personal or secret in a text; the twin of `logflow.engine._python.detectors`, which draws the
//! forms. No byte is looked at more than a few times, whatever the text.

use std::net::Ipv6Addr;

use memchr::{memchr, memchr_iter, memmem};

/// Where something was found: start, end.
pub type Span = (usize, usize);

/// Fewest digits of a card, and fewest characters of an IBAN.
pub const CARD_DIGITS: usize = 13;
pub const IBAN_CHARACTERS: usize = 15;

/// A detector by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detector {
    Email,
    Card,
    Iban,
    Ip,
    Jwt,
    Bearer,
    AwsKey,
    PrivateKey,
}

impl Detector {
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "email" => Self::Email,
            "card" => Self::Card,
            "iban" => Self::Iban,
            "ip" => Self::Ip,
            "jwt" => Self::Jwt,
            "bearer" => Self::Bearer,
            "aws_key" => Self::AwsKey,
            "private_key" => Self::PrivateKey,
            _ => return None,
        })
    }

    /// Add what is found in a text, in order.
    #[inline]
    pub fn find(self, text: &[u8], spans: &mut Vec<Span>) {
        match self {
            Self::Email => emails(text, spans),
            Self::Card => cards(text, spans),
            Self::Iban => ibans(text, spans),
            Self::Ip => addresses(text, spans),
            Self::Jwt => jwts(text, spans),
            Self::Bearer => bearers(text, spans),
            Self::AwsKey => aws_keys(text, spans),
            Self::PrivateKey => private_keys(text, spans),
        }
    }
}

fn is_alnum_at(text: &[u8], at: usize) -> bool {
    text.get(at).is_some_and(u8::is_ascii_alphanumeric)
}

fn is_alnum_before(text: &[u8], at: usize) -> bool {
    at > 0 && text[at - 1].is_ascii_alphanumeric()
}

/// How many bytes from `at` on are of a kind, at most `most`.
fn run(text: &[u8], at: usize, most: usize, is: impl Fn(u8) -> bool) -> usize {
    let rest = &text[at.min(text.len())..];
    rest.iter().take(most).take_while(|b| is(**b)).count()
}

// -- email ------------------------------------------------------------------------------------------

pub fn is_local(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'%' | b'+' | b'-')
}

fn emails(text: &[u8], spans: &mut Vec<Span>) {
    let mut done = 0;
    for at in memchr_iter(b'@', text) {
        let before = text[done..at.max(done)].iter().rev().take(64).take_while(|b| is_local(**b)).count();
        if at >= done
            && before > 0
            && let Some(end) = domain(text, at + 1)
        {
            spans.push((at - before, end));
            done = end;
        }
    }
}

/// Where a domain of two to nine labels ends, the last of which is of letters.
fn domain(text: &[u8], mut at: usize) -> Option<usize> {
    let mut end = None;
    for _ in 0..8 {
        let label = run(text, at, 63, |b| b.is_ascii_alphanumeric() || b == b'-');
        if label == 0 || text.get(at + label) != Some(&b'.') {
            break;
        }
        at += label + 1;
        let letters = run(text, at, 24, |b| b.is_ascii_alphabetic());
        if letters >= 2 {
            end = Some(at + letters);
        }
    }
    end
}

// -- card -------------------------------------------------------------------------------------------

fn cards(text: &[u8], spans: &mut Vec<Span>) {
    let mut at = 0;
    while at < text.len() {
        if !text[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let digits = run(text, at, usize::MAX, |b| b.is_ascii_digit());
        let end = at + digits;
        if digits >= 4
            && (b'2'..=b'6').contains(&text[at])
            && !is_alnum_before(text, at)
            && let Some(end) = card(text, at, end)
        {
            spans.push((at, end));
            at = end;
        } else {
            at = end;
        }
    }
}

fn card(text: &[u8], start: usize, end: usize) -> Option<usize> {
    match end - start {
        13..=19 if !is_alnum_at(text, end) && luhn(&text[start..end]) => Some(end),
        4 => {
            let several = groups(text, end, 4, 19, |b| matches!(b, b' ' | b'-'), |b| b.is_ascii_digit());
            let valid = several
                .iter()
                .rev()
                .find(|(end, size)| *size >= 13 && luhn(&text[start..*end]))
                .map(|(end, _)| *end);
            valid.or_else(|| four_six(text, end).filter(|end| luhn(&text[start..*end])))
        }
        _ => None,
    }
}

/// The ends of groups that follow at `at`, with the size of all so far: of four each, the last of one to four.
fn groups(
    text: &[u8], mut at: usize, mut size: usize, most: usize, between: impl Fn(u8) -> bool,
    inside: impl Fn(u8) -> bool,
) -> Vec<(usize, usize)> {
    let mut ends = Vec::new();
    while text.get(at).is_some_and(|b| between(*b)) {
        let group = run(text, at + 1, 5, &inside);
        let end = at + 1 + group;
        if group == 0 || group > 4 || is_alnum_at(text, end) || size + group > most {
            break;
        }
        size += group;
        ends.push((end, size));
        if group < 4 {
            break;
        }
        at = end;
    }
    ends
}

/// Where groups of six and of four or five digits end, as they follow the first four of some cards.
fn four_six(text: &[u8], at: usize) -> Option<usize> {
    let digits = |at: usize| {
        let between = matches!(text.get(at), Some(b' ' | b'-'));
        if between { run(text, at + 1, 7, |b| b.is_ascii_digit()) } else { 0 }
    };
    let last = (digits(at) == 6).then(|| digits(at + 7))?;
    let end = at + 8 + last;
    (matches!(last, 4 | 5) && !is_alnum_at(text, end)).then_some(end)
}

/// The check of ISO/IEC 7812: every second digit from the right counts double.
fn luhn(text: &[u8]) -> bool {
    let digits = text.iter().rev().filter(|b| b.is_ascii_digit()).map(|b| u32::from(b - b'0'));
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| if place % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 })
        .sum();
    sum.is_multiple_of(10)
}

// -- iban -------------------------------------------------------------------------------------------

pub fn is_iban(b: u8) -> bool {
    b.is_ascii_uppercase() || b.is_ascii_digit()
}

fn ibans(text: &[u8], spans: &mut Vec<Span>) {
    let mut at = 0;
    while at + IBAN_CHARACTERS <= text.len() {
        let begins = text[at].is_ascii_uppercase()
            && text[at + 1].is_ascii_uppercase()
            && text[at + 2].is_ascii_digit()
            && text[at + 3].is_ascii_digit()
            && !is_alnum_before(text, at);
        if !begins {
            at += 1;
        } else if let Some(end) = iban(text, at) {
            spans.push((at, end));
            at = end;
        } else {
            at += 4;
        }
    }
}

fn iban(text: &[u8], start: usize) -> Option<usize> {
    let rest = run(text, start + 4, 31, is_iban);
    let end = start + 4 + rest;
    if rest > 0 {
        let whole = (11..=30).contains(&rest) && !is_alnum_at(text, end);
        return (whole && modulo_97(&text[start..end])).then_some(end);
    }
    let several = groups(text, end, 4, 34, |b| b == b' ', is_iban);
    let valid = several.iter().rev().find(|(end, size)| *size >= 15 && modulo_97(&text[start..*end]));
    valid.map(|(end, _)| *end)
}

/// The check of ISO 13616: the first four characters at the end, letters as 10 to 35, modulo 97.
fn modulo_97(text: &[u8]) -> bool {
    let characters = text.iter().filter(|b| **b != b' ');
    let rest = characters.clone().skip(4).chain(characters.take(4)).fold(0_u32, |rest, b| {
        if b.is_ascii_digit() {
            (rest * 10 + u32::from(b - b'0')) % 97
        } else {
            (rest * 100 + u32::from(b - b'A') + 10) % 97
        }
    });
    rest == 1
}

// -- ip ---------------------------------------------------------------------------------------------

fn addresses(text: &[u8], spans: &mut Vec<Span>) {
    let first = spans.len();
    let is_six = |b: u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    let Some(start) = memchr::memchr2(b'.', b':', text) else { return };
    // A run that holds the first of them may begin before it.
    let mut at = start - text[..start].iter().rev().take_while(|b| is_six(**b)).count();
    while at < text.len() {
        if !is_six(text[at]) {
            at += 1;
            continue;
        }
        let end = at + run(text, at, usize::MAX, is_six);
        if end - at >= 3 {
            match six(text, at, end) {
                Some(span) => spans.push(span),
                None => fours(text, at, end, spans),
            }
        }
        at = end;
    }
    debug_assert!(spans[first..].is_sorted());
}

/// The address of version 6 that a run of its characters is.
fn six(text: &[u8], start: usize, end: usize) -> Option<Span> {
    if end - start > 64 || memchr(b':', &text[start..end]).is_none() {
        return None;
    }
    let (mut first, mut last) = (start, end);
    while last > first && text[last - 1] == b'.' {
        last -= 1;
    }
    // A colon that is not one of two belongs to what is around the address.
    if last >= first + 2 && text[last - 1] == b':' && text[last - 2] != b':' {
        last -= 1;
    }
    if last >= first + 2 && text[first] == b':' && text[first + 1] != b':' {
        first += 1;
    }
    let bounded =
        (first > start || !is_alnum_before(text, first)) && (last < end || !is_alnum_at(text, last));
    let written = std::str::from_utf8(&text[first..last]).ok()?;
    (bounded && written.parse::<Ipv6Addr>().is_ok()).then_some((first, last))
}

/// Addresses of version 4 in a run.
fn fours(text: &[u8], start: usize, end: usize, spans: &mut Vec<Span>) {
    let mut at = start;
    while at < end {
        let free = at == 0 || !(text[at - 1].is_ascii_alphanumeric() || text[at - 1] == b'.');
        match if free { four(text, at) } else { None } {
            Some(found) => {
                spans.push((at, found));
                at = found;
            }
            None => at += 1,
        }
    }
}

fn four(text: &[u8], mut at: usize) -> Option<usize> {
    for part in 0..4 {
        if part > 0 {
            if text.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        let digits = run(text, at, 4, |b| b.is_ascii_digit());
        let value = text[at..at + digits].iter().fold(0_u32, |value, b| value * 10 + u32::from(b - b'0'));
        if !(1..=3).contains(&digits) || value > 255 {
            return None;
        }
        at += digits;
    }
    let goes_on = text.get(at) == Some(&b'.') && text.get(at + 1).is_some_and(u8::is_ascii_digit);
    (!is_alnum_at(text, at) && !goes_on).then_some(at)
}

// -- tokens and keys --------------------------------------------------------------------------------

fn is_base64url(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')
}

/// Where `word` stands, from `at` on.
fn next(text: &[u8], word: &[u8], at: usize) -> Option<usize> {
    memmem::find(&text[at..], word).map(|found| at + found)
}

fn jwts(text: &[u8], spans: &mut Vec<Span>) {
    let mut at = 0;
    while let Some(start) = next(text, b"eyJ", at) {
        let begins = start == 0 || !is_base64url(text[start - 1]);
        match if begins { jwt(text, start) } else { Err(start + 3) } {
            Ok(end) => {
                spans.push((start, end));
                at = end;
            }
            Err(after) => at = after,
        }
    }
}

/// The end of a token, or where to look on.
fn jwt(text: &[u8], start: usize) -> Result<usize, usize> {
    let mut at = start + run(text, start, usize::MAX, is_base64url);
    if at < start + 13 {
        return Err(at);
    }
    let header = at;
    for part in 1..5 {
        if text.get(at) != Some(&b'.') {
            return if part > 2 { Ok(at) } else { Err(header) };
        }
        at += 1;
        at += run(text, at, usize::MAX, is_base64url);
    }
    Ok(at)
}

/// Call `each` with the end of each place of a word in lower case, whatever the case in the text.
fn each_word(text: &[u8], word: &[u8], mut each: impl FnMut(usize, usize)) {
    let (first, upper) = (word[0], word[0].to_ascii_uppercase());
    for start in memchr::memchr2_iter(first, upper, text) {
        let end = start + word.len();
        if end <= text.len() && text[start..end].eq_ignore_ascii_case(word) {
            each(start, end);
        }
    }
}

fn bearers(text: &[u8], spans: &mut Vec<Span>) {
    let mut done = 0;
    each_word(text, b"bearer", |start, end| {
        let between = run(text, end, 4, |b| matches!(b, b' ' | b'\t' | b':' | b'='));
        if start < done || is_alnum_before(text, start) || between == 0 {
            return;
        }
        let quote = usize::from(matches!(text.get(end + between), Some(b'"' | b'\'')));
        let token = end + between + quote;
        let size = run(text, token, usize::MAX, |b| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b'-')
        });
        if size >= 16 {
            done = token + size;
            spans.push((token, done));
        }
    });
}

fn aws_keys(text: &[u8], spans: &mut Vec<Span>) {
    let first = spans.len();
    if memchr(b'I', text).is_some() {
        for start in memmem::find_iter(text, b"IA") {
            let Some(start) = start.checked_sub(2) else { continue };
            let named = matches!(&text[start..start + 4], b"AKIA" | b"ASIA");
            let rest = if named { run(text, start + 4, 17, is_iban) } else { 0 };
            let end = start + 4 + rest;
            if rest == 16 && !is_alnum_before(text, start) && !is_alnum_at(text, end) {
                spans.push((start, end));
            }
        }
    }
    each_word(text, b"secret", |_, end| {
        let blank = |at: usize| usize::from(matches!(text.get(at), Some(b'_' | b' ' | b'-')));
        let word = |at: usize, word: &[u8]| {
            text.get(at..at + word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word))
        };
        let access = end + blank(end);
        let key = access + 6 + blank(access + 6);
        if !word(access, b"access") || !word(key, b"key") {
            return;
        }
        let between = run(text, key + 3, 9, |b| matches!(b, b'"' | b'\'' | b' ' | b'\t' | b':' | b'='));
        let start = key + 3 + between;
        let size = run(text, start, 41, |b| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'+'));
        if (1..=8).contains(&between) && size == 40 && text.get(start + 40) != Some(&b'=') {
            spans.push((start, start + 40));
        }
    });
    spans[first..].sort_unstable();
}

fn private_keys(text: &[u8], spans: &mut Vec<Span>) {
    let mut at = 0;
    while let Some((start, inside)) = armor(text, b"-----BEGIN ", at) {
        let end = armor(text, b"-----END ", inside).map_or(text.len(), |(_, end)| end);
        spans.push((start, end));
        at = end;
    }
}

/// The next line of armor of a private key that begins with a word: where it begins and ends.
fn armor(text: &[u8], word: &[u8], mut at: usize) -> Option<Span> {
    loop {
        let start = next(text, word, at)?;
        let label = start + word.len();
        let size = run(text, label, 58, |b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b' ');
        let name = &text[label..label + size];
        let kind = name.strip_suffix(b" BLOCK").unwrap_or(name).strip_suffix(b"PRIVATE KEY");
        let after = label + size;
        if kind.is_some_and(|kind| kind.len() <= 40) && text[after..].starts_with(b"-----") {
            return Some((start, after + 5));
        }
        at = label;
    }
}
