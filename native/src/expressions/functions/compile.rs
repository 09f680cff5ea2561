//! A function and its arguments that are written out, made ready.

use super::Function;
use super::net::networks;
use super::times::{pieces, time_reader};
use crate::error::Error;
use crate::expressions::value::{Value, utf8};
use crate::regexes::Regex;

/// Compile a function; gives also the places of the arguments that became a part of it.
pub fn compile(
    name: &str, arguments: &[Value<'_>], regexes: &mut usize,
) -> Result<(Function, Vec<usize>), Error> {
    let plain = |function| Ok((function, Vec::new()));
    match name {
        "item" => plain(Function::Item),
        "slice" => plain(Function::Slice),
        "list" => plain(Function::List),
        "dict" => plain(Function::Dict),
        "neg" => plain(Function::Negate),
        "pos" => plain(Function::Plus),
        "len" => plain(Function::Len),
        "lower" => plain(Function::Lower),
        "upper" => plain(Function::Upper),
        "strip" => plain(Function::Strip),
        "split" => plain(Function::Split),
        "replace" => plain(Function::Replace),
        "startswith" => plain(Function::StartsWith),
        "endswith" => plain(Function::EndsWith),
        "contains" => plain(Function::Contains),
        "truncate" => plain(Function::Truncate),
        "int" => plain(Function::Int),
        "float" => plain(Function::Float),
        "str" => plain(Function::Str),
        "bool" => plain(Function::Bool),
        "abs" => plain(Function::Abs),
        "min" => plain(Function::Min),
        "max" => plain(Function::Max),
        "tag" => plain(Function::Tag),
        "time" => plain(Function::Time),
        "source" => plain(Function::Source),
        "now" => plain(Function::Now),
        "cidr" => plain(Function::Cidr),
        "sha256" => plain(Function::Sha256),
        "hash" => plain(Function::Hash),
        "parse_json" => plain(Function::ParseJson),
        "to_json" => plain(Function::ToJson),
        "get" => plain(Function::Get),
        "keys" => plain(Function::Keys),
        "matches" => Ok((Function::Matches(Box::new(regex(arguments)?)), vec![1])),
        "search" => {
            let regex = regex(arguments)?;
            let group = match written(arguments, 2) {
                Some(Value::Text(name)) => named_group(&regex, &name)?,
                Some(Value::Int(number)) => usize::try_from(number).map_err(|_| unknown("group"))?,
                _ => 0,
            };
            *regexes += 1;
            Ok((Function::Search(Box::new(regex), group, *regexes - 1), vec![1, 2]))
        }
        "round" => {
            let digits = match written(arguments, 1) {
                Some(Value::Int(digits)) => Some(usize::try_from(digits).map_err(|_| unknown("argument"))?),
                _ => None,
            };
            Ok((Function::Round(digits), vec![1]))
        }
        "parse_time" => Ok((Function::ParseTime(Box::new(time_reader(arguments)?)), vec![1, 2])),
        "format_time" => Ok((Function::FormatTime(pieces(arguments)), vec![1])),
        "ip_in" => Ok((Function::IpIn(networks(arguments)?), (1..arguments.len()).collect())),
        _ => Err(Error::Unsupported(format!("the function {name} of expressions is written in Python"))),
    }
}

pub fn unknown(what: &str) -> Error {
    Error::Unsupported(format!("an expression has a {what} that only Python knows"))
}

/// The value of an argument that is written out.
pub fn written<'a>(arguments: &'a [Value<'a>], place: usize) -> Option<Value<'a>> {
    match arguments.get(place)? {
        Value::List(parts) => match &parts[..] {
            [Value::Text(kind), value] if **kind == *b"constant" => Some(value.lend()),
            _ => None,
        },
        _ => None,
    }
}

fn regex(arguments: &[Value<'_>]) -> Result<Regex, Error> {
    match written(arguments, 1) {
        Some(Value::Text(pattern)) => Regex::new(utf8(&pattern)),
        _ => Err(unknown("pattern")),
    }
}

fn named_group(regex: &Regex, name: &[u8]) -> Result<usize, Error> {
    let found = regex.names.iter().find(|(_, known)| known.as_bytes() == name);
    found.map(|(number, _)| *number).ok_or_else(|| unknown("group"))
}
