//! Small changes of one field.

use serde_json::{Value, json};

use super::difference::{Field, below};
use super::random::number;

/// One change of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Edit {
    /// Where, as a JSON pointer.
    pub pointer: String,
    /// What was there; nothing if it is added.
    pub before: Option<Value>,
    /// What is there instead; nothing if it is taken away.
    pub after: Option<Value>,
}

/// Parts without which an object means nothing: a subject refuses it, and that is no claim of a check's.
const PARTS: &[&str] = &[
    "type",
    "source",
    "destination",
    "action",
    "op",
    "index",
    "defaultAction",
    "names",
    "soft",
    "hard",
    "containerID",
    "hostID",
    "size",
    "major",
    "minor",
    "path",
    "allow",
    "syscalls",
    "options",
];

/// Words that stand for another one.
const OTHERS: &[(&str, &str)] = &[
    ("ro", "rw"),
    ("rro", "ro"),
    ("rw", "ro"),
    ("nosuid", "suid"),
    ("noexec", "exec"),
    ("nodev", "dev"),
    ("suid", "nosuid"),
    ("exec", "noexec"),
    ("dev", "nodev"),
    ("private", "shared"),
    ("rprivate", "rshared"),
    ("slave", "shared"),
    ("rslave", "rshared"),
    ("shared", "private"),
    ("rshared", "rprivate"),
    ("unbindable", "private"),
    ("rbind", "bind"),
    ("bind", "rbind"),
    ("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"),
    ("SCMP_ACT_ERRNO", "SCMP_ACT_ALLOW"),
    ("SCMP_ACT_KILL", "SCMP_ACT_ALLOW"),
    ("SCMP_ACT_KILL_PROCESS", "SCMP_ACT_ALLOW"),
    ("SCMP_ACT_NOTIFY", "SCMP_ACT_ALLOW"),
    ("SCMP_CMP_EQ", "SCMP_CMP_NE"),
    ("SCMP_CMP_NE", "SCMP_CMP_EQ"),
    ("SCMP_CMP_LT", "SCMP_CMP_GE"),
    ("SCMP_CMP_GE", "SCMP_CMP_LT"),
    ("SCMP_CMP_LE", "SCMP_CMP_GT"),
    ("SCMP_CMP_GT", "SCMP_CMP_LE"),
    ("SCMP_CMP_MASKED_EQ", "SCMP_CMP_EQ"),
    ("SCHED_BATCH", "SCHED_OTHER"),
    ("SCHED_IDLE", "SCHED_OTHER"),
    ("SCHED_FIFO", "SCHED_RR"),
    ("SCHED_RR", "SCHED_FIFO"),
    ("SCHED_OTHER", "SCHED_BATCH"),
    ("IOPRIO_CLASS_IDLE", "IOPRIO_CLASS_BE"),
    ("IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"),
    ("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE"),
    ("LINUX32", "LINUX"),
    ("LINUX", "LINUX32"),
];

/// A capability that nobody has asked for yet.
const MORE_CAPABILITIES: &[&str] = &["CAP_NET_ADMIN", "CAP_SYS_TIME", "CAP_SYS_PTRACE", "CAP_NET_RAW"];

/// All small changes of a field. The seed decides by how much numbers change.
pub(super) fn edits(field: &Field, seed: u64) -> Vec<Edit> {
    let mut found = Vec::new();
    let edit = |before, after| Edit { pointer: field.pointer.clone(), before, after };
    match (&field.asked, &field.usual) {
        (None, usual) => found.push(edit(None, usual.clone())),
        (Some(asked), None) => {
            if !is_part(&field.pointer) {
                found.push(edit(Some(asked.clone()), None));
            }
            descend(&field.pointer, asked, seed, &mut found);
        }
        (Some(asked), Some(usual)) => {
            found.push(edit(Some(asked.clone()), Some(usual.clone())));
            descend(&field.pointer, asked, seed, &mut found);
        }
    }
    found.retain(|edit| edit.before != edit.after);
    found
}

/// What could be added to an array that a check changed: one more element of its kind.
pub(super) fn addition(pointer: &str, array: &[Value]) -> Option<Value> {
    match last(pointer) {
        "bounding" | "effective" | "permitted" | "inheritable" | "ambient" => {
            let is_new = |name: &&&str| !array.contains(&json!(name));
            MORE_CAPABILITIES.iter().find(is_new).map(|name| json!(name))
        }
        "additionalGids" => Some(json!(array.iter().filter_map(Value::as_u64).max().unwrap_or(0) + 77)),
        "devices" if pointer.ends_with("/resources/devices") => Some(json!({"allow": true, "access": "rwm"})),
        _ => None,
    }
}

fn descend(pointer: &str, value: &Value, seed: u64, found: &mut Vec<Edit>) {
    match value {
        Value::Object(all) => {
            for (key, part) in all {
                let place = below(pointer, key);
                if all.len() > 1 && !is_part(&place) {
                    found.push(Edit { pointer: place.clone(), before: Some(part.clone()), after: None });
                }
                descend(&place, part, seed, found);
            }
        }
        Value::Array(all) => {
            for (index, part) in all.iter().enumerate() {
                let place = below(pointer, &index.to_string());
                if all.len() > 1 {
                    found.push(Edit { pointer: place.clone(), before: Some(part.clone()), after: None });
                }
                descend(&place, part, seed, found);
            }
            if let Some(more) = addition(pointer, all) {
                found.push(Edit { pointer: below(pointer, "-"), before: None, after: Some(more) });
            }
        }
        _ => found.extend(leaves(pointer, value, seed).into_iter().map(|after| Edit {
            pointer: pointer.to_owned(),
            before: Some(value.clone()),
            after: Some(after),
        })),
    }
}

/// What a value that has no parts can be instead.
fn leaves(pointer: &str, value: &Value, seed: u64) -> Vec<Value> {
    match value {
        Value::Bool(value) => vec![json!(!value)],
        Value::Number(number) => match number.as_i64() {
            Some(number) => scaled(pointer, number, seed).into_iter().map(|number| json!(number)).collect(),
            None => Vec::new(),
        },
        Value::String(text) => texts(pointer, text, seed).into_iter().map(Value::String).collect(),
        _ => Vec::new(),
    }
}

/// A number times 0.5 to 1.5, once less and once more.
fn scaled(pointer: &str, number: i64, seed: u64) -> Vec<i64> {
    let chance = super::random::number(seed, &[pointer, &number.to_string()]);
    // By at least a fifth: what is nearer to the number than a measurement can tell is no mutation.
    let (less, more) = (50 + (chance % 31), 120 + ((chance >> 8) % 31));
    // Away from the number, so that it is another one, and not further than to the half of it.
    let times = |percent: u64, rounded: i128| {
        let product = i128::from(number) * i128::from(percent) + rounded;
        i64::try_from(product / 100).unwrap_or(number)
    };
    let mut both = match number {
        0 => vec![1],
        1 => vec![0, 2],
        _ if number < 0 => vec![-number],
        _ => vec![times(less, 99).min(number - 1), times(more, 0).max(number.saturating_add(1))],
    };
    both.retain(|other| *other != number);
    both
}

fn texts(pointer: &str, text: &str, seed: u64) -> Vec<String> {
    // The type of a mount or device is a part of what it is.
    if last(pointer) == "type" {
        return Vec::new();
    }
    if last(pointer) == "access" {
        let shorter = text.char_indices().map(|(at, _)| without(text, at));
        return shorter.filter(|text| !text.is_empty()).collect();
    }
    if let Some((_, other)) = OTHERS.iter().find(|(word, _)| *word == text) {
        return vec![(*other).to_owned()];
    }
    if text.starts_with("CAP_") {
        let other = MORE_CAPABILITIES.iter().find(|name| **name != text);
        return other.map(|name| (*name).to_owned()).into_iter().collect();
    }
    match last(pointer) {
        "hostname" | "domainname" => return vec![format!("{text}x")],
        "cpus" | "mems" if text.contains(['-', ',']) => {
            return vec![text.split(['-', ',']).next().unwrap_or_default().to_owned()];
        }
        _ => {}
    }
    if pointer.starts_with("/env/") || pointer.contains("/process/env/") {
        return vec![format!("{text}x")];
    }
    numbers_in(pointer, text, seed)
}

fn without(text: &str, at: usize) -> String {
    text.char_indices().filter(|(index, _)| *index != at).map(|(_, letter)| letter).collect()
}

/// `size=64m`, `1000:1000`, `0.2`, `512`: the first number, scaled. A path is no number.
fn numbers_in(pointer: &str, text: &str, seed: u64) -> Vec<String> {
    if text.contains('/') {
        return without_read_only(text);
    }
    let value = text.split_once('=').map_or(text, |(_, value)| value);
    let starts_right = value.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    let Some(at) = value.find(|letter: char| letter.is_ascii_digit()).filter(|_| starts_right) else {
        return Vec::new();
    };
    let start = text.len() - value.len() + at;
    let length = text[start..].find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len() - start);
    let digits = &text[start..start + length];
    if let Some(rest) = text[start + length..].strip_prefix('.') {
        return fractions(&text[..start], digits, rest);
    }
    let Ok(found) = digits.parse() else { return Vec::new() };
    let numbers = scaled(pointer, found, seed);
    let written = |number: i64| format!("{}{number}{}", &text[..start], &text[start + length..]);
    numbers.into_iter().map(written).collect()
}

/// A decimal fraction, halved and half as large again.
fn fractions(before: &str, whole: &str, rest: &str) -> Vec<String> {
    let Ok(number) = format!("{whole}.{rest}").parse::<f64>() else { return Vec::new() };
    vec![format!("{before}{}", number * 0.5), format!("{before}{}", number * 1.5)]
}

/// `/source:/destination:ro` as an engine takes it.
fn without_read_only(text: &str) -> Vec<String> {
    let plain = text.strip_suffix(":ro").or_else(|| text.strip_suffix(",readonly"));
    plain.or_else(|| text.strip_suffix(",ro")).map(str::to_owned).into_iter().collect()
}

fn is_part(pointer: &str) -> bool {
    PARTS.contains(&last(pointer))
}

pub(super) fn last(pointer: &str) -> &str {
    pointer.rsplit('/').next().unwrap_or_default()
}

/// Some of the changes, so that each field has one before any has two; which, the seed decides.
pub(super) fn choose<T>(all: Vec<(String, T)>, seed: u64, most: usize) -> Vec<T> {
    let mut ranked: Vec<(usize, u64, T)> = Vec::with_capacity(all.len());
    let mut seen: Vec<(String, usize)> = Vec::new();
    let mut keyed: Vec<(u64, String, T)> = all
        .into_iter()
        .enumerate()
        .map(|(at, (pointer, item))| (number(seed, &[&pointer, &at.to_string()]), pointer, item))
        .collect();
    keyed.sort_by_key(|(chance, ..)| *chance);
    for (chance, pointer, item) in keyed {
        let place = seen.iter_mut().find(|(known, _)| *known == pointer);
        let round = match place {
            Some((_, count)) => {
                *count += 1;
                *count
            }
            None => {
                seen.push((pointer, 0));
                0
            }
        };
        ranked.push((round, chance, item));
    }
    ranked.sort_by_key(|(round, chance, _)| (*round, *chance));
    ranked.into_iter().take(most).map(|(.., item)| item).collect()
}

impl Edit {
    /// Does it; says whether the document has the place.
    pub fn apply(&self, document: &mut Value) -> bool {
        let Some((parent, part)) = self.pointer.rsplit_once('/') else { return false };
        let part = part.replace("~1", "/").replace("~0", "~");
        let Some(parent) = document.pointer_mut(parent) else { return false };
        match (parent, &self.after) {
            (Value::Object(all), Some(after)) => {
                all.insert(part, after.clone());
                true
            }
            (Value::Object(all), None) => all.shift_remove(&part).is_some(),
            (Value::Array(all), Some(after)) if part == "-" => {
                all.push(after.clone());
                true
            }
            (Value::Array(all), after) => {
                let Ok(index) = part.parse::<usize>() else { return false };
                match (all.get_mut(index), after) {
                    (None, _) => return false,
                    (Some(place), Some(after)) => *place = after.clone(),
                    (Some(_), None) => drop(all.remove(index)),
                }
                true
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Edit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{}: {before} -> {after}", self.pointer),
            (Some(before), None) => write!(f, "{}: {before} removed", self.pointer),
            (None, Some(after)) => write!(f, "{}: {after} added", self.pointer),
            (None, None) => write!(f, "{}: nothing", self.pointer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pointer: &str, asked: Value) -> Vec<String> {
        let field = Field { pointer: pointer.into(), asked: Some(asked), usual: None };
        edits(&field, 1).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_number_becomes_half_to_half_as_much_again() {
        for number in [2, 3, 16, 20_000, i64::MAX] {
            for other in scaled("/x", number, 7) {
                let ratio = other as f64 / number as f64;
                assert!(other != number && (0.5..=1.5).contains(&ratio), "{number} -> {other}");
            }
        }
        assert_eq!(scaled("/x", 0, 7), [1]);
        assert_eq!(scaled("/x", -1, 7), [1]);
    }

    #[test]
    fn every_kind_of_field_has_its_mutations() {
        assert_eq!(of("/readonly", json!(true)), ["/readonly: true removed", "/readonly: true -> false"]);
        assert_eq!(of("/mounts/8/options/1", json!("ro"))[1], "/mounts/8/options/1: \"ro\" -> \"rw\"");
        assert!(of("/mounts/8/options/1", json!("size=64k"))[1].contains("size="));
        assert_eq!(of("/cpu/cpus", json!("0-1"))[1], "/cpu/cpus: \"0-1\" -> \"0\"");
        assert_eq!(of("/d/access", json!("rw")).len(), 3);
        assert_eq!(of("/-v", json!("/a:/b:ro"))[1], "/-v: \"/a:/b:ro\" -> \"/a:/b\"");
        assert_eq!(of("/--cpus", json!("0.2"))[1], "/--cpus: \"0.2\" -> \"0.1\"");
        assert_eq!(of("/x", json!("/a/path")).len(), 1, "a path has no neighbour");
        let added = of("/process/capabilities/ambient", json!(["CAP_KILL"]));
        assert!(added.iter().any(|edit| edit.ends_with("added")), "{added:?}");
    }

    #[test]
    fn an_edit_changes_its_place_alone() {
        let mut document = json!({"a": [1, 2, 3], "b": {"c/d": true}});
        let edit =
            |pointer: &str, after: Option<Value>| Edit { pointer: pointer.into(), before: None, after };
        assert!(edit("/a/1", None).apply(&mut document));
        assert!(edit("/a/-", Some(json!(4))).apply(&mut document));
        assert!(edit("/b/c~1d", Some(json!(false))).apply(&mut document));
        assert!(!edit("/z/0", None).apply(&mut document));
        assert_eq!(document, json!({"a": [1, 3, 4], "b": {"c/d": false}}));
    }

    #[test]
    fn the_choice_is_the_same_for_a_seed_and_gives_each_field_one_first() {
        let all = || (0..12).map(|n| (format!("/{}", n % 4), n)).collect::<Vec<_>>();
        let first = choose(all(), 5, 4);
        assert_eq!(first, choose(all(), 5, 4));
        let fields: std::collections::BTreeSet<i32> = first.iter().map(|n| n % 4).collect();
        assert_eq!(fields.len(), 4);
        assert_ne!(choose(all(), 6, 12), choose(all(), 5, 12));
    }
}
