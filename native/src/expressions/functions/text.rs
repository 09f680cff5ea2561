//! Functions of text.

use crate::expressions::program::Event;
use crate::expressions::value::{MAX_TEXT, Value, characters, utf8};
use crate::regexes::Regex;

pub const SPACE: [char; 6] = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];

pub fn owned<'a>(text: &str) -> Value<'a> {
    Value::Text(text.as_bytes().to_vec().into())
}

pub fn search<'a>(
    regex: &Regex, group: usize, scratch: usize, value: &Value<'a>, event: &mut Event<'a>,
) -> Value<'a> {
    let Some(text) = value.as_text() else { return Value::None };
    let scratch = event.scratches[scratch].get_or_insert_with(|| regex.scratch());
    if !regex.search(scratch, text) {
        return Value::None;
    }
    scratch.group(group).map_or(Value::None, |(start, end)| Value::Text(text[start..end].to_vec().into()))
}

pub fn affix<'a>(text: &Value<'a>, affixes: &Value<'a>, has: impl Fn(&[u8], &[u8]) -> bool) -> Value<'a> {
    let Some(text) = text.as_text() else { return Value::Bool(false) };
    let one = |affix: &Value<'_>| affix.as_text().is_some_and(|affix| has(text, affix));
    Value::Bool(match affixes {
        Value::List(several) => several.iter().any(one),
        affix => one(affix),
    })
}

pub fn split<'a>(text: &str, separator: &Value<'a>, most: &Value<'a>) -> Value<'a> {
    let most = match most {
        Value::None => usize::MAX,
        Value::Int(most) if *most >= 0 => usize::try_from(*most).unwrap_or(usize::MAX),
        _ => return Value::None,
    };
    match separator {
        Value::None => {
            let mut parts = Vec::new();
            let mut rest = text.trim_matches(SPACE);
            while !rest.is_empty() {
                match rest.find(SPACE).filter(|_| parts.len() < most) {
                    Some(end) => {
                        parts.push(owned(&rest[..end]));
                        rest = rest[end..].trim_start_matches(SPACE);
                    }
                    None => {
                        parts.push(owned(rest));
                        break;
                    }
                }
            }
            Value::List(parts)
        }
        Value::Text(separator) if !separator.is_empty() => {
            Value::List(text.splitn(most.saturating_add(1), utf8(separator)).map(owned).collect())
        }
        _ => Value::None,
    }
}

pub fn replace<'a>(text: &str, old: &str, new: &str) -> Value<'a> {
    if old.is_empty() {
        return owned(text);
    }
    // The size is known before anything is made.
    let count = text.matches(old).count() as i128;
    let grows = characters(new.as_bytes()) as i128 - characters(old.as_bytes()) as i128;
    if characters(text.as_bytes()) as i128 + count * grows > MAX_TEXT as i128 {
        return Value::None;
    }
    Value::Text(text.replace(old, new).into_bytes().into())
}

pub fn truncate<'a>(text: &str, count: usize, length: &Value<'a>, suffix: &Value<'a>) -> Value<'a> {
    let Value::Int(length) = length else { return Value::None };
    let suffix = match suffix {
        Value::Text(suffix) => utf8(suffix),
        Value::None if count < 3 => "",
        _ => return Value::None,
    };
    if *length < 0 {
        return Value::None;
    }
    let length = usize::try_from(*length).unwrap_or(usize::MAX);
    match text.char_indices().nth(length) {
        Some((end, _)) => Value::made([&text.as_bytes()[..end], suffix.as_bytes()].concat()),
        None => owned(text),
    }
}
