//! Where the specification decides: what a field must be, by the configuration alone.

use serde_json::Value;

use crate::candidate::{Against, Candidate};
use crate::case::{Case, Step};
use crate::command::Ended;
use crate::observed::Observed;
use crate::rules::{self, Must, Rule};

const START: &str = "runtime.md, Start: starting a container that is not `created` MUST have no effect and MUST generate an error";
const DELETE: &str = "runtime.md, Delete: deleting a container that is not `stopped` MUST have no effect and MUST generate an error";
const DELETED: &str =
    "runtime.md, Delete: the resources that were created during the create step MUST be deleted";
const CREATE: &str = "runtime.md, Create: if the runtime cannot apply a property, it MUST generate an error and a new container MUST NOT \
                      be created";
const REFUSED: &str = "a configuration that must be refused";

/// What a subject did otherwise than the specification says.
pub(crate) fn judge(side: usize, case: &Case, config: &Value, seen: &Observed) -> Vec<Candidate> {
    let lie = |field: &str, source: &'static str, expected: Value, observed: Option<Value>| Candidate {
        side,
        against: Against::Specification(source),
        field: field.to_owned(),
        expected: Some(expected),
        observed,
    };
    let mut lies = Vec::new();
    let starts = seen.ended("start") == Some(Ended::Done);
    if case.refused_by().is_some() {
        if starts {
            lies.push(lie("operation.start", REFUSED, "refused".into(), Some("done".into())));
        }
    } else {
        let broken = |rule: &Rule| match (&rule.must, seen.fields.get(&rule.field)) {
            (_, None) => false,
            (Must::Be(wanted), Some(value)) => value != wanted,
            (Must::NotBe(unwanted), Some(value)) => value == unwanted,
        };
        for rule in rules::of(case, config).into_iter().filter(broken) {
            let expected = match rule.must {
                Must::Be(value) => value,
                Must::NotBe(value) => format!("not {value}").into(),
            };
            let observed = seen.fields.get(&rule.field).cloned();
            lies.push(lie(&rule.field, rule.source, expected, observed));
        }
    }
    for (name, step, source) in refused_steps(case) {
        if seen.ended(&name) == Some(Ended::Done) {
            let field = format!("operation.{}", step.command());
            lies.push(lie(&field, source, "refused".into(), Some("done".into())));
        }
    }
    let is_created = seen.ended("create") == Some(Ended::Done);
    let source = if is_created { DELETED } else { CREATE };
    let left = seen.fields.iter().filter(|(field, _)| field.starts_with("left."));
    lies.extend(left.map(|(field, value)| lie(field, source, "nothing".into(), Some(value.clone()))));
    for (name, ended, _) in &seen.operations {
        if matches!(ended, Ended::Hung | Ended::Crashed) {
            let name = name.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == ' ');
            lies.push(lie(
                &format!("operation.{name}"),
                CREATE,
                "an end of its own".into(),
                Some(ended.to_string().into()),
            ));
        }
    }
    lies
}

/// Operations that must be refused: their names in an observation, and the sentences.
fn refused_steps(case: &Case) -> Vec<(String, &Step, &'static str)> {
    let numbered = case.steps.iter().enumerate();
    let named = numbered.filter_map(|(number, step)| match step {
        Step::Start => Some((format!("{} start", number + 1), step, START)),
        Step::Delete => Some((format!("{} delete", number + 1), step, DELETE)),
        _ => None,
    });
    named.collect()
}
