//! Hooks that write down that they ran, with what, and where. Source: config.md, POSIX-platform Hooks.

use proptest::prelude::*;
use serde_json::json;

use super::edit::{Edits, edit, few, one_of, word};
use crate::area::Area;
use crate::document::{BUNDLE, HOST};

/// Hooks on the host and in the container, and annotations.
pub(super) fn hooks() -> Edits {
    let points = word(&["createRuntime", "createContainer", "poststart", "poststop", "prestart"]);
    let more = few(&["a", "b c", ""], 2);
    let variables = few(&["A=1", "B=2"], 2);
    let hook = (points, more, variables, one_of(&[0, 0, 0, 1])).prop_map(|(point, more, variables, status)| {
        // The log is a volume, which both sides of the container's mount namespace can reach by its path.
        let script = format!(
            "n=own; [ \"$(readlink /proc/self/ns/mnt)\" = \"$(readlink /proc/{HOST}/ns/mnt)\" ] && n=host; \
             echo {point} $n $# \"$@\" $A $B >> {BUNDLE}/volumes/log; exit {status}"
        );
        let mut args = vec!["sh".to_owned(), "-c".to_owned(), script, "hook".to_owned()];
        args.extend(more);
        let mut env = vec!["PATH=/usr/bin:/bin".to_owned()];
        env.extend(variables);
        let hook = json!({ "path": "/bin/sh", "args": args, "env": env, "timeout": 5 });
        edit(Area::Hooks, &[(&format!("/hooks/{point}/-"), hook)])
    });
    let annotation = word(&["one", "org.example.two"])
        .prop_map(|name| edit(Area::Hooks, &[(&format!("/annotations/{name}"), "text".into())]));
    prop_oneof![4 => hook, 1 => annotation].boxed()
}
