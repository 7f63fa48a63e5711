//! Fields that checks set and their claims do not speak of. A mutation of one of them need not be noticed, for the reason given.
//!
//! Source of each reason: the check's own claim, and the section of the specification that says what the field means.

/// A field, of a check or of all, and why no claim speaks of it.
#[derive(Debug, Clone, Copy)]
pub struct Background {
    /// The check's id, or the beginning of one that ends with `*`.
    pub check: &'static str,
    /// The document, and the field as a JSON pointer; a part `*` stands for any. What is below it is meant too.
    pub field: &'static str,
    /// Only while the check asks for this there.
    pub value: Option<&'static str>,
    /// Why.
    pub reason: &'static str,
}

const fn of(check: &'static str, field: &'static str, reason: &'static str) -> Background {
    Background { check, field, value: None, reason }
}

const fn text(
    check: &'static str,
    field: &'static str,
    value: &'static str,
    reason: &'static str,
) -> Background {
    Background { check, field, value: Some(value), reason }
}

const OPTION: &str = "config.json /mounts/*/options/*";
const COMPUTED: &str = "execve computes the set anew, for root from the bounding set and for others from the ambient one \
                        (capabilities(7), Transformation of capabilities during execve)";

/// All of them.
pub const BACKGROUND: &[Background] = &[
    of("*", "config.json /ociVersion", "every version that the subject takes means the same here"),
    of("*", "config.json /annotations", "annotations change nothing of a container"),
    text("*", OPTION, "rbind", "the source has no mount below it: rbind and bind are the same"),
    text(
        "*",
        OPTION,
        "rprivate",
        "the default of a container's mounts; ns.mnt.* and volume.propagation speak of it",
    ),
    of("*", "config.json /process/capabilities/permitted", COMPUTED),
    of("*", "config.json /process/capabilities/effective", COMPUTED),
    of("*", "exec --process /capabilities/permitted", COMPUTED),
    of("*", "exec --process /capabilities/effective", COMPUTED),
    of("ns.exec.user", "exec --process /capabilities/bounding", "the claim speaks of effective capabilities"),
    of("ns.exec.user", "exec --process /env", "the claim speaks of ids, not of the environment"),
    text("ns.exec.user", "exec /--user/*", "0:0", "the user that exec has without the option"),
    of("sec.caps.default-set", "config.json /process/user/gid", "a group has no part in capabilities"),
];

/// Why a check's claim does not speak of a field; nothing if it does.
pub fn reason(
    check: &str,
    document: &str,
    pointer: &str,
    asked: Option<&serde_json::Value>,
) -> Option<&'static str> {
    let field = format!("{document} {pointer}");
    let is_value = |one: &Background| one.value.is_none_or(|value| asked.is_some_and(|asked| asked == value));
    let is = |one: &&Background| names(one.check, check) && covers(one.field, &field) && is_value(one);
    BACKGROUND.iter().find(is).map(|one| one.reason)
}

fn names(pattern: &str, id: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == id, |start| id.starts_with(start))
}

/// Whether a field is the pattern's, or below it.
fn covers(pattern: &str, field: &str) -> bool {
    let mut parts = field.split('/');
    pattern.split('/').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_names_a_check_that_there_is_and_gives_a_reason() {
        for one in BACKGROUND {
            assert!(crate::all().iter().any(|check| names(one.check, check.id)), "{}", one.check);
            assert!(one.reason.split(' ').count() > 3, "{}: {}", one.check, one.reason);
        }
    }

    #[test]
    fn a_value_is_meant_only_where_it_is_asked_for() {
        let of = |value: &str| {
            let value = serde_json::json!(value);
            reason("volume.bind.read-only", "config.json", "/mounts/7/options/0", Some(&value))
        };
        assert!(of("rbind").is_some());
        assert!(of("ro").is_none());
    }

    #[test]
    fn a_pattern_covers_what_is_below_it() {
        assert!(covers("config.json /mounts/*/options", "config.json /mounts/8/options/1"));
        assert!(!covers("config.json /mounts/*/options", "config.json /mounts/8/source"));
        assert!(!covers("config.json /mounts/*/options", "config.json /mounts"));
        assert!(names("cpu.quota.*", "cpu.quota.sweep") && !names("cpu.quota", "cpu.quota.sweep"));
    }
}
