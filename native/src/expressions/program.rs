//! A tree of operations, and how it is evaluated.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::Surroundings;
use super::functions::{self, Function};
use super::value::{Number, Value, floor_division, plain_key, quotient};
use crate::error::Error;
use crate::mp::{self, MAX_DEPTH};
use crate::out::Out;
use crate::records::{Wanted, copy_plain, short_ascii};
use crate::regexes::Scratch;

/// A step of a path.
#[derive(Debug)]
enum Key {
    Text(Vec<u8>),
    Index(i128),
}

#[derive(Debug)]
enum Node {
    Constant(Value<'static>),
    /// A top-level field, by its slot.
    Field(usize),
    /// The slot of the first key, the other keys, and the slot of the whole path as one key.
    Path(usize, Vec<Key>, Option<usize>),
    And(Vec<Node>),
    Or(Vec<Node>),
    If(Box<[Node; 3]>),
    Coalesce(Vec<Node>),
    Not(Box<Node>),
    Compare(Comparison, Box<[Node; 2]>),
    Arithmetic(Operator, Box<[Node; 2]>),
    /// Whether a top-level field is a text, which has no backslash; the last says whether it should be.
    TextIs(usize, Vec<u8>, bool),
    /// Text of texts.
    Join(Vec<Node>),
    Call(Function, Vec<Node>),
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Is,
    In,
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Modulo,
}

/// A compiled expression.
pub struct Program {
    roots: Vec<Node>,
    /// Texts of the top-level keys that it reads.
    keys: Vec<Vec<u8>>,
    wanted: Wanted,
    regexes: usize,
}

/// One event while it is looked at.
pub struct Event<'a> {
    pub around: Surroundings<'a>,
    pub time_ns: u64,
    /// Packed values of the keys that are read.
    slots: Vec<Option<&'a [u8]>>,
    /// Memory for text that is being made.
    text: Vec<u8>,
    pub scratches: Vec<Option<Scratch>>,
}

impl Event<'_> {
    pub fn begin(&mut self, time_ns: u64) {
        self.time_ns = time_ns;
        self.slots.fill(None);
    }
}

/// Makes a program of its description.
struct Compiler {
    keys: Vec<Vec<u8>>,
    regexes: usize,
}

impl Program {
    /// Compile packed descriptions of trees, as `logflow.expressions.program` gives them.
    pub fn new<'p>(packed: impl IntoIterator<Item = &'p [u8]>) -> Result<Self, Error> {
        let mut compiler = Compiler { keys: Vec::new(), regexes: 0 };
        let mut roots = Vec::new();
        for packed in packed {
            mp::skip(packed, 0, MAX_DEPTH * 4)?;
            roots.push(compiler.node(&Value::decode(packed, 0).0)?);
        }
        let mut wanted = Wanted::default();
        compiler.keys.iter().for_each(|key| wanted.push(key));
        Ok(Self { roots, keys: compiler.keys, wanted, regexes: compiler.regexes })
    }

    pub fn event<'a>(&self, around: Surroundings<'a>) -> Event<'a> {
        let scratches = (0..self.regexes).map(|_| None).collect();
        Event { around, time_ns: 0, slots: vec![None; self.keys.len()], text: Vec::new(), scratches }
    }

    /// Keep the value of the pair at `data[at..next]`, whose value begins at `middle`, if its key is read; of equal
    /// keys the last one counts.
    #[inline(always)]
    pub fn note<'a>(&self, event: &mut Event<'a>, data: &'a [u8], at: usize, middle: usize, next: usize) {
        let is = |slot: usize| *plain_key(&data[at..middle]) == *self.keys[slot];
        self.wanted.find(data, at, middle, is, |slot| event.slots[slot] = Some(&data[middle..next]));
    }

    /// The value of the first expression.
    pub fn evaluate<'a>(&'a self, event: &mut Event<'a>) -> Value<'a> {
        self.roots[0].evaluate(event)
    }

    /// Whether the first expression is true.
    pub fn holds<'a>(&'a self, event: &mut Event<'a>) -> bool {
        self.roots[0].holds(event)
    }

    /// The value of one of the expressions, by its number.
    pub fn evaluate_one<'a>(&'a self, number: usize, event: &mut Event<'a>) -> Value<'a> {
        self.roots[number].evaluate(event)
    }

    /// Pack the value of one of the expressions.
    #[inline]
    pub fn pack_one<'a>(&'a self, number: usize, event: &mut Event<'a>, out: &mut Out) {
        if !self.pack_some(number, event, out) {
            out.nil();
        }
    }

    /// Pack the value of one of the expressions unless it is None; says whether it was packed.
    #[inline]
    pub fn pack_some<'a>(&'a self, number: usize, event: &mut Event<'a>, out: &mut Out) -> bool {
        match &self.roots[number] {
            Node::Field(slot) if event.slots[*slot].is_some_and(|packed| copy_plain(packed, out)) => true,
            Node::Join(parts) => {
                let mut text = std::mem::take(&mut event.text);
                text.clear();
                join(parts, event, &mut text);
                let fits = Value::fits(&text);
                if fits {
                    out.str(&text);
                }
                event.text = text;
                fits
            }
            root => match root.evaluate(event) {
                Value::None => false,
                value => {
                    value.pack(out);
                    true
                }
            },
        }
    }

    /// The values of all expressions.
    pub fn evaluate_all<'a>(&'a self, event: &mut Event<'a>) -> impl Iterator<Item = Value<'a>> {
        self.roots.iter().map(|root| root.evaluate(event))
    }
}

fn described(what: &str) -> Error {
    Error::Unsupported(format!("the expression has {what}, which only Python knows"))
}

impl Compiler {
    fn node(&mut self, tree: &Value<'_>) -> Result<Node, Error> {
        let Value::List(parts) = tree else { return Err(described("an unknown part")) };
        match (parts.first().and_then(Value::as_text), &parts[1..]) {
            (Some(b"constant"), [value]) => Ok(Node::Constant(value.clone().into_owned())),
            (Some(b"field"), [Value::List(keys), dotted]) => self.field(keys, dotted),
            (Some(b"operation"), [Value::Text(name), Value::List(arguments)]) => {
                let name = String::from_utf8_lossy(name).into_owned();
                self.operation(&name, arguments)
            }
            _ => Err(described("an unknown part")),
        }
    }

    fn slot(&mut self, key: &[u8]) -> usize {
        if let Some(slot) = self.keys.iter().position(|known| known == key) {
            return slot;
        }
        self.keys.push(key.to_vec());
        self.keys.len() - 1
    }

    fn field(&mut self, keys: &[Value<'_>], dotted: &Value<'_>) -> Result<Node, Error> {
        let Some((Value::Text(first), rest)) = keys.split_first() else {
            return Err(described("an unknown path"));
        };
        let slot = self.slot(first);
        if rest.is_empty() {
            return Ok(Node::Field(slot));
        }
        let key = |key: &Value<'_>| match key {
            Value::Text(key) => Ok(Key::Text(key.to_vec())),
            Value::Int(index) => Ok(Key::Index(*index)),
            _ => Err(described("an unknown path")),
        };
        let rest = rest.iter().map(key).collect::<Result<_, _>>()?;
        let whole = dotted.as_text().map(|path| self.slot(path));
        Ok(Node::Path(slot, rest, whole))
    }

    fn nodes(&mut self, trees: &[Value<'_>]) -> Result<Vec<Node>, Error> {
        trees.iter().map(|tree| self.node(tree)).collect()
    }

    fn two(&mut self, trees: &[Value<'_>]) -> Result<Box<[Node; 2]>, Error> {
        let [left, right] = trees else { return Err(described("an operator without two sides")) };
        Ok(Box::new([self.node(left)?, self.node(right)?]))
    }

    fn operation(&mut self, name: &str, arguments: &[Value<'_>]) -> Result<Node, Error> {
        let compare = |how, sides| Ok(Node::Compare(how, sides));
        let compute = |how, sides| Ok(Node::Arithmetic(how, sides));
        match name {
            "and" => Ok(Node::And(self.nodes(arguments)?)),
            "or" => Ok(Node::Or(self.nodes(arguments)?)),
            "coalesce" => Ok(Node::Coalesce(self.nodes(arguments)?)),
            "join" => Ok(Node::Join(self.nodes(arguments)?)),
            "if" => match arguments {
                [test, then, other] => {
                    Ok(Node::If(Box::new([self.node(test)?, self.node(then)?, self.node(other)?])))
                }
                _ => Err(described("an unknown part")),
            },
            "not" => match arguments {
                [operand] => Ok(Node::Not(Box::new(self.node(operand)?))),
                _ => Err(described("an unknown part")),
            },
            "eq" => Ok(equality(self.two(arguments)?, true)),
            "ne" => Ok(equality(self.two(arguments)?, false)),
            "lt" => compare(Comparison::Less, self.two(arguments)?),
            "le" => compare(Comparison::LessOrEqual, self.two(arguments)?),
            "gt" => compare(Comparison::Greater, self.two(arguments)?),
            "ge" => compare(Comparison::GreaterOrEqual, self.two(arguments)?),
            "is" => compare(Comparison::Is, self.two(arguments)?),
            "in" => compare(Comparison::In, self.two(arguments)?),
            "add" => compute(Operator::Add, self.two(arguments)?),
            "sub" => compute(Operator::Subtract, self.two(arguments)?),
            "mul" => compute(Operator::Multiply, self.two(arguments)?),
            "truediv" => compute(Operator::Divide, self.two(arguments)?),
            "floordiv" => compute(Operator::FloorDivide, self.two(arguments)?),
            "mod" => compute(Operator::Modulo, self.two(arguments)?),
            _ => self.call(name, arguments),
        }
    }

    /// A function; arguments that are written out become a part of it.
    fn call(&mut self, name: &str, arguments: &[Value<'_>]) -> Result<Node, Error> {
        let (function, used) = functions::compile(name, arguments, &mut self.regexes)?;
        let rest: Vec<Value<'_>> = arguments
            .iter()
            .enumerate()
            .filter(|(place, _)| !used.contains(place))
            .map(|(_, argument)| argument.clone())
            .collect();
        Ok(Node::Call(function, self.nodes(&rest)?))
    }
}

/// A comparison for being equal, or not.
fn equality(sides: Box<[Node; 2]>, equal: bool) -> Node {
    match &*sides {
        // Bytes that are not UTF-8 become escapes, which begin with a backslash.
        [Node::Field(slot), Node::Constant(Value::Text(text))] if memchr::memchr(b'\\', text).is_none() => {
            Node::TextIs(*slot, text.to_vec(), equal)
        }
        _ => Node::Compare(if equal { Comparison::Equal } else { Comparison::NotEqual }, sides),
    }
}

impl Node {
    /// Whether the value is true.
    fn holds<'a>(&'a self, event: &mut Event<'a>) -> bool {
        match self {
            Self::And(parts) => parts.iter().all(|part| part.holds(event)),
            Self::Or(parts) => parts.iter().any(|part| part.holds(event)),
            Self::Not(operand) => !operand.holds(event),
            Self::Compare(how, sides) => compare(*how, sides, event),
            Self::TextIs(slot, text, equal) => is_text(event.slots[*slot], text) == *equal,
            _ => self.evaluate(event).is_true(),
        }
    }

    fn evaluate<'a>(&'a self, event: &mut Event<'a>) -> Value<'a> {
        match self {
            Self::Constant(value) => value.lend(),
            Self::Field(slot) => field(event, *slot),
            Self::Path(slot, keys, whole) => path(event, *slot, keys, *whole),
            Self::And(parts) => {
                let mut value = Value::None;
                for part in parts {
                    value = part.evaluate(event);
                    if !value.is_true() {
                        break;
                    }
                }
                value
            }
            Self::Or(parts) => {
                let mut value = Value::None;
                for part in parts {
                    value = part.evaluate(event);
                    if value.is_true() {
                        break;
                    }
                }
                value
            }
            Self::If(parts) => {
                let [test, then, other] = &**parts;
                if test.holds(event) { then.evaluate(event) } else { other.evaluate(event) }
            }
            Self::Coalesce(parts) => {
                let mut values = parts.iter().map(|part| part.evaluate(event));
                values.find(|value| !matches!(value, Value::None)).unwrap_or_default()
            }
            Self::Not(_) | Self::Compare(..) | Self::TextIs(..) => Value::Bool(self.holds(event)),
            Self::Arithmetic(how, sides) => {
                let [left, right] = &**sides;
                let left = left.evaluate(event);
                compute(*how, left, right.evaluate(event))
            }
            Self::Join(parts) => {
                let mut text = Vec::with_capacity(64);
                join(parts, event, &mut text);
                Value::made(text)
            }
            Self::Call(function, arguments) => {
                let values = arguments.iter().map(|argument| argument.evaluate(event)).collect();
                function.call(values, event)
            }
        }
    }

    /// The value of a constant, without a copy.
    fn constant(&self) -> Option<&Value<'static>> {
        if let Self::Constant(value) = self { Some(value) } else { None }
    }
}

/// Write the values of nodes as text, one after the other.
fn join<'a>(parts: &'a [Node], event: &mut Event<'a>, text: &mut Vec<u8>) {
    for part in parts {
        match part {
            Node::Constant(Value::Text(constant)) => text.extend_from_slice(constant),
            Node::Field(slot) if let Some(plain) = event.slots[*slot].and_then(short_ascii) => {
                text.extend_from_slice(plain)
            }
            _ => text.extend_from_slice(&part.evaluate(event).into_text()),
        }
    }
}

fn field<'a>(event: &Event<'a>, slot: usize) -> Value<'a> {
    event.slots[slot].map_or(Value::None, |packed| Value::decode(packed, 0).0.finite())
}

fn path<'a>(event: &Event<'a>, slot: usize, keys: &[Key], whole: Option<usize>) -> Value<'a> {
    if let Some(packed) = whole.and_then(|whole| event.slots[whole]) {
        return Value::decode(packed, 0).0.finite();
    }
    let mut found = event.slots[slot];
    for (done, key) in keys.iter().enumerate() {
        let Some(packed) = found else { return Value::None };
        found = match key {
            Key::Text(key) => under(packed, key),
            // Text has characters at indexes, too, which are not packed values.
            Key::Index(_) if mp::array_head(packed, 0).expect("checked before").is_none() => {
                let mut value = Value::decode(packed, 0).0;
                for key in &keys[done..] {
                    value = match key {
                        Key::Text(key) => value.item(&Value::Text(Cow::Borrowed(key))).into_owned(),
                        Key::Index(index) => value.item(&Value::Int(*index)).into_owned(),
                    };
                }
                return value;
            }
            Key::Index(index) => at_index(packed, *index),
        };
    }
    found.map_or(Value::None, |packed| Value::decode(packed, 0).0.finite())
}

/// The packed value under a key of a packed map: of equal keys, the last one's.
fn under<'a>(packed: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    let (pairs, mut at) = mp::map_head(packed, 0).expect("checked before")?;
    let mut found = None;
    for _ in 0..pairs {
        let middle = mp::skip(packed, at, MAX_DEPTH).expect("checked before");
        let next = mp::skip(packed, middle, MAX_DEPTH).expect("checked before");
        if *plain_key(&packed[at..middle]) == *key {
            found = Some(&packed[middle..next]);
        }
        at = next;
    }
    found
}

fn at_index(packed: &[u8], index: i128) -> Option<&[u8]> {
    let (items, mut at) = mp::array_head(packed, 0).expect("checked before")?;
    let place = if index < 0 { index + items as i128 } else { index };
    if !(0..items as i128).contains(&place) {
        return None;
    }
    for _ in 0..place {
        at = mp::skip(packed, at, MAX_DEPTH).expect("checked before");
    }
    let next = mp::skip(packed, at, MAX_DEPTH).expect("checked before");
    Some(&packed[at..next])
}

fn compare<'a>(how: Comparison, sides: &'a [Node; 2], event: &mut Event<'a>) -> bool {
    let [left, right] = sides;
    let left = left.evaluate(event);
    // A list that was written out is long, and copied by evaluation.
    let evaluated;
    let right = match right.constant() {
        Some(value) => value,
        None => {
            evaluated = right.evaluate(event);
            &evaluated
        }
    };
    match how {
        Comparison::Equal => left.equals(right),
        Comparison::NotEqual => !left.equals(right),
        Comparison::Less => left.order(right) == Some(Ordering::Less),
        Comparison::LessOrEqual => matches!(left.order(right), Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => left.order(right) == Some(Ordering::Greater),
        Comparison::GreaterOrEqual => matches!(left.order(right), Some(Ordering::Greater | Ordering::Equal)),
        Comparison::Is => match (&left, right) {
            (Value::None, Value::None) => true,
            (Value::Bool(left), Value::Bool(right)) => left == right,
            _ => false,
        },
        Comparison::In => right.contains(&left),
    }
}

/// Whether a packed field is a text without a backslash.
#[inline]
fn is_text(packed: Option<&[u8]>, text: &[u8]) -> bool {
    let Some(packed) = packed else { return false };
    match mp::read(packed, 0).expect("checked before").0 {
        mp::Value::Str(bytes) => bytes == text,
        mp::Value::Bin(_) | mp::Value::Ext(..) => Value::decode(packed, 0).0.as_text() == Some(text),
        _ => false,
    }
}

fn compute<'a>(how: Operator, left: Value<'a>, right: Value<'a>) -> Value<'a> {
    if let Operator::Add = how {
        match (left, right) {
            (Value::Text(left), Value::Text(right)) => return Value::made([&*left, &*right].concat()),
            (Value::List(mut left), Value::List(right)) => {
                left.extend(right);
                return Value::List(left);
            }
            (left, right) => return numbers(how, &left, &right),
        }
    }
    numbers(how, &left, &right)
}

fn numbers<'a>(how: Operator, left: &Value<'a>, right: &Value<'a>) -> Value<'a> {
    let (Some(left), Some(right)) = (left.number(), right.number()) else { return Value::None };
    match (how, left, right) {
        (Operator::Add, Number::Int(left), Number::Int(right)) => Value::int(left + right),
        (Operator::Subtract, Number::Int(left), Number::Int(right)) => Value::int(left - right),
        // Two numbers of 65 bits may overflow 128.
        (Operator::Multiply, Number::Int(left), Number::Int(right)) => {
            left.checked_mul(right).map_or(Value::None, Value::int)
        }
        (Operator::Divide, _, Number::Int(0)) => Value::None,
        (Operator::Divide, Number::Int(left), Number::Int(right)) => Value::float(quotient(left, right)),
        (Operator::Divide, left, right) if right.float() != 0.0 => Value::float(left.float() / right.float()),
        (Operator::Divide, ..) => Value::None,
        (Operator::FloorDivide, left, right) => {
            floor_division(left, right).map_or(Value::None, |both| of(both.0))
        }
        (Operator::Modulo, left, right) => floor_division(left, right).map_or(Value::None, |both| of(both.1)),
        (Operator::Add, left, right) => Value::float(left.float() + right.float()),
        (Operator::Subtract, left, right) => Value::float(left.float() - right.float()),
        (Operator::Multiply, left, right) => Value::float(left.float() * right.float()),
    }
}

fn of<'a>(number: Number) -> Value<'a> {
    match number {
        Number::Int(value) => Value::int(value),
        Number::Float(value) => Value::float(value),
    }
}
