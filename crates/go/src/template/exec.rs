//! Running a template.

use std::rc::Rc;

use super::{
    Functions, Template, Value,
    funcs::{self, Fault},
    parse::{Branch, Command, Node, Operand, OperandKind, Pipeline},
    print,
};
use crate::text::quote;

/// What a key that a map does not have stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingKey {
    /// `<no value>`.
    NoValue,
    /// An error.
    Error,
}

/// How deep templates may call each other.
const MAX_DEPTH: usize = 100;

/// Runs `template` on `dot`.
///
/// # Errors
/// In Go's words: `template: :1:2: executing "" at <.X>: …`.
pub fn execute(
    template: &Template,
    dot: &Value,
    functions: Functions,
    missing: MissingKey,
) -> Result<String, String> {
    let mut run = Run {
        template,
        functions,
        missing,
        out: String::new(),
        variables: vec![(String::new(), dot.clone())],
        depth: 0,
    };
    run.nodes(&template.body, dot)?;
    Ok(run.out)
}

struct Run<'a> {
    template: &'a Template,
    functions: Functions,
    missing: MissingKey,
    out: String,
    /// Innermost last; `$` is the empty name.
    variables: Vec<(String, Value)>,
    depth: usize,
}

/// How a list of nodes ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Break,
    Continue,
}

type Ran<T> = Result<T, String>;

impl Run<'_> {
    fn fail<T>(&self, at: usize, context: &str, message: impl AsRef<str>) -> Ran<T> {
        let before = &self.template.text[..at.min(self.template.text.len())];
        let line = 1 + before.matches('\n').count();
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
        Err(format!("template: :{line}:{column}: executing \"\" at <{context}>: {}", message.as_ref()))
    }

    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Ran<Flow> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.out.push_str(text);
                    Flow::On
                }
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.variables.is_empty() {
                        print::print(&value, &mut self.out);
                    }
                    Flow::On
                }
                Node::If(branch) => self.conditional(branch, dot, false)?,
                Node::With(branch) => self.conditional(branch, dot, true)?,
                Node::Range(branch) => {
                    self.range(branch, dot)?;
                    Flow::On
                }
                Node::Template { at, name, argument } => {
                    self.call_template(*at, name, argument.as_ref(), dot)?;
                    Flow::On
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::On {
                return Ok(flow);
            }
        }
        Ok(Flow::On)
    }

    fn conditional(&mut self, branch: &Branch, dot: &Value, rebind: bool) -> Ran<Flow> {
        let scope = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot)?;
        let flow = if value.is_true() {
            self.nodes(&branch.body, if rebind { &value } else { dot })
        } else {
            self.nodes(&branch.otherwise, dot)
        };
        self.variables.truncate(scope);
        flow
    }

    fn range(&mut self, branch: &Branch, dot: &Value) -> Ran<()> {
        let scope = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot)?;
        let items: Vec<(Value, Value)> = match &value {
            Value::List(list) => (0..).map(Value::Int).zip(list.iter().cloned()).collect(),
            Value::Map(map) => {
                map.entries.iter().map(|(key, item)| (Value::text(key), item.clone())).collect()
            }
            Value::Int(n) => (0..*n).map(|i| (Value::Int(i), Value::Int(i))).collect(),
            Value::Missing | Value::Nil => Vec::new(),
            other => {
                let mut shown = String::new();
                print::print(other, &mut shown);
                let context = pipeline_text(&branch.pipeline);
                return self.fail(branch.pipeline.at, &context, format!("range can't iterate over {shown}"));
            }
        };
        if items.is_empty() {
            self.nodes(&branch.otherwise, dot)?;
        }
        // The pipeline has already set its variables, to the whole; each turn sets them anew.
        for (key, item) in items {
            self.variables.truncate(scope);
            match branch.pipeline.variables.as_slice() {
                [one] => self.variables.push((one.clone(), item.clone())),
                [first, second] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), item.clone()));
                }
                _ => {}
            }
            if self.nodes(&branch.body, &item)? == Flow::Break {
                break;
            }
        }
        self.variables.truncate(scope);
        Ok(())
    }

    fn call_template(&mut self, at: usize, name: &str, argument: Option<&Pipeline>, dot: &Value) -> Ran<()> {
        let context = format!("{{{{template {}}}}}", quote(name));
        let template = self.template;
        let Some(body) = template.defined.get(name) else {
            return self.fail(at, &context, format!("template {} not defined", quote(name)));
        };
        if self.depth == MAX_DEPTH {
            return self.fail(at, &context, format!("exceeded maximum template depth ({MAX_DEPTH})"));
        }
        let value = match argument {
            Some(pipeline) => self.pipeline(pipeline, dot)?,
            None => Value::Missing,
        };
        let outer = std::mem::replace(&mut self.variables, vec![(String::new(), value.clone())]);
        self.depth += 1;
        let ran = self.nodes(body, &value);
        self.depth -= 1;
        self.variables = outer;
        ran.map(|_| ())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Ran<Value> {
        let mut value = None;
        for command in &pipeline.commands {
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or_default();
        for name in &pipeline.variables {
            if pipeline.assign {
                match self.variables.iter_mut().rev().find(|(n, _)| n == name) {
                    Some(slot) => slot.1 = value.clone(),
                    None => {
                        let context = pipeline_text(pipeline);
                        return self.fail(pipeline.at, &context, format!("undefined variable: ${name}"));
                    }
                }
            } else {
                self.variables.push((name.clone(), value.clone()));
            }
        }
        Ok(value)
    }

    fn command(&mut self, command: &Command, dot: &Value, last: Option<Value>) -> Ran<Value> {
        let Some((first, rest)) = command.words.split_first() else { return Ok(Value::Missing) };
        match &first.kind {
            OperandKind::Function(name) => {
                let mut arguments = Vec::with_capacity(rest.len() + 1);
                // `and` and `or` stop as soon as they know.
                let wanted = match name.as_str() {
                    "and" => Some(false),
                    "or" => Some(true),
                    _ => None,
                };
                for word in rest {
                    let value = self.operand(word, dot)?;
                    if wanted.is_some_and(|wanted| value.is_true() == wanted) {
                        return Ok(value);
                    }
                    arguments.push(value);
                }
                arguments.extend(last);
                funcs::call(name, &arguments, self.functions).or_else(|fault| {
                    // A value of a wrong type is complained about where it stands.
                    let wrong = match &fault {
                        Fault::Type { got, .. } => {
                            let at = arguments.iter().position(|value| value.type_name() == *got);
                            at.and_then(|at| rest.get(at))
                        }
                        _ => None,
                    };
                    let (at, context) = match wrong {
                        Some(word) => (word.at, operand_text(word)),
                        None => (command.at, command_text(command)),
                    };
                    self.fail(at, &context, fault.describe(name))
                })
            }
            OperandKind::Field(path) => {
                let arguments = self.arguments(rest, dot, last)?;
                self.fields(first, dot.clone(), path, &arguments)
            }
            OperandKind::Variable(name, path) if !path.is_empty() => {
                let arguments = self.arguments(rest, dot, last)?;
                let receiver = self.variable(first, name)?;
                self.fields(first, receiver, path, &arguments)
            }
            OperandKind::Nil => self.fail(first.at, "nil", "nil is not a command"),
            _ if !rest.is_empty() || last.is_some() => {
                let text = operand_text(first);
                self.fail(first.at, &text, format!("can't give argument to non-function {text}"))
            }
            _ => self.operand(first, dot),
        }
    }

    fn arguments(&mut self, words: &[Operand], dot: &Value, last: Option<Value>) -> Ran<Vec<Value>> {
        let mut arguments = Vec::new();
        for word in words {
            arguments.push(self.operand(word, dot)?);
        }
        arguments.extend(last);
        Ok(arguments)
    }

    fn variable(&self, operand: &Operand, name: &str) -> Ran<Value> {
        match self.variables.iter().rev().find(|(n, _)| n == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.fail(operand.at, &format!("${name}"), format!("undefined variable: ${name}")),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Ran<Value> {
        match &operand.kind {
            OperandKind::Dot => Ok(dot.clone()),
            OperandKind::Nil => Ok(Value::Missing),
            OperandKind::Bool(value) => Ok(Value::Bool(*value)),
            OperandKind::Int(value) => Ok(Value::Int(*value)),
            OperandKind::Float(value) => Ok(Value::Float(*value)),
            OperandKind::Str(text) => Ok(Value::text(text)),
            OperandKind::Field(path) => self.fields(operand, dot.clone(), path, &[]),
            OperandKind::Variable(name, path) => {
                let receiver = self.variable(operand, name)?;
                self.fields(operand, receiver, path, &[])
            }
            OperandKind::Function(name) => funcs::call(name, &[], self.functions)
                .or_else(|error| self.fail(operand.at, name, error.describe(name))),
            OperandKind::Paren(pipeline, path) => {
                let scope = self.variables.len();
                let value = self.pipeline(pipeline, dot)?;
                self.variables.truncate(scope);
                self.fields(operand, value, path, &[])
            }
        }
    }

    /// Follows `path` from `receiver`; the last step gets the arguments.
    fn fields(&self, node: &Operand, receiver: Value, path: &[String], arguments: &[Value]) -> Ran<Value> {
        let mut value = receiver;
        for (i, name) in path.iter().enumerate() {
            let arguments = if i + 1 == path.len() { arguments } else { &[] };
            value = self.field(node, &value, name, arguments)?;
        }
        Ok(value)
    }

    fn field(&self, node: &Operand, receiver: &Value, name: &str, arguments: &[Value]) -> Ran<Value> {
        let fail = |message: String| self.fail(node.at, &operand_text(node), message);
        let found = match receiver {
            Value::Missing => match self.missing {
                MissingKey::Error => return fail(format!("nil data; no entry for key {}", quote(name))),
                MissingKey::NoValue => return Ok(Value::Missing),
            },
            Value::Nil => return fail(format!("nil pointer evaluating interface {{}}.{name}")),
            Value::Map(map) => match map.entries.binary_search_by(|(key, _)| key.as_str().cmp(name)) {
                Ok(at) => &map.entries[at].1,
                Err(_) if self.missing == MissingKey::Error => {
                    return fail(format!("map has no entry for key {}", quote(name)));
                }
                Err(_) => return Ok(Value::Missing),
            },
            Value::Struct(value) => match value.fields.iter().find(|(field, _)| *field == name) {
                Some((_, found)) => found,
                None => {
                    return fail(format!("can't evaluate field {name} in type {}", receiver.type_name()));
                }
            },
            other => return fail(format!("can't evaluate field {name} in type {}", other.type_name())),
        };
        match (found, arguments) {
            (Value::Lookup(entries), [Value::Str(key)]) => {
                let hit = entries.iter().find(|(k, _)| k == key);
                Ok(Value::text(hit.map_or("", |(_, value)| value.as_str())))
            }
            (Value::LabelHeader, [Value::Str(key)]) => {
                Ok(Value::text(key.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " ")))
            }
            (Value::Lookup(_) | Value::LabelHeader, arguments) => {
                fail(format!("wrong number of args for {name}: want 1 got {}", arguments.len()))
            }
            (_, [_, ..]) => fail(format!("{name} is not a method but has arguments")),
            (value, []) => Ok(value.clone()),
        }
    }
}

fn pipeline_text(pipeline: &Pipeline) -> String {
    let commands: Vec<String> = pipeline.commands.iter().map(command_text).collect();
    let body = commands.join(" | ");
    if pipeline.variables.is_empty() {
        return body;
    }
    let names: Vec<String> = pipeline.variables.iter().map(|name| format!("${name}")).collect();
    format!("{} {} {body}", names.join(", "), if pipeline.assign { "=" } else { ":=" })
}

fn command_text(command: &Command) -> String {
    command.words.iter().map(operand_text).collect::<Vec<_>>().join(" ")
}

fn operand_text(operand: &Operand) -> String {
    let dotted = |path: &[String]| path.iter().flat_map(|name| [".", name]).collect::<String>();
    match &operand.kind {
        OperandKind::Dot => ".".to_owned(),
        OperandKind::Nil => "nil".to_owned(),
        OperandKind::Bool(value) => value.to_string(),
        OperandKind::Int(value) => value.to_string(),
        OperandKind::Float(value) => value.to_string(),
        OperandKind::Str(text) => quote(text),
        OperandKind::Field(path) => dotted(path),
        OperandKind::Variable(name, path) => format!("${name}{}", dotted(path)),
        OperandKind::Function(name) => name.clone(),
        OperandKind::Paren(pipeline, path) => format!("({}){}", pipeline_text(pipeline), dotted(path)),
    }
}

/// For functions that build lists.
pub(super) fn strings(items: impl IntoIterator<Item = String>) -> Value {
    Value::List(Rc::new(items.into_iter().map(Value::Str).collect()))
}
