//! Regular expressions, as `logflow.regexes` writes them for this crate. Matching takes linear time.

mod program;

use regex_automata::Input;
use regex_automata::meta::{self, Cache};
use regex_automata::util::primitives::{NonMaxUsize, PatternID};
use regex_syntax::ParserBuilder;

use crate::error::Error;
use program::{Answer, Memory, NONE, Program};

/// Most bytes that a compiled pattern may take.
const SIZE_LIMIT: usize = 4 << 20;

/// A compiled pattern.
pub struct Regex {
    /// Named groups: their numbers and names, in order.
    pub names: Vec<(usize, String)>,
    program: Option<Program>,
    general: meta::Regex,
}

/// What searches use again, and where the last one found the groups.
pub struct Scratch {
    cache: Option<Cache>,
    memory: Memory,
    slots: Vec<usize>,
    general: Vec<Option<NonMaxUsize>>,
}

impl Regex {
    /// Compile a pattern that is searched for anywhere.
    pub fn new(pattern: &str) -> Result<Self, Error> {
        let refused = |why: String| Error::Invalid(format!("the regular expression is refused: {why}"));
        let hir = ParserBuilder::new().build().parse(pattern).map_err(|error| refused(error.to_string()))?;
        let config = meta::Config::new()
            .nfa_size_limit(Some(SIZE_LIMIT))
            .onepass_size_limit(Some(SIZE_LIMIT))
            .hybrid_cache_capacity(1 << 20);
        let general = meta::Builder::new()
            .configure(config)
            .build_from_hir(&hir)
            .map_err(|error| refused(error.to_string()))?;
        let groups = general.group_info().pattern_names(PatternID::ZERO).enumerate();
        let names = groups.filter_map(|(number, name)| Some((number, name?.to_owned()))).collect();
        Ok(Self { names, program: Program::new(&hir), general })
    }

    /// Number of groups, the whole match included.
    pub fn groups(&self) -> usize {
        self.general.captures_len()
    }

    pub fn scratch(&self) -> Scratch {
        let slots = 2 * self.groups();
        Scratch {
            cache: None,
            memory: Memory::default(),
            slots: vec![NONE; slots],
            general: vec![None; slots],
        }
    }

    /// Whether the pattern is found in `text`, which is UTF-8.
    pub fn is_match(&self, text: &[u8]) -> bool {
        self.general.is_match(text)
    }

    /// Where the pattern is found first from a place on.
    pub fn find(&self, text: &[u8], from: usize) -> Option<usize> {
        self.general.search(&Input::new(text).range(from..)).map(|found| found.start())
    }

    /// The same with its end.
    pub fn find_span(&self, text: &[u8], from: usize) -> Option<(usize, usize)> {
        self.general.search(&Input::new(text).range(from..)).map(|found| (found.start(), found.end()))
    }

    /// Find the pattern and its groups in `text`, which is UTF-8.
    #[inline]
    pub fn search(&self, scratch: &mut Scratch, text: &[u8]) -> bool {
        let Some(program) = &self.program else {
            return self.search_general(scratch, text);
        };
        let start = if program.anchored {
            0
        } else {
            let cache = scratch.cache.get_or_insert_with(|| self.general.create_cache());
            match self.general.search_with(cache, &Input::new(text)) {
                Some(found) => found.start(),
                None => return false,
            }
        };
        match program.matches(&mut scratch.memory, text, start, &mut scratch.slots) {
            Answer::Match => true,
            Answer::NoMatch if program.anchored => false,
            Answer::NoMatch | Answer::Unknown => self.search_general(scratch, text),
        }
    }

    /// The same without the program.
    pub fn search_general(&self, scratch: &mut Scratch, text: &[u8]) -> bool {
        let cache = scratch.cache.get_or_insert_with(|| self.general.create_cache());
        if self.general.search_slots_with(cache, &Input::new(text), &mut scratch.general).is_none() {
            return false;
        }
        for (slot, found) in scratch.slots.iter_mut().zip(&scratch.general) {
            *slot = found.map_or(NONE, NonMaxUsize::get);
        }
        true
    }
}

impl Scratch {
    /// Where a group of the last match lies; `None` when it did not take part.
    #[inline]
    pub fn group(&self, number: usize) -> Option<(usize, usize)> {
        let (start, end) = (self.slots[2 * number], self.slots[2 * number + 1]);
        if start == NONE || end == NONE { None } else { Some((start, end)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(pattern: &str, text: &str) -> Option<Vec<Option<String>>> {
        let regex = Regex::new(pattern).expect("a pattern of the dialect");
        let (mut scratch, mut other) = (regex.scratch(), regex.scratch());
        let found = regex.search(&mut scratch, text.as_bytes());
        assert_eq!(found, regex.search_general(&mut other, text.as_bytes()), "{pattern} in {text}");
        if !found {
            return None;
        }
        assert_eq!(scratch.slots, other.slots, "{pattern} in {text}");
        let group = |n| scratch.group(n).map(|(start, end)| text[start..end].to_owned());
        Some((1..regex.groups()).map(group).collect())
    }

    #[test]
    fn programs_match_as_the_general_engine() {
        let patterns = [
            "^(a*)(b|c)?$",
            "(a+?)(b*)$",
            "^([^ ]*) (?:(x) )?([^ ]*)$",
            "(ab|a)(c|bcd)(d*)",
            "^(a{1,3}?)(a*)",
            r"(\w+)\b",
            "([a-z ]+)\\b",
            "^(?:(a)|b)(c??)c",
            "(?s)(.*)x(.*)",
            "(?m)^(b)$",
            "^(.{2})(.*)$",
            "(a|$)",
            "^()(a?)",
        ];
        let texts = [
            "",
            "a",
            "ab",
            "abc",
            "aab c",
            "abcd",
            "x abc x",
            "b\nb",
            "aaaa",
            "\u{e9}a\u{e9}",
            "a x b",
            "abc  ",
        ];
        for pattern in patterns {
            for text in texts {
                groups(pattern, text);
            }
        }
    }

    #[test]
    fn hostile_text_is_left_to_the_general_engine() {
        let regex = Regex::new(r"^(.*?)(\d+)x$").expect("a pattern");
        let mut scratch = regex.scratch();
        assert!(!regex.search(&mut scratch, "1".repeat(16_000).as_bytes()));
    }
}
