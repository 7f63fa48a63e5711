//! Root file systems with links and other things where a runtime makes or opens something.

use proptest::prelude::*;

use super::edit::word;
use crate::case::Entry;

/// A directory of the host, beside the root file system.
const OUTSIDE: &str = "@BUNDLE@/volumes/directory";

/// One entry.
pub(super) fn entries() -> BoxedStrategy<Entry> {
    // Where runtimes make, mount, bind, open or look something up.
    let place = word(&[
        "mnt",
        "tmp",
        "etc",
        "dev",
        "proc",
        "sys",
        "new",
        "etc/passwd",
        "etc/group",
        "dev/null",
        "dev/console",
        "dev/pts",
        "dev/shm",
        "dev/own-device",
        "tmp/deep",
        "link",
    ]);
    // To a directory of the bundle, if somebody follows it on the host; nowhere; to itself. Nothing else of the host is named: a runtime
    // that follows a link makes things where it points to.
    let target = word(&[OUTSIDE, "tmp", "../volumes/directory", "none", ".", "link"]);
    prop_oneof![
        5 => (place, target).prop_map(|(path, target)| Entry::Link { path, target }),
        2 => (word(&["etc/passwd", "etc/group"]), word(&["", "root:x:0:0::/root:/sh\nu:x:1000:5::/home/u:/sh\n", "::::\n"]))
            .prop_map(|(path, text)| Entry::File { path, text }),
        1 => word(&["mnt", "tmp", "dev/null", "etc/passwd", "new"])
            .prop_map(|path| Entry::File { path, text: "text".into() }),
        1 => (word(&["tmp", "mnt", "new"]), proptest::sample::select(vec![0o700_u32, 0o1777, 0o000]))
            .prop_map(|(path, mode)| Entry::Directory { path, mode }),
        1 => word(&["mnt", "link", "new"]).prop_map(|path| Entry::Fifo { path }),
    ]
    .boxed()
}
