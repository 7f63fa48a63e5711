//! Where the command `plimsoll` writes, and what it says when it cannot.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::process::{Command, Output, Stdio};

fn plimsoll(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.args(words).stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_stream_that_fails_is_an_error_and_never_a_panic() {
    for words in [
        &["list"][..],
        &["explain", "pids.max.hierarchical"],
        &["--help"],
        &["--version"],
        &["matrix", "--list"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let Output { status, stderr, .. } = plimsoll(words).stdout(writer).output().unwrap();
        assert_eq!((status.code(), text(&stderr)), (Some(0), String::new()), "{words:?}");
        let full = File::options().write(true).open("/dev/full").unwrap();
        let Output { status, stderr, .. } = plimsoll(words).stdout(full).output().unwrap();
        let said = text(&stderr);
        assert_eq!(status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains("No space left on device") && !said.contains("panicked"), "{words:?}: {said}");
    }
}

#[test]
fn reports_go_through_devices_and_a_bad_path_is_told_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let record = at("record.json");
    // Any verdict does: the record is what is shown.
    let Output { stderr, .. } =
        plimsoll(&["check", "pids.max.hierarchical", "--json", &record]).output().unwrap();
    assert!(fs::metadata(&record).is_ok(), "{}", text(&stderr));
    symlink("/dev/null", dir.path().join("null")).unwrap();
    for form in ["table", "html", "markdown", "junit", "ktap", "kcidb", "json"] {
        for to in ["/dev/null", &at("null")] {
            let Output { status, stderr, .. } =
                plimsoll(&["report", &record, "--form", form, "-o", to]).output().unwrap();
            assert!(status.success(), "{form} {to}: {}", text(&stderr));
        }
    }
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert!(fs::symlink_metadata(dir.path().join("null")).unwrap().is_symlink());
    let bad = at("absent/x");
    for option in ["--json", "--html", "--events"] {
        let Output { status, stdout, stderr } = plimsoll(&["check", option, &bad]).output().unwrap();
        assert_eq!(status.code(), Some(2), "{option}");
        assert!(text(&stderr).contains(&bad), "{option}: {}", text(&stderr));
        assert_eq!(text(&stdout), "", "{option}");
    }
}
