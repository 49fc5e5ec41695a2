//! Words of a template.

use std::borrow::Cow;

/// A word and where it begins (a byte offset).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Outside of actions.
    Text(String),
    /// `{{`
    Open,
    /// `}}`
    Close,
    /// `(`
    LeftParen,
    /// `)`
    RightParen,
    /// `|`
    Pipe,
    /// `,`
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
    /// A blank, which separates arguments and ends chains.
    Space,
    /// `.`
    Dot,
    /// `.Name`, without the dot.
    Field(String),
    /// `$name` or `$`.
    Variable(String),
    /// A function or keyword.
    Word(String),
    /// A quoted string, unquoted.
    Str(String),
    /// A whole number or character.
    Int(i64),
    /// Another number.
    Float(f64),
    /// The end.
    End,
    /// What is wrong here; nothing follows.
    Error(String),
}

/// Takes `text` apart. What is wrong is a word as well, the last one, so that the parser can complain about what
/// stands before it.
pub(super) fn lex(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    if let Err(message) = lexer.run() {
        let at = lexer.at;
        lexer.push(at, Kind::Error(message));
    }
    lexer.tokens
}

/// An error at a place, as the parser words it.
pub(super) fn error(text: &str, at: usize, message: &str) -> String {
    let line = 1 + text[..at.min(text.len())].matches('\n').count();
    format!("template: :{line}: {message}")
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn push(&mut self, at: usize, kind: Kind) {
        self.tokens.push(Token { at, kind });
    }

    fn fail<T>(&self, message: impl Into<Cow<'static, str>>) -> Result<T, String> {
        Err(error(self.text, self.at, &message.into()))
    }

    fn run(&mut self) -> Result<(), String> {
        let mut trim_left = false;
        loop {
            let start = self.at;
            let open = self.rest().find("{{").map(|at| start + at);
            let mut body = &self.text[start..open.unwrap_or(self.text.len())];
            if trim_left {
                body = body.trim_start_matches(BLANKS);
            }
            let after = open.map_or("", |at| &self.text[at + 2..]);
            let trim_right = after.starts_with('-') && after[1..].starts_with(BLANKS);
            if trim_right {
                body = body.trim_end_matches(BLANKS);
            }
            if !body.is_empty() {
                self.push(start, Kind::Text(body.to_owned()));
            }
            let Some(open) = open else {
                self.push(self.text.len(), Kind::End);
                return Ok(());
            };
            self.at = open + 2 + if trim_right { 2 } else { 0 };
            trim_left = match self.rest().starts_with("/*") {
                true => self.comment()?,
                false => {
                    self.push(open, Kind::Open);
                    self.action()?
                }
            };
        }
    }

    /// Past a comment; whether white space after it is trimmed.
    fn comment(&mut self) -> Result<bool, String> {
        let Some(end) = self.rest().find("*/") else { return self.fail("unclosed comment") };
        self.at += end + 2;
        match self.close() {
            Some(trim) => Ok(trim),
            None => self.fail("comment ends before closing delimiter"),
        }
    }

    /// Past a closing delimiter if one is here; whether white space after it is trimmed.
    fn close(&mut self) -> Option<bool> {
        let rest = self.rest();
        let (length, trim) = if rest.starts_with("}}") {
            (2, false)
        } else if rest.starts_with(BLANKS) && rest[1..].starts_with("-}}") {
            (4, true)
        } else {
            return None;
        };
        self.at += length;
        Some(trim)
    }

    /// The words of an action, to its end.
    fn action(&mut self) -> Result<bool, String> {
        let mut depth = 0usize;
        loop {
            let at = self.at;
            if let Some(trim) = self.close() {
                if depth > 0 {
                    self.at = at;
                    return self.fail("unclosed left paren");
                }
                self.push(at, Kind::Close);
                return Ok(trim);
            }
            let Some(c) = self.rest().chars().next() else { return self.fail("unclosed action") };
            let kind = match c {
                c if BLANKS.contains(&c) => {
                    self.blanks();
                    Kind::Space
                }
                '(' => {
                    depth += 1;
                    self.take(1, Kind::LeftParen)
                }
                ')' if depth == 0 => return self.fail("unexpected right paren"),
                ')' => {
                    depth -= 1;
                    self.take(1, Kind::RightParen)
                }
                '|' => self.take(1, Kind::Pipe),
                ',' => self.take(1, Kind::Comma),
                ':' if self.rest().starts_with(":=") => self.take(2, Kind::Declare),
                ':' => return self.fail("expected :="),
                '=' => self.take(1, Kind::Assign),
                '"' => self.quoted()?,
                '`' => self.raw_quoted()?,
                '\'' => self.character()?,
                '$' => {
                    let name = self.name(1);
                    Kind::Variable(name)
                }
                '.' if !self.rest()[1..].starts_with(|c: char| c.is_ascii_digit()) => match self.name(1) {
                    name if name.is_empty() => Kind::Dot,
                    name => Kind::Field(name),
                },
                '+' | '-' | '.' | '0'..='9' => self.number()?,
                c if c.is_alphabetic() || c == '_' => Kind::Word(self.name(0)),
                c => {
                    return self.fail(
                        format!("unrecognized character in action: U+{:04X} {c:?}", c as u32)
                            .replace('"', "'"),
                    );
                }
            };
            self.push(at, kind);
        }
    }

    fn take(&mut self, length: usize, kind: Kind) -> Kind {
        self.at += length;
        kind
    }

    /// Past blanks, but not past one that belongs to ` -}}`.
    fn blanks(&mut self) {
        let end = self.rest().len() - self.rest().trim_start_matches(BLANKS).len();
        let keep = usize::from(self.rest()[end..].starts_with("-}}"));
        self.at += (end - keep).max(if keep == 1 && end == 1 { 0 } else { 1 });
    }

    /// Letters, digits and underscores after `skip` bytes.
    fn name(&mut self, skip: usize) -> String {
        let body = &self.rest()[skip..];
        let end = body.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(body.len());
        let name = body[..end].to_owned();
        self.at += skip + end;
        name
    }

    fn quoted(&mut self) -> Result<Kind, String> {
        let mut out = String::new();
        let mut chars = self.rest()[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 2;
                    return Ok(Kind::Str(out));
                }
                '\n' => break,
                '\\' => {
                    let Some((_, escape)) = chars.next() else { break };
                    out.push(match escape {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        'a' => '\x07',
                        'b' => '\x08',
                        'f' => '\x0c',
                        'v' => '\x0b',
                        'x' | 'u' | 'U' => {
                            let digits = [('x', 2), ('u', 4), ('U', 8)];
                            let count = digits.iter().find(|(c, _)| *c == escape).map_or(2, |(_, n)| *n);
                            let hex: String = chars.by_ref().take(count).map(|(_, c)| c).collect();
                            match u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32) {
                                Some(c) => c,
                                None => return self.fail("invalid syntax"),
                            }
                        }
                        c => c,
                    });
                }
                c => out.push(c),
            }
        }
        self.fail("unterminated quoted string")
    }

    fn raw_quoted(&mut self) -> Result<Kind, String> {
        match self.rest()[1..].find('`') {
            Some(end) => {
                let text = self.rest()[1..=end].to_owned();
                self.at += end + 2;
                Ok(Kind::Str(text))
            }
            None => self.fail("unterminated raw quoted string"),
        }
    }

    fn character(&mut self) -> Result<Kind, String> {
        let body = &self.rest()[1..];
        match body.chars().next() {
            Some(c) if c != '\\' && body[c.len_utf8()..].starts_with('\'') => {
                self.at += c.len_utf8() + 2;
                Ok(Kind::Int(i64::from(c as u32)))
            }
            _ => self.fail("malformed character constant"),
        }
    }

    fn number(&mut self) -> Result<Kind, String> {
        let body = self.rest();
        let word = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
        let mut end = usize::from(body.starts_with(['+', '-']));
        while let Some(c) = body[end..].chars().next() {
            let exponent =
                matches!(c, '+' | '-') && body[..end].ends_with(['e', 'E']) && !body.contains("0x");
            if !word(c) && !exponent {
                break;
            }
            end += 1;
        }
        let text = body[..end].to_owned();
        let kind = match crate::parse_int(&text) {
            Ok(whole) => Kind::Int(whole),
            Err(_) => match text.parse() {
                Ok(float) => Kind::Float(float),
                Err(_) => return self.fail(format!("bad number syntax: {}", crate::text::quote(&text))),
            },
        };
        self.at += end;
        Ok(kind)
    }
}
