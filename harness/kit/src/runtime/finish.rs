//! A command of the subject, run to its end.

use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Output};

use crate::patience::wait_within;
use crate::trouble::Trouble;

/// Runs a command to its end: whether that came in time, and what it said. That goes to memory and not to a pipe, which a process that
/// the command leaves behind would hold open for ever.
pub(super) fn finish(mut command: Command, what: &str) -> Result<(Result<(), Trouble>, Output), Trouble> {
    let (mut out, mut err) = (memory()?, memory()?);
    let mut child = command.stdout(out.try_clone()?).stderr(err.try_clone()?).spawn()?;
    let ended = wait_within(child.id().cast_signed(), what);
    let status = child.wait()?;
    let output = Output { status, stdout: all_of(&mut out)?, stderr: all_of(&mut err)? };
    Ok((ended, output))
}

fn memory() -> Result<File, Trouble> {
    Ok(File::from(rustix::fs::memfd_create("output", rustix::fs::MemfdFlags::CLOEXEC)?))
}

fn all_of(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut all)?;
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_command_ends_although_what_it_left_behind_still_holds_its_output() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo said; echo complained >&2; sleep 60 & exit 3"]);
        let begun = Instant::now();
        let (ended, output) = finish(command, "sh").unwrap();
        assert!(ended.is_ok() && begun.elapsed() < Duration::from_secs(30));
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(
            (output.stdout.as_slice(), output.stderr.as_slice()),
            (&b"said\n"[..], &b"complained\n"[..])
        );
    }
}
