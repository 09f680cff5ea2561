//! Messages of several lines; see `logflow.multiline`. The twin of `logflow.engine._python.multiline`.

use crate::regexes::Regex;

/// In place of a state: the event is finished.
pub const END: i64 = -1;

/// What follows the stream in the carry's key of an open event.
pub const OPEN_MARK: u8 = b'+';

/// In one of some states, a line that a pattern matches (or does not, if negated) leads to a state.
pub struct Rule {
    pub states: Vec<i64>,
    pub pattern: Regex,
    pub negate: bool,
    pub to: i64,
}

pub struct Multiline {
    pub rules: Vec<Rule>,
    /// Words of which one stands in every line that begins an event; `None`: any line may begin one.
    pub hints: Option<Regex>,
    /// States whose lines are held.
    pub held: Vec<i64>,
    /// Time after an event's last line in which it is gone on with, if the lines carry their times.
    pub timeout_ns: Option<i128>,
    pub max_lines: usize,
    pub max_bytes: usize,
    /// Whether a message that begins with a brace begins no event.
    pub spares_json: bool,
}

/// A line that may turn out not to belong to the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub time_ns: i128,
    pub text: Vec<u8>,
    pub cut: bool,
    /// Offset of its beginning in the file, where that is wanted.
    pub at: Option<u64>,
}

/// An event that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The stream and the mark.
    pub key: Vec<u8>,
    pub time_ns: i128,
    pub last_ns: i128,
    pub text: Vec<u8>,
    pub cut: bool,
    pub state: i64,
    pub lines: usize,
    /// Packed value of the field `attrs`, or nothing.
    pub attrs: Vec<u8>,
    pub held: Vec<Held>,
    /// Offset of its first line.
    pub at: Option<u64>,
}

/// What becomes of a line.
pub enum Step {
    /// It stands for itself.
    Alone,
    /// It begins an event, in this state.
    Begins(i64),
}

impl Multiline {
    fn next(&self, state: i64, text: &[u8]) -> Option<i64> {
        let fits = |rule: &&Rule| rule.states.contains(&state) && rule.pattern.is_match(text) != rule.negate;
        self.rules.iter().find(fits).map(|rule| rule.to)
    }

    /// What becomes of a line, UTF-8, when no event of its stream is open.
    #[inline]
    pub fn begin(&self, text: &[u8]) -> Step {
        if self.spares_json && text.first() == Some(&b'{') {
            return Step::Alone;
        }
        if self.hints.as_ref().is_some_and(|hints| !hints.is_match(text)) {
            return Step::Alone;
        }
        match self.next(0, text) {
            None | Some(END) => Step::Alone,
            Some(state) => Step::Begins(state),
        }
    }

    /// Whether a line at a time comes too late for an event.
    pub fn is_late(&self, open: &Open, time_ns: i128) -> bool {
        self.timeout_ns.is_some_and(|timeout_ns| time_ns - open.last_ns > timeout_ns)
    }

    /// Go on with an event. `Err`: the line, whose UTF-8 is `text`, is not of it. Gives a message if one is
    /// finished, and whether the event goes on.
    pub fn go_on(&self, open: &mut Open, text: &[u8], line: Held) -> Result<(Option<Held>, bool), Held> {
        let Some(state) = self.next(open.state, text) else { return Err(line) };
        open.last_ns = line.time_ns;
        open.state = state;
        if self.held.contains(&state) && open.lines + open.held.len() < self.max_lines {
            open.held.push(line);
            return Ok((None, true));
        }
        let mut lines = std::mem::take(&mut open.held);
        lines.push(line);
        let size: usize = lines.iter().map(|line| line.text.len() + 1).sum();
        let mut finished = None;
        if open.lines + lines.len() > self.max_lines || open.text.len() + size > self.max_bytes {
            let text = std::mem::take(&mut open.text);
            finished = Some(Held { time_ns: open.time_ns, text, cut: open.cut, at: open.at });
            (open.time_ns, open.lines, open.cut, open.at) = (lines[0].time_ns, 0, false, lines[0].at);
        }
        for line in lines {
            if open.lines > 0 {
                open.text.push(b'\n');
            }
            open.text.extend_from_slice(&line.text);
            open.cut |= line.cut;
            open.lines += 1;
        }
        Ok((finished, state != END))
    }
}
