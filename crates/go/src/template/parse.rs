//! Templates out of words.

use std::collections::BTreeMap;

use super::{
    Functions, funcs,
    lex::{self, Kind, Token},
};
use crate::text::quote;

/// A template, parsed.
#[derive(Debug)]
pub struct Template {
    pub(super) text: String,
    pub(super) body: Vec<Node>,
    pub(super) defined: BTreeMap<String, Vec<Node>>,
}

/// A part of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    If(Branch),
    Range(Branch),
    With(Branch),
    Template { at: usize, name: String, argument: Option<Pipeline> },
    Break,
    Continue,
}

/// `if`, `range` or `with`.
#[derive(Clone, Debug)]
pub(super) struct Branch {
    pub(super) pipeline: Pipeline,
    pub(super) body: Vec<Node>,
    pub(super) otherwise: Vec<Node>,
}

/// Commands, each of which gets the result of the one before as its last argument.
#[derive(Clone, Debug)]
pub(super) struct Pipeline {
    pub(super) at: usize,
    pub(super) variables: Vec<String>,
    pub(super) assign: bool,
    pub(super) commands: Vec<Command>,
}

/// A function or value, and arguments.
#[derive(Clone, Debug)]
pub(super) struct Command {
    pub(super) at: usize,
    pub(super) words: Vec<Operand>,
}

/// A thing with a value.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) at: usize,
    pub(super) kind: OperandKind,
}

#[derive(Clone, Debug)]
pub(super) enum OperandKind {
    Dot,
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(String),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Function(String),
    Paren(Box<Pipeline>, Vec<String>),
}

/// Parses `text`.
///
/// # Errors
/// In Go's words: `template: :1: …`.
pub fn parse(text: &str, functions: Functions) -> Result<Template, String> {
    let tokens = lex::lex(text);
    let mut parser = Parser {
        text,
        tokens,
        at: 0,
        defined: BTreeMap::new(),
        functions,
        loops: 0,
        variables: vec![String::new()],
    };
    let mut body = Vec::new();
    let ending = parser.nodes(&mut body)?;
    match ending {
        Ending::Text => {}
        Ending::End => return parser.fail("unexpected {{end}}"),
        Ending::Else(_) => return parser.fail("unexpected {{else}}"),
    }
    Ok(Template { text: text.to_owned(), body, defined: parser.defined })
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    defined: BTreeMap<String, Vec<Node>>,
    functions: Functions,
    loops: usize,
    /// Names of variables in scope; `$` is the empty one.
    variables: Vec<String>,
}

/// What ended a list of nodes.
enum Ending {
    /// The text's end.
    Text,
    /// `{{end}}`
    End,
    /// `{{else}}`, perhaps with `if` or `with` behind it.
    Else(Option<String>),
}

type Parsed<T> = Result<T, String>;

impl Parser<'_> {
    fn fail<T>(&self, message: impl AsRef<str>) -> Parsed<T> {
        let at = self.tokens.get(self.at.saturating_sub(1)).map_or(self.text.len(), |t| t.at);
        Err(lex::error(self.text, at, message.as_ref()))
    }

    fn peek(&self) -> &Kind {
        self.tokens.get(self.at).map_or(&Kind::End, |t| &t.kind)
    }

    fn here(&self) -> usize {
        self.tokens.get(self.at).map_or(self.text.len(), |t| t.at)
    }

    fn next(&mut self) -> Kind {
        let kind = self.peek().clone();
        self.at += 1;
        kind
    }

    fn skip_space(&mut self) {
        while *self.peek() == Kind::Space {
            self.at += 1;
        }
    }

    fn unexpected<T>(&self, kind: &Kind, context: &str) -> Parsed<T> {
        if let Kind::Error(message) = kind {
            return Err(message.clone());
        }
        self.fail(format!("unexpected {} in {context}", describe(kind)))
    }

    fn close(&mut self, context: &str) -> Parsed<()> {
        self.skip_space();
        match self.next() {
            Kind::Close => Ok(()),
            other => self.unexpected(&other, context),
        }
    }

    fn nodes(&mut self, into: &mut Vec<Node>) -> Parsed<Ending> {
        loop {
            match self.next() {
                Kind::End => return Ok(Ending::Text),
                Kind::Text(text) => into.push(Node::Text(text)),
                Kind::Open => {
                    self.skip_space();
                    if let Some(ending) = self.action(into)? {
                        return Ok(ending);
                    }
                }
                other => return self.unexpected(&other, "input"),
            }
        }
    }

    fn action(&mut self, into: &mut Vec<Node>) -> Parsed<Option<Ending>> {
        let word = match self.peek() {
            Kind::Word(word) => word.clone(),
            _ => String::new(),
        };
        let keyword = matches!(
            word.as_str(),
            "if" | "range" | "with" | "end" | "else" | "define" | "template" | "block" | "break" | "continue"
        );
        if keyword {
            self.at += 1;
        }
        match word.as_str() {
            "if" => into.push(Node::If(self.branch("if")?)),
            "with" => into.push(Node::With(self.branch("with")?)),
            "range" => {
                self.loops += 1;
                let branch = self.branch("range");
                self.loops -= 1;
                into.push(Node::Range(branch?));
            }
            "break" | "continue" if self.loops == 0 => {
                return self.fail(format!("{{{{{word}}}}} outside {{{{range}}}}"));
            }
            "break" => {
                self.close("{{break}}")?;
                into.push(Node::Break);
            }
            "continue" => {
                self.close("{{continue}}")?;
                into.push(Node::Continue);
            }
            "end" => {
                self.close("end")?;
                return Ok(Some(Ending::End));
            }
            "else" => {
                self.skip_space();
                if let Kind::Word(next) = self.peek().clone()
                    && matches!(next.as_str(), "if" | "with")
                {
                    self.at += 1;
                    return Ok(Some(Ending::Else(Some(next))));
                }
                self.close("else")?;
                return Ok(Some(Ending::Else(None)));
            }
            "define" => self.define()?,
            "template" => {
                self.skip_space();
                let at = self.here();
                let (name, argument) = self.named("template clause")?;
                into.push(Node::Template { at, name, argument });
            }
            "block" => {
                self.skip_space();
                let at = self.here();
                let (name, argument) = self.named("block clause")?;
                self.body_of(&name)?;
                into.push(Node::Template { at, name, argument });
            }
            _ => into.push(Node::Action(self.pipeline("command", Ends::Action)?)),
        }
        Ok(None)
    }

    fn define(&mut self) -> Parsed<()> {
        self.skip_space();
        let name = match self.next() {
            Kind::Str(name) => name,
            other => return self.unexpected(&other, "define clause"),
        };
        self.close("define clause")?;
        self.body_of(&name)
    }

    fn body_of(&mut self, name: &str) -> Parsed<()> {
        let mut body = Vec::new();
        let outer = std::mem::replace(&mut self.variables, vec![String::new()]);
        let ending = self.nodes(&mut body);
        self.variables = outer;
        match ending? {
            Ending::End => {
                self.defined.insert(name.to_owned(), body);
                Ok(())
            }
            Ending::Else(_) => self.fail("unexpected {{else}} in define clause"),
            Ending::Text => self.fail("unexpected EOF"),
        }
    }

    /// `"name"` and perhaps a pipeline.
    fn named(&mut self, context: &str) -> Parsed<(String, Option<Pipeline>)> {
        self.skip_space();
        let name = match self.next() {
            Kind::Str(name) => name,
            other => return self.unexpected(&other, context),
        };
        self.skip_space();
        if *self.peek() == Kind::Close {
            self.at += 1;
            return Ok((name, None));
        }
        Ok((name, Some(self.pipeline(context, Ends::Action)?)))
    }

    fn branch(&mut self, context: &str) -> Parsed<Branch> {
        let scope = self.variables.len();
        let branch = self.branch_in_scope(context);
        self.variables.truncate(scope);
        branch
    }

    fn branch_in_scope(&mut self, context: &str) -> Parsed<Branch> {
        let pipeline = self.pipeline(context, Ends::Action)?;
        let (mut body, mut otherwise) = (Vec::new(), Vec::new());
        match self.nodes(&mut body)? {
            Ending::End => {}
            Ending::Text => return self.fail("unexpected EOF"),
            Ending::Else(Some(word)) => {
                let nested = self.branch(&word)?;
                otherwise.push(if word == "if" { Node::If(nested) } else { Node::With(nested) });
            }
            Ending::Else(None) => match self.nodes(&mut otherwise)? {
                Ending::End => {}
                Ending::Text => return self.fail("unexpected EOF"),
                Ending::Else(_) => return self.fail("expected end; found {{else}}"),
            },
        }
        Ok(Branch { pipeline, body, otherwise })
    }

    fn pipeline(&mut self, context: &str, ends: Ends) -> Parsed<Pipeline> {
        self.skip_space();
        let mut pipeline =
            Pipeline { at: self.here(), variables: Vec::new(), assign: false, commands: Vec::new() };
        self.declarations(&mut pipeline, context)?;
        loop {
            self.skip_space();
            match self.peek().clone() {
                kind if ends.at(&kind) => {
                    if pipeline.commands.is_empty() {
                        self.at += 1;
                        return self.fail(format!("missing value for {context}"));
                    }
                    self.at += 1;
                    return Ok(pipeline);
                }
                Kind::Pipe
                | Kind::Declare
                | Kind::Assign
                | Kind::Comma
                | Kind::Close
                | Kind::RightParen
                | Kind::Error(_)
                | Kind::End => {
                    let kind = self.next();
                    return self.unexpected(&kind, context);
                }
                _ => {
                    let command = self.command(ends)?;
                    pipeline.commands.push(command);
                }
            }
        }
    }

    /// `$x :=`, `$x =`, `$i, $x :=` before a pipeline.
    fn declarations(&mut self, pipeline: &mut Pipeline, context: &str) -> Parsed<()> {
        let start = self.at;
        let mut names = Vec::new();
        while let Kind::Variable(name) = self.peek().clone() {
            self.at += 1;
            names.push(name);
            self.skip_space();
            match self.peek() {
                Kind::Declare | Kind::Assign => {
                    pipeline.assign = *self.peek() == Kind::Assign;
                    if !pipeline.assign {
                        self.variables.extend(names.iter().cloned());
                    }
                    pipeline.variables = names;
                    self.at += 1;
                    return Ok(());
                }
                Kind::Comma if context == "range" && names.len() < 2 => {
                    self.at += 1;
                    self.skip_space();
                }
                _ => break,
            }
        }
        self.at = start;
        Ok(())
    }

    /// Words up to a pipe or the end of the pipeline.
    fn command(&mut self, ends: Ends) -> Parsed<Command> {
        let mut command = Command { at: self.here(), words: Vec::new() };
        loop {
            self.skip_space();
            match self.peek().clone() {
                kind if ends.at(&kind) => return Ok(command),
                Kind::Pipe => {
                    self.at += 1;
                    return Ok(command);
                }
                _ => {
                    let operand = self.operand()?;
                    command.words.push(operand);
                }
            }
            match self.peek().clone() {
                Kind::Space | Kind::Pipe => {}
                kind if ends.at(&kind) => {}
                _ => {
                    let kind = self.next();
                    return self.unexpected(&kind, "operand");
                }
            }
        }
    }

    fn operand(&mut self) -> Parsed<Operand> {
        let at = self.here();
        let kind = match self.next() {
            Kind::Dot => OperandKind::Dot,
            Kind::Int(value) => OperandKind::Int(value),
            Kind::Float(value) => OperandKind::Float(value),
            Kind::Str(text) => OperandKind::Str(text),
            Kind::Field(name) => OperandKind::Field(vec![name]),
            Kind::Variable(name) if !self.variables.contains(&name) => {
                return self.fail(format!("undefined variable {}", quote(&format!("${name}"))));
            }
            Kind::Variable(name) => OperandKind::Variable(name, Vec::new()),
            Kind::LeftParen => OperandKind::Paren(
                Box::new(self.pipeline("parenthesized pipeline", Ends::Paren)?),
                Vec::new(),
            ),
            Kind::Word(word) => match word.as_str() {
                "true" => OperandKind::Bool(true),
                "false" => OperandKind::Bool(false),
                "nil" => OperandKind::Nil,
                _ if funcs::exists(&word, self.functions) => OperandKind::Function(word),
                _ => return self.fail(format!("function {} not defined", quote(&word))),
            },
            other => return self.unexpected(&other, "operand"),
        };
        self.chain(Operand { at, kind })
    }

    /// Fields that follow directly: `.A.B`, `$x.A`, `(…).A`.
    fn chain(&mut self, mut operand: Operand) -> Parsed<Operand> {
        let mut first = true;
        while let Kind::Field(name) = self.peek().clone() {
            let at = self.here();
            match &mut operand.kind {
                OperandKind::Field(path) | OperandKind::Variable(_, path) | OperandKind::Paren(_, path) => {
                    path.push(name);
                }
                OperandKind::Dot => operand.kind = OperandKind::Field(vec![name]),
                _ => return self.fail("unexpected . after term"),
            }
            // As Go does: the place of a chain is that of its first further field.
            if first && !matches!(operand.kind, OperandKind::Paren(..)) {
                operand.at = at;
            }
            first = false;
            self.at += 1;
        }
        Ok(operand)
    }
}

/// What ends a pipeline.
#[derive(Clone, Copy)]
enum Ends {
    Action,
    Paren,
}

impl Ends {
    fn at(self, kind: &Kind) -> bool {
        match self {
            Self::Action => *kind == Kind::Close,
            Self::Paren => *kind == Kind::RightParen,
        }
    }
}

fn describe(kind: &Kind) -> String {
    let text = match kind {
        Kind::End | Kind::Error(_) => return "EOF".to_owned(),
        Kind::Open => "{{",
        Kind::Close => "}}",
        Kind::LeftParen => "(",
        Kind::RightParen => ")",
        Kind::Pipe => "|",
        Kind::Comma => ",",
        Kind::Declare => ":=",
        Kind::Assign => "=",
        Kind::Space => " ",
        Kind::Dot => return "<.>".to_owned(),
        Kind::Field(name) => return format!("<.{name}>"),
        Kind::Variable(name) => return quote(&format!("${name}")),
        Kind::Word(word) => return format!("<{word}>"),
        Kind::Str(text) | Kind::Text(text) => return quote(text),
        Kind::Int(value) => return quote(&value.to_string()),
        Kind::Float(value) => return quote(&value.to_string()),
    };
    quote(text)
}
