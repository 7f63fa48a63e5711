//! From a template's text to its nodes.

use serde_json::{Number, Value};

/// How deep parentheses and blocks may nest.
const DEEPEST: usize = 100;

/// A part of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Output(Pipe),
    Set(String, Pipe),
    If(Pipe, Vec<Node>, Vec<Node>),
    With(Pipe, Vec<Node>, Vec<Node>),
    Range { names: Vec<String>, over: Pipe, body: Vec<Node>, otherwise: Vec<Node> },
}

/// Commands, each of which takes what the one before gives.
#[derive(Debug)]
pub(super) struct Pipe(pub(super) Vec<Vec<Term>>);

/// A function's name or a value.
#[derive(Debug)]
pub(super) enum Term {
    Function(String),
    Literal(Value),
    /// Fields of the value at hand.
    Dot(Vec<String>),
    /// Fields of a variable; the empty name is the whole.
    Variable(String, Vec<String>),
    Nested(Pipe, Vec<String>),
}

type Wrong = String;

/// Reads a whole template.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, Wrong> {
    let mut parser = Parser { pieces: pieces(text)?, at: 0, next_condition: Vec::new() };
    let (nodes, end) = parser.block(0)?;
    match end {
        None => Ok(nodes),
        Some(word) => Err(format!("'{word}' ends nothing")),
    }
}

enum Piece {
    Text(String),
    Action(Vec<Token>),
}

/// Text and actions, with the spaces taken away that `{{-` and `-}}` ask for.
fn pieces(text: &str) -> Result<Vec<Piece>, Wrong> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trims = false;
    while let Some(start) = rest.find("{{") {
        let (before, after) = (&rest[..start], &rest[start + 2..]);
        let trims_before = after.starts_with('-') && after[1..].starts_with(char::is_whitespace);
        let before = if trims { before.trim_start() } else { before };
        let before = if trims_before { before.trim_end() } else { before };
        pieces.push(Piece::Text(before.to_owned()));
        let inside = after[usize::from(trims_before)..].trim_start();
        let remaining = if let Some(comment) = inside.strip_prefix("/*") {
            comment.split_once("*/").ok_or("a comment is not closed")?.1.trim_start()
        } else {
            let (tokens, remaining) = tokens(inside)?;
            pieces.push(Piece::Action(tokens));
            remaining
        };
        let ended = remaining.strip_prefix('-').filter(|rest| rest.starts_with("}}"));
        trims = ended.is_some();
        rest = ended.unwrap_or(remaining).strip_prefix("}}").ok_or("'{{' is not closed")?;
    }
    let last = if trims { rest.trim_start() } else { rest };
    pieces.push(Piece::Text(last.to_owned()));
    Ok(pieces)
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// With the fields right behind it.
    Variable(String, Vec<String>),
    /// `)`, with the fields right behind it.
    Close(Vec<String>),
    /// `.a.b`, or a dot alone.
    Fields(Vec<String>),
    Literal(Value),
    Mark(char),
    Assign,
}

/// The tokens of an action, and the text from its end on.
fn tokens(text: &str) -> Result<(Vec<Token>, &str), Wrong> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        if rest.starts_with("}}") || rest.starts_with("-}}") {
            return Ok((tokens, rest));
        }
        let first = rest.chars().next().ok_or("'{{' is not closed")?;
        let (token, length) = match first {
            '|' | '(' | ',' => (Token::Mark(first), 1),
            ')' => {
                let (path, length) = path(&rest[1..]);
                (Token::Close(path), 1 + length)
            }
            ':' if rest.starts_with(":=") => (Token::Assign, 2),
            '=' => (Token::Assign, 1),
            '"' => quoted(rest)?,
            '`' => {
                let end = rest[1..].find('`').ok_or("a text in ` is not closed")?;
                (Token::Literal(rest[1..=end].into()), end + 2)
            }
            '.' => {
                let (path, length) = path(rest);
                (Token::Fields(path), length)
            }
            '$' => {
                let end = 1 + name_length(&rest[1..]);
                let (path, length) = path(&rest[end..]);
                (Token::Variable(rest[1..end].to_owned(), path), end + length)
            }
            _ if first.is_ascii_digit() || first == '-' => number(rest)?,
            _ if first.is_alphabetic() || first == '_' => {
                let length = name_length(rest);
                (word(&rest[..length]), length)
            }
            _ => return Err(format!("unexpected '{first}'")),
        };
        tokens.push(token);
        rest = &rest[length..];
    }
}

fn word(text: &str) -> Token {
    match text {
        "true" => Token::Literal(true.into()),
        "false" => Token::Literal(false.into()),
        "nil" => Token::Literal(Value::Null),
        _ => Token::Word(text.to_owned()),
    }
}

fn name_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len())
}

/// `.a.b`, and its length.
fn path(text: &str) -> (Vec<String>, usize) {
    let (mut path, mut at) = (Vec::new(), 0);
    while text[at..].starts_with('.') {
        let length = name_length(&text[at + 1..]);
        at += 1 + length;
        if length == 0 {
            break;
        }
        path.push(text[at - length..at].to_owned());
    }
    (path, at)
}

fn quoted(text: &str) -> Result<(Token, usize), Wrong> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, next)) = chars.next() {
        match next {
            '"' => return Ok((Token::Literal(value.into()), at + 1)),
            '\\' => match chars.next().map(|(_, escaped)| escaped) {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some('r') => value.push('\r'),
                Some(escaped @ ('\\' | '"' | '\'')) => value.push(escaped),
                Some(other) => return Err(format!("unknown escape '\\{other}'")),
                None => break,
            },
            _ => value.push(next),
        }
    }
    Err("a text in \" is not closed".to_owned())
}

fn number(text: &str) -> Result<(Token, usize), Wrong> {
    let length = 1 + text[1..].find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len() - 1);
    let written = &text[..length];
    let number = written.parse::<i64>().ok().map(Number::from);
    let number = number.or_else(|| written.parse().ok().and_then(Number::from_f64));
    let number = number.ok_or_else(|| format!("invalid number '{written}'"))?;
    Ok((Token::Literal(Value::Number(number)), length))
}

struct Parser {
    pieces: Vec<Piece>,
    at: usize,
    /// Of an `else if`.
    next_condition: Vec<Token>,
}

impl Parser {
    /// Nodes up to `end` or `else`, which is consumed and returned with what follows it.
    fn block(&mut self, depth: usize) -> Result<(Vec<Node>, Option<String>), Wrong> {
        if depth > DEEPEST {
            return Err("blocks nest too deep".to_owned());
        }
        let mut nodes = Vec::new();
        while self.at < self.pieces.len() {
            let piece = std::mem::replace(&mut self.pieces[self.at], Piece::Text(String::new()));
            self.at += 1;
            let tokens = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            match &tokens[..] {
                [Token::Word(word)] if word == "end" || word == "else" => {
                    return Ok((nodes, Some(word.clone())));
                }
                [Token::Word(word), Token::Word(next), ..] if word == "else" && next == "if" => {
                    self.next_condition = tokens[2..].to_vec();
                    return Ok((nodes, Some("else if".to_owned())));
                }
                [Token::Word(word), rest @ ..] if matches!(word.as_str(), "if" | "with" | "range") => {
                    nodes.push(self.control(word, rest, depth + 1)?);
                }
                [Token::Word(word), ..]
                    if matches!(word.as_str(), "define" | "block" | "template" | "break" | "continue") =>
                {
                    return Err(format!("'{word}' is not supported"));
                }
                [Token::Variable(name, path), Token::Assign, rest @ ..] if path.is_empty() => {
                    nodes.push(Node::Set(name.clone(), pipe(rest, 0)?));
                }
                rest => nodes.push(Node::Output(pipe(rest, 0)?)),
            }
        }
        Ok((nodes, None))
    }

    fn control(&mut self, word: &str, tokens: &[Token], depth: usize) -> Result<Node, Wrong> {
        if word == "if" {
            return self.conditional(tokens, depth);
        }
        let (names, tokens) = variables(tokens);
        let over = pipe(tokens, 0)?;
        let (body, otherwise) = self.branches(depth)?;
        Ok(match word {
            "range" => Node::Range { names, over, body, otherwise },
            _ => Node::With(over, body, otherwise),
        })
    }

    fn conditional(&mut self, tokens: &[Token], depth: usize) -> Result<Node, Wrong> {
        let condition = pipe(tokens, 0)?;
        let (then, otherwise) = self.branches(depth)?;
        Ok(Node::If(condition, then, otherwise))
    }

    /// What is done, and what is done otherwise.
    fn branches(&mut self, depth: usize) -> Result<(Vec<Node>, Vec<Node>), Wrong> {
        let no_end = || "a block has no end".to_owned();
        let (body, end) = self.block(depth)?;
        match end.as_deref() {
            Some("end") => Ok((body, Vec::new())),
            // What follows is an `if` of its own, which takes the `end` of both.
            Some("else if") => {
                let condition = std::mem::take(&mut self.next_condition);
                Ok((body, vec![self.conditional(&condition, depth + 1)?]))
            }
            Some(_) => match self.block(depth)? {
                (otherwise, Some(end)) if end == "end" => Ok((body, otherwise)),
                (_, Some(_)) => Err("a block has two 'else'".to_owned()),
                (_, None) => Err(no_end()),
            },
            None => Err(no_end()),
        }
    }
}

/// `$a, $b :=` before a pipeline.
fn variables(tokens: &[Token]) -> (Vec<String>, &[Token]) {
    match tokens {
        [Token::Variable(one, _), Token::Assign, rest @ ..] => (vec![one.clone()], rest),
        [Token::Variable(one, _), Token::Mark(','), Token::Variable(two, _), Token::Assign, rest @ ..] => {
            (vec![one.clone(), two.clone()], rest)
        }
        rest => (Vec::new(), rest),
    }
}

fn pipe(tokens: &[Token], depth: usize) -> Result<Pipe, Wrong> {
    if depth > DEEPEST {
        return Err("parentheses nest too deep".to_owned());
    }
    let mut commands = vec![Vec::new()];
    let mut at = 0;
    while at < tokens.len() {
        let term = match &tokens[at] {
            Token::Mark('|') => {
                commands.push(Vec::new());
                at += 1;
                continue;
            }
            Token::Mark('(') => {
                let (length, path) = closing(&tokens[at + 1..]).ok_or("'(' is not closed")?;
                let inner = pipe(&tokens[at + 1..=at + length], depth + 1)?;
                at += length + 1;
                Term::Nested(inner, path)
            }
            Token::Word(name) => Term::Function(name.clone()),
            Token::Literal(value) => Term::Literal(value.clone()),
            Token::Fields(path) => Term::Dot(path.clone()),
            Token::Variable(name, path) => Term::Variable(name.clone(), path.clone()),
            Token::Close(_) => return Err("unexpected ')'".to_owned()),
            Token::Mark(mark) => return Err(format!("unexpected '{mark}'")),
            Token::Assign => return Err("unexpected ':='".to_owned()),
        };
        commands.last_mut().expect("there is always one").push(term);
        at += 1;
    }
    if commands.iter().any(Vec::is_empty) {
        return Err("a value or a function is missing".to_owned());
    }
    Ok(Pipe(commands))
}

/// Where the parenthesis ends that was opened before these tokens.
fn closing(tokens: &[Token]) -> Option<(usize, Vec<String>)> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark('(') => depth += 1,
            Token::Close(path) if depth == 0 => return Some((at, path.clone())),
            Token::Close(_) => depth -= 1,
            _ => {}
        }
    }
    None
}
