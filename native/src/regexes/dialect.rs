//! Patterns in the dialect of `logflow.regexes` to patterns of the crate `regex-syntax`.
//!
//! A pattern is read by the crate's own parser; what the dialect reads in another way is refused, and the
//! rest is written again with everything spelled out that depends on flags: `\d` is `[0-9]`, a letter
//! without regard to case is a class, `$` is `\z`.

use regex_syntax::ast::{
    self, AssertionKind, Ast, ClassPerl, ClassPerlKind, ClassSet, ClassSetItem, Flag, FlagsItemKind,
    GroupKind, RepetitionKind,
};

use crate::error::Error;

/// A pattern in the crate's syntax.
#[derive(Debug)]
pub struct Translated {
    pub pattern: String,
    /// Named groups: their numbers and names, in order.
    pub names: Vec<(usize, String)>,
}

#[derive(Clone, Copy, Default)]
struct Flags {
    ignore_case: bool,
    dot_all: bool,
}

struct Translator {
    out: String,
    names: Vec<(usize, String)>,
    /// `(?m)`, which only stands at the start of a pattern.
    multi_line: bool,
    /// Whether what is written may be repeated more than once.
    repeated: bool,
}

type Written = Result<(), Error>;

fn unsupported(what: &str) -> Error {
    Error::Unsupported(format!("the regular expression has {what}, which only Python's re has"))
}

/// Translate a pattern.
pub fn translate(pattern: &str) -> Result<Translated, Error> {
    let spelled = spell_out(pattern);
    let mut parser = ast::parse::ParserBuilder::new().empty_min_range(true).build();
    let ast = parser.parse(&spelled).map_err(|error| {
        Error::Unsupported(format!("the regular expression needs Python's re: {}", error.kind()))
    })?;
    let mut translator =
        Translator { out: String::new(), names: Vec::new(), multi_line: false, repeated: false };
    translator.ast(&ast, &spelled, &mut Flags::default())?;
    Ok(Translated { pattern: translator.out, names: translator.names })
}

/// Escape what only the crate reads as syntax inside a class, and write `\Z` as it does.
fn spell_out(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    // Characters read of a class; none outside.
    let mut in_class = None;
    while let Some(c) = chars.next() {
        match (c, in_class) {
            ('\\', _) => match chars.next() {
                Some('Z') if in_class.is_none() => out.push_str("\\z"),
                Some(escaped) => out.extend(['\\', escaped]),
                None => out.push('\\'),
            },
            ('[', None) => {
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                in_class = Some(0);
                continue;
            }
            (']', Some(n)) if n > 0 => {
                out.push(']');
                in_class = None;
            }
            ('[' | ']' | '&' | '~', Some(_)) => out.extend(['\\', c]),
            _ => out.push(c),
        }
        in_class = in_class.map(|n| n + 1);
    }
    out
}

fn swapped_case(c: char) -> char {
    if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
}

impl Translator {
    fn ast(&mut self, ast: &Ast, source: &str, flags: &mut Flags) -> Written {
        match ast {
            Ast::Empty(_) => {}
            Ast::Flags(set) => self.global_flags(&set.flags, flags)?,
            Ast::Literal(literal) => self.literal(literal.c, *flags),
            Ast::Dot(_) => self.out.push_str(if flags.dot_all { "(?s:.)" } else { "." }),
            Ast::Assertion(assertion) => self.assertion(&assertion.kind)?,
            Ast::ClassUnicode(_) => return Err(unsupported("a class of Unicode")),
            Ast::ClassPerl(class) => self.perl_class(class),
            Ast::ClassBracketed(class) => self.class(class, *flags)?,
            Ast::Repetition(repetition) => self.repetition(repetition, source, flags)?,
            Ast::Group(group) => self.group(group, source, *flags)?,
            Ast::Alternation(alternation) => {
                for (i, branch) in alternation.asts.iter().enumerate() {
                    if i > 0 {
                        self.out.push('|');
                    }
                    self.ast(branch, source, flags)?;
                }
            }
            Ast::Concat(concat) => {
                for part in &concat.asts {
                    self.ast(part, source, flags)?;
                }
            }
        }
        Ok(())
    }

    fn global_flags(&mut self, set: &ast::Flags, flags: &mut Flags) -> Written {
        // The crate's parser lets flags stand anywhere; Python's, only at the start.
        if !self.out.is_empty() {
            return Err(unsupported("flags within it"));
        }
        self.multi_line |= Self::set_flags(set, flags)?;
        Ok(())
    }

    /// Take in flags; says whether one of them is `m`.
    fn set_flags(set: &ast::Flags, flags: &mut Flags) -> Result<bool, Error> {
        let (mut value, mut multi_line) = (true, false);
        for item in &set.items {
            match item.kind {
                FlagsItemKind::Negation => value = false,
                FlagsItemKind::Flag(Flag::CaseInsensitive) => flags.ignore_case = value,
                FlagsItemKind::Flag(Flag::DotMatchesNewLine) => flags.dot_all = value,
                FlagsItemKind::Flag(Flag::MultiLine) if value => multi_line = true,
                FlagsItemKind::Flag(_) => return Err(unsupported("a flag other than i, m and s")),
            }
        }
        Ok(multi_line)
    }

    fn char(&mut self, c: char) {
        self.out.push_str(&format!("\\x{{{:X}}}", u32::from(c)));
    }

    fn literal(&mut self, c: char, flags: Flags) {
        if flags.ignore_case && c.is_ascii_alphabetic() {
            self.out.extend(['[', c, swapped_case(c), ']']);
        } else {
            self.char(c);
        }
    }

    fn assertion(&mut self, kind: &AssertionKind) -> Written {
        self.out.push_str(match kind {
            AssertionKind::StartLine if self.multi_line => "(?m:^)",
            AssertionKind::EndLine if self.multi_line => "(?m:$)",
            AssertionKind::StartLine | AssertionKind::StartText => "\\A",
            AssertionKind::EndLine | AssertionKind::EndText => "\\z",
            AssertionKind::WordBoundary => "(?-u:\\b)",
            AssertionKind::WordBoundaryStartAngle => "<",
            AssertionKind::WordBoundaryEndAngle => ">",
            _ => return Err(unsupported("a word boundary other than \\b")),
        });
        Ok(())
    }

    fn perl_class(&mut self, class: &ClassPerl) {
        self.out.push_str(match (&class.kind, class.negated) {
            (ClassPerlKind::Digit, false) => "[0-9]",
            (ClassPerlKind::Digit, true) => "[^0-9]",
            (ClassPerlKind::Space, false) => "[ \\t\\n\\r\\x0C\\x0B]",
            (ClassPerlKind::Space, true) => "[^ \\t\\n\\r\\x0C\\x0B]",
            (ClassPerlKind::Word, false) => "[0-9A-Za-z_]",
            (ClassPerlKind::Word, true) => "[^0-9A-Za-z_]",
        });
    }

    fn class(&mut self, class: &ast::ClassBracketed, flags: Flags) -> Written {
        self.out.push_str(if class.negated { "[^" } else { "[" });
        match &class.kind {
            ClassSet::Item(ClassSetItem::Union(union)) => {
                for item in &union.items {
                    self.class_item(item, flags)?;
                }
            }
            ClassSet::Item(item) => self.class_item(item, flags)?,
            ClassSet::BinaryOp(_) => return Err(unsupported("a class with an ambiguous --")),
        }
        self.out.push(']');
        Ok(())
    }

    fn class_item(&mut self, item: &ClassSetItem, flags: Flags) -> Written {
        match item {
            ClassSetItem::Literal(literal) => self.class_range(literal.c, literal.c, flags),
            ClassSetItem::Range(range) => self.class_range(range.start.c, range.end.c, flags),
            ClassSetItem::Perl(class) => self.perl_class(class),
            _ => return Err(unsupported("a class within a class")),
        }
        Ok(())
    }

    fn class_range(&mut self, first: char, last: char, flags: Flags) {
        self.char(first);
        self.out.push('-');
        self.char(last);
        if flags.ignore_case {
            let letters = ('A'..='Z').chain('a'..='z').filter(|c| (first..=last).contains(c));
            self.out.extend(letters.map(swapped_case));
        }
    }

    fn repetition(&mut self, repetition: &ast::Repetition, source: &str, flags: &mut Flags) -> Written {
        let op = &repetition.op;
        let text = &source[op.span.start.offset..op.span.end.offset];
        if text.contains(char::is_whitespace) {
            return Err(unsupported("braces with blanks"));
        }
        if matches!(*repetition.ast, Ast::Repetition(_)) {
            return Err(unsupported("a possessive repeat"));
        }
        let once = matches!(op.kind, RepetitionKind::ZeroOrOne);
        if !once && may_be_empty(&repetition.ast) {
            return Err(unsupported("a repeat of what may be empty"));
        }
        let outside = self.repeated;
        self.repeated |= !once;
        self.out.push_str("(?:");
        self.ast(&repetition.ast, source, flags)?;
        self.out.push(')');
        self.out.push_str(text);
        self.repeated = outside;
        Ok(())
    }

    fn group(&mut self, group: &ast::Group, source: &str, flags: Flags) -> Written {
        let mut flags = flags;
        match &group.kind {
            GroupKind::NonCapturing(set) => {
                if Self::set_flags(set, &mut flags)? {
                    return Err(unsupported("the flag m within it"));
                }
                self.out.push_str("(?:");
            }
            _ if self.repeated => return Err(unsupported("a group that is repeated")),
            GroupKind::CaptureIndex(_) => self.out.push('('),
            GroupKind::CaptureName { name, .. } => {
                self.names.push((name.index as usize, name.name.clone()));
                self.out.push('(');
            }
        }
        self.ast(&group.ast, source, &mut flags)?;
        self.out.push(')');
        Ok(())
    }
}

/// Whether an expression can match the empty text; assertions count as such.
fn may_be_empty(ast: &Ast) -> bool {
    match ast {
        Ast::Empty(_) | Ast::Flags(_) | Ast::Assertion(_) => true,
        Ast::Literal(_) | Ast::Dot(_) | Ast::ClassUnicode(_) | Ast::ClassPerl(_) | Ast::ClassBracketed(_) => {
            false
        }
        Ast::Repetition(repetition) => {
            let zero = match &repetition.op.kind {
                RepetitionKind::ZeroOrOne | RepetitionKind::ZeroOrMore => true,
                RepetitionKind::OneOrMore => false,
                RepetitionKind::Range(range) => match range {
                    ast::RepetitionRange::Exactly(n) | ast::RepetitionRange::AtLeast(n) => *n == 0,
                    ast::RepetitionRange::Bounded(n, _) => *n == 0,
                },
            };
            zero || may_be_empty(&repetition.ast)
        }
        Ast::Group(group) => may_be_empty(&group.ast),
        Ast::Alternation(alternation) => alternation.asts.iter().any(may_be_empty),
        Ast::Concat(concat) => concat.asts.iter().all(may_be_empty),
    }
}
