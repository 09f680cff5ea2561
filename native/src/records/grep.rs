//! Which events are kept, by patterns; see `logflow.engine.api.Grep`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::path::{Path, each_pair, plain_text};
use crate::entries;
use crate::error::Error;
use crate::regexes::Regex;

/// A rule: a pattern that is searched in the text of a field.
pub struct Rule {
    path: Path,
    pattern: Regex,
    /// In how many events the field was there.
    present: AtomicU64,
}

impl Rule {
    pub fn new(path: Path, pattern: Regex) -> Self {
        Self { path, pattern, present: AtomicU64::new(0) }
    }

    fn matches(&self, pairs: &[(&[u8], &[u8])]) -> bool {
        let Some(value) = self.path.find(pairs.iter().copied()) else { return false };
        self.present.fetch_add(1, Ordering::Relaxed);
        self.pattern.is_match(&plain_text(value))
    }
}

/// See `logflow.engine.api.Grep`.
pub struct Grep {
    pub keep: Vec<Rule>,
    pub exclude: Vec<Rule>,
    /// Whether all rules of `keep` must match, or any.
    pub all: bool,
}

impl Grep {
    /// The kept entries (`None`: all) and their number.
    pub fn apply(&self, data: &[u8]) -> Result<(Option<Vec<u8>>, usize), Error> {
        let mut kept = Vec::new();
        let mut count = 0;
        // Start of the run of wanted entries that is still to be copied.
        let mut run = 0;
        let mut pairs = Vec::new();
        let mut at = 0;
        while at < data.len() {
            let head = entries::head(data, at)?;
            pairs.clear();
            let end = each_pair(data, head.first, head.pairs, |key, value| pairs.push((key, value)))?;
            if self.wants(&pairs) {
                count += 1;
            } else {
                kept.extend_from_slice(&data[run..at]);
                run = end;
            }
            at = end;
        }
        if run == 0 {
            return Ok((None, count));
        }
        kept.extend_from_slice(&data[run..]);
        Ok((Some(kept), count))
    }

    fn wants(&self, pairs: &[(&[u8], &[u8])]) -> bool {
        // All rules are asked, so that each sees whether its field is there.
        let count = |rules: &[Rule]| rules.iter().filter(|rule| rule.matches(pairs)).count();
        let kept = count(&self.keep);
        let excluded = count(&self.exclude);
        let enough = if self.all { kept == self.keep.len() } else { self.keep.is_empty() || kept > 0 };
        enough && excluded == 0
    }

    pub fn present(&self) -> Vec<u64> {
        self.keep.iter().chain(&self.exclude).map(|rule| rule.present.load(Ordering::Relaxed)).collect()
    }
}
