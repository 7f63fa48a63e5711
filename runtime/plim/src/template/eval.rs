//! What a template's nodes give. Source: Go's text/template, "Functions", and Docker's list of its own.

use serde_json::Value;

use super::parse::{Node, Pipe, Term};

type Wrong = String;

/// Fills nodes from a value.
pub(super) fn fill(nodes: &[Node], from: &Value) -> Result<String, Wrong> {
    let mut filler = Filler { text: String::new(), variables: vec![(String::new(), from.clone())] };
    filler.nodes(nodes, from)?;
    Ok(filler.text)
}

struct Filler {
    text: String,
    /// The latest last; the first, without a name, is the whole.
    variables: Vec<(String, Value)>,
}

impl Filler {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), Wrong> {
        let known = self.variables.len();
        for node in nodes {
            match node {
                Node::Text(text) => self.text.push_str(text),
                Node::Output(pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    self.text.push_str(&shown(&value));
                }
                Node::Set(name, pipe) => {
                    let value = self.pipe(pipe, dot)?;
                    self.variables.push((name.clone(), value));
                }
                Node::If(condition, then, otherwise) => {
                    let holds = truth(&self.pipe(condition, dot)?);
                    self.nodes(if holds { then } else { otherwise }, dot)?;
                }
                Node::With(pipe, body, otherwise) => {
                    let value = self.pipe(pipe, dot)?;
                    if truth(&value) { self.nodes(body, &value)? } else { self.nodes(otherwise, dot)? }
                }
                Node::Range { names, over, body, otherwise } => {
                    let value = self.pipe(over, dot)?;
                    self.range(names, &value, body, otherwise, dot)?;
                }
            }
        }
        self.variables.truncate(known);
        Ok(())
    }

    fn range(
        &mut self,
        names: &[String],
        value: &Value,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<(), Wrong> {
        let items: Vec<(Value, &Value)> = match value {
            Value::Array(items) => items.iter().enumerate().map(|(at, item)| (at.into(), item)).collect(),
            Value::Object(fields) => {
                let mut items: Vec<_> = fields.iter().collect();
                items.sort_by_key(|(name, _)| *name);
                items.into_iter().map(|(name, item)| (name.as_str().into(), item)).collect()
            }
            Value::Null => Vec::new(),
            other => return Err(format!("range cannot go over {}", shown(other))),
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        let known = self.variables.len();
        for (key, item) in items {
            match names {
                [one] => self.variables.push((one.clone(), item.clone())),
                [one, two] => {
                    self.variables.push((one.clone(), key));
                    self.variables.push((two.clone(), item.clone()));
                }
                _ => {}
            }
            self.nodes(body, item)?;
            self.variables.truncate(known);
        }
        Ok(())
    }

    fn pipe(&self, pipe: &Pipe, dot: &Value) -> Result<Value, Wrong> {
        let mut last = None;
        for command in &pipe.0 {
            last = Some(self.command(command, last, dot)?);
        }
        last.ok_or_else(|| "a value is missing".to_owned())
    }

    fn command(&self, terms: &[Term], piped: Option<Value>, dot: &Value) -> Result<Value, Wrong> {
        let (first, rest) = terms.split_first().ok_or("a value is missing")?;
        if let Term::Function(name) = first {
            let mut arguments =
                rest.iter().map(|term| self.term(term, dot)).collect::<Result<Vec<_>, _>>()?;
            arguments.extend(piped);
            return call(name, &arguments);
        }
        if !rest.is_empty() || piped.is_some() {
            return Err("a value takes no arguments: a function is expected there".to_owned());
        }
        self.term(first, dot)
    }

    fn term(&self, term: &Term, dot: &Value) -> Result<Value, Wrong> {
        match term {
            Term::Literal(value) => Ok(value.clone()),
            Term::Dot(path) => look(dot, path, ""),
            Term::Variable(name, path) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                let (_, value) = found.ok_or_else(|| format!("there is no variable '${name}'"))?;
                look(value, path, &format!("${name}"))
            }
            Term::Nested(pipe, path) => look(&self.pipe(pipe, dot)?, path, "(...)"),
            Term::Function(name) => call(name, &[]),
        }
    }
}

fn look(from: &Value, path: &[String], start: &str) -> Result<Value, Wrong> {
    let mut at = from;
    for (number, name) in path.iter().enumerate() {
        at = at.get(name).ok_or_else(|| format!("there is no '{start}.{}'", path[..=number].join(".")))?;
    }
    Ok(at.clone())
}

/// As Go prints a value.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let mut fields: Vec<_> =
                fields.iter().map(|(name, value)| format!("{name}:{}", shown(value))).collect();
            fields.sort();
            format!("map[{}]", fields.join(" "))
        }
        other => other.to_string(),
    }
}

fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

fn call(name: &str, arguments: &[Value]) -> Result<Value, Wrong> {
    let text = |at: usize| -> Result<&str, Wrong> {
        arguments
            .get(at)
            .and_then(Value::as_str)
            .ok_or_else(|| format!("{name} needs a text as argument {}", at + 1))
    };
    let number = |at: usize| -> Result<usize, Wrong> {
        let found = arguments.get(at).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
        found
            .filter(|number| *number <= 1 << 20)
            .ok_or_else(|| format!("{name} needs a number as argument {}", at + 1))
    };
    let one = || arguments.first().ok_or_else(|| format!("{name} needs an argument"));
    Ok(match name {
        "json" => one()?.to_string().into(),
        "join" => {
            let items = arguments.first().and_then(Value::as_array).ok_or("join needs a list")?;
            items.iter().map(shown).collect::<Vec<_>>().join(text(1)?).into()
        }
        "split" => text(0)?.split(text(1)?).map(Value::from).collect::<Vec<_>>().into(),
        "upper" => text(0)?.to_uppercase().into(),
        "lower" => text(0)?.to_lowercase().into(),
        "title" => titled(text(0)?).into(),
        "truncate" => text(0)?.chars().take(number(1)?).collect::<String>().into(),
        "pad" => format!("{}{}{}", " ".repeat(number(1)?), text(0)?, " ".repeat(number(2)?)).into(),
        "len" => length(one()?)?.into(),
        "index" => index(one()?, &arguments[1..])?,
        "slice" => slice(text(0)?, number(1)?, arguments.get(2).map(|_| number(2)).transpose()?)?.into(),
        "print" => arguments.iter().map(shown).collect::<String>().into(),
        "println" => format!("{}\n", arguments.iter().map(shown).collect::<Vec<_>>().join(" ")).into(),
        "printf" => printf(text(0)?, &arguments[1..])?.into(),
        "not" => (!truth(one()?)).into(),
        "and" => {
            arguments.iter().find(|value| !truth(value)).or(arguments.last()).cloned().unwrap_or_default()
        }
        "or" => arguments.iter().find(|value| truth(value)).or(arguments.last()).cloned().unwrap_or_default(),
        "eq" => arguments.iter().skip(1).any(|other| Some(other) == arguments.first()).into(),
        "ne" => (arguments.first() != arguments.get(1)).into(),
        "lt" | "le" | "gt" | "ge" => compared(name, arguments)?.into(),
        _ => return Err(format!("there is no function '{name}'")),
    })
}

fn compared(name: &str, arguments: &[Value]) -> Result<bool, Wrong> {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = match arguments {
        [Value::Number(one), Value::Number(two)] => one.as_f64().partial_cmp(&two.as_f64()),
        [Value::String(one), Value::String(two)] => Some(one.cmp(two)),
        _ => None,
    };
    let order = order.ok_or_else(|| format!("{name} needs two numbers or two texts"))?;
    Ok(match name {
        "lt" => order == Less,
        "le" => matches!(order, Less | Equal),
        "gt" => order == Greater,
        _ => matches!(order, Greater | Equal),
    })
}

fn titled(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn length(value: &Value) -> Result<usize, Wrong> {
    match value {
        Value::String(text) => Ok(text.len()),
        Value::Array(items) => Ok(items.len()),
        Value::Object(fields) => Ok(fields.len()),
        other => Err(format!("len of {}", shown(other))),
    }
}

fn index(value: &Value, keys: &[Value]) -> Result<Value, Wrong> {
    let mut at = value.clone();
    for key in keys {
        let found = match (&at, key) {
            (Value::Array(items), Value::Number(number)) => {
                number.as_u64().and_then(|number| items.get(usize::try_from(number).ok()?)).cloned()
            }
            // A map gives nothing for a key that it lacks.
            (Value::Object(fields), Value::String(name)) => {
                Some(fields.get(name).cloned().unwrap_or_default())
            }
            _ => None,
        };
        at = found.ok_or_else(|| format!("index {} is not in {}", shown(key), shown(&at)))?;
    }
    Ok(at)
}

fn slice(text: &str, from: usize, to: Option<usize>) -> Result<String, Wrong> {
    let to = to.unwrap_or(text.len());
    text.get(from..to).map(str::to_owned).ok_or_else(|| format!("slice {from} to {to} is not in '{text}'"))
}

/// The verbs that people use: %s %v %d %q %t %%, with a width.
fn printf(format: &str, values: &[Value]) -> Result<String, Wrong> {
    let mut text = String::new();
    let mut values = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(next) = chars.next() {
        if next != '%' {
            text.push(next);
            continue;
        }
        if chars.next_if_eq(&'%').is_some() {
            text.push('%');
            continue;
        }
        let left = chars.next_if_eq(&'-').is_some();
        let mut width = 0;
        while let Some(digit) = chars.next_if(char::is_ascii_digit) {
            width = (width * 10 + usize::try_from(digit.to_digit(10).unwrap_or(0)).unwrap_or(0)).min(1000);
        }
        let verb = chars.next().ok_or("a format ends with '%'")?;
        let value = values.next().ok_or_else(|| format!("%{verb} has no value"))?;
        let one = match verb {
            's' | 'v' | 'd' | 't' => shown(value),
            'q' => format!("{:?}", shown(value)),
            other => return Err(format!("unknown verb '%{other}'")),
        };
        text.push_str(&if left { format!("{one:<width$}") } else { format!("{one:>width$}") });
    }
    Ok(text)
}
