//! What is known of other runtimes: claims that do not hold for them, each seen here and described in docs/findings.md.
//! A finding never changes a verdict; it marks a failure as already known.

use record::SubjectInfo;

/// A claim that does not hold for some versions of a subject.
#[derive(Debug, Clone, Copy)]
pub struct Finding {
    /// The check.
    pub check: &'static str,
    /// The program and the first numbers of its version, as the first line of the subject's `--version` has them. `1.1` means 1.1 and
    /// all 1.1.x, and not 1.10.
    pub version: &'static str,
    /// What it does instead.
    pub what: &'static str,
}

/// All findings.
pub const KNOWN: &[Finding] = &[
    Finding {
        check: "rootfs.proc-sys-mounts",
        version: "runc version 1.1",
        what: "the tmpfs at /sys/fs/cgroup of a v1 or hybrid host stays writable although the mount asks for ro",
    },
    Finding {
        check: "sec.mount-symlink-race",
        version: "runc version 1.1.5",
        what: "a directory swapped for a link in time makes runc create an empty one on the host (CVE-2024-45310)",
    },
    Finding {
        check: "sec.mask.null-is-device",
        version: "runc version 1.1.5",
        what: "a link or a file of the image at /dev/null becomes the mask (CVE-2025-31133)",
    },
    Finding {
        check: "sec.console.link",
        version: "runc version 1.1.5",
        what: "the terminal is mounted where a link at /dev/console leads (CVE-2025-52565)",
    },
    Finding {
        check: "sec.dev.link",
        version: "runc version 1.1.5",
        what: "links and devices are made where a link at /dev leads (CVE-2026-41579)",
    },
    Finding {
        check: "sec.passwd.bounded",
        version: "runc version 1.1.5",
        what: "a FIFO at /etc/passwd makes a start wait for ever",
    },
    Finding {
        check: "sec.proc.not-covered",
        version: "runc version 1.1.5",
        what: "a tmpfs below /proc is mounted",
    },
    Finding {
        check: "sec.sysctl.redirect",
        version: "runc version 1.1.5",
        what: "without procfs a sysctl is written where a link of the image leads (CVE-2025-52881)",
    },
    Finding {
        check: "rootfs.sysctl-of-host",
        version: "runc version 1.1.5",
        what: "with the host's IPC or UTS namespace by path a sysctl changes the host",
    },
    Finding {
        check: "volume.option.unknown",
        version: "runc version 1.1.5",
        what: "a misspelt option of a bind is ignored",
    },
    Finding {
        check: "volume.read-only-race",
        version: "runc version 1.1",
        what: "an exchanged mount point leaves another mount read-only and the volume writable",
    },
    Finding {
        check: "sec.seccomp.high-bits",
        version: "runc version 1.1.5",
        what: "the filter compares 64 bits where the kernel reads an int",
    },
    Finding {
        check: "life.hooks",
        version: "runc version 1.1",
        what: "poststart hooks run at create, before the application is started",
    },
    Finding {
        check: "ns.exec.is-container",
        version: "runc version 1.1",
        what: "an exec'd process has not the container's umask",
    },
    Finding {
        check: "ns.user.join-with-new",
        version: "runc version 1.1",
        what: "a user namespace by path is refused without mappings",
    },
    Finding { check: "process.personality", version: "runc version 1.1", what: "the domain is ignored" },
    Finding {
        check: "cpu.affinity.is-the-sets",
        version: "runc version 1.1",
        what: "the application keeps the CPUs to which the runtime was bound",
    },
    Finding { check: "cpu.idle.by-runtime", version: "runc version 1.1", what: "cpu.idle is ignored" },
    Finding {
        check: "rootfs.propagation",
        version: "runc version 1.1",
        what: "rootfsPropagation shared and unbindable do nothing",
    },
    Finding {
        check: "volume.bind.clears-flags",
        version: "runc version 1.1",
        what: "rw, exec, suid and dev on a bind do nothing",
    },
    Finding {
        check: "life.hook-order",
        version: "runc version 1.1",
        what: "poststart hooks run before the application is executed",
    },
    Finding {
        check: "life.hook-fails",
        version: "runc version 1.1",
        what: "a startContainer hook that fails does not fail the start",
    },
    Finding {
        check: "life.poststop-fails",
        version: "runc version 1.1",
        what: "a poststop hook that fails keeps the next one from running",
    },
    Finding {
        check: "sec.group.long-line",
        version: "runc version 1.1",
        what: "a line of /etc/passwd longer than 64 KiB keeps the container from starting",
    },
    Finding {
        check: "volume.bind.recursive-flags",
        version: "runc version 1.1",
        what: "ratime is refused by the kernel, because only a part of the atime field is cleared",
    },
    Finding {
        check: "volume.tmpfs.copy-up",
        version: "runc version 1.1.5",
        what: "the caller's umask cuts the modes of directories that are copied up",
    },
    Finding {
        check: "volume.tmpfs.mode",
        version: "runc version 1.1.5",
        what: "a mode option is overruled by the mode of the directory below",
    },
    Finding {
        check: "life.list-without-root",
        version: "runc version 1.1",
        what: "a --root that is not there is made, and the list is empty",
    },
    Finding {
        check: "sec.seccomp.unknown-call",
        version: "runc version 1.1.5",
        what: "without architectures a call newer than the profile gives the default error",
    },
    Finding {
        check: "sec.seccomp.notify",
        version: "runc version 1.1",
        what: "the connection to the agent stays open as long as run does",
    },
    Finding {
        check: "rootfs.devices-config",
        version: "runc version 1.",
        what: "the caller's umask cuts the mode of directories that are made above a device",
    },
    Finding {
        check: "life.closed-streams",
        version: "crun version 1.28",
        what: "run with a closed standard input ends by SIGSEGV",
    },
    Finding {
        check: "hugetlb.page-size-is-checked",
        version: "crun version 1.28",
        what: "a start that is refused for a limit leaves its groups",
    },
    Finding {
        check: "volume.bind.recursive-flags",
        version: "crun version 1.28",
        what: "rnosymfollow does nothing",
    },
    Finding {
        check: "volume.null-byte",
        version: "crun version 1.28",
        what: "a mount's text is cut off at a null byte",
    },
    Finding {
        check: "life.tty.unmapped-group",
        version: "crun version 1.28",
        what: "a terminal whose group is not mapped is an error",
    },
    Finding {
        check: "life.tty.exec-output",
        version: "crun version 1.28",
        what: "a caller that reads slowly loses what comes last",
    },
    Finding { check: "life.signals", version: "crun version 1.28", what: "the signal 9x is taken for 9" },
    Finding {
        check: "life.list-without-root",
        version: "crun version 1.28",
        what: "a --root that is not there is made, and the list is empty",
    },
    Finding {
        check: "life.update-is-atomic",
        version: "crun version 1.28",
        what: "what comes before the refused limit stays changed",
    },
    Finding {
        check: "sec.seccomp.notify",
        version: "crun version 1.28",
        what: "the connection to the agent stays open as long as run does",
    },
    Finding {
        check: "commit.metadata",
        version: "Docker version 20.10",
        what: "a commit drops fractions of seconds",
    },
    Finding {
        check: "sec.seccomp.default",
        version: "Docker version 20.10",
        what: "the default filter lets io_uring and AF_VSOCK through",
    },
    Finding {
        check: "sec.default.masks",
        version: "Docker version 20.10",
        what: "/proc/interrupts is not masked",
    },
    Finding {
        check: "sec.mask.null-is-device.by-engine",
        version: "Docker version 20.10",
        what: "a link of the image at /dev/null unmasks (CVE-2025-31133, in runc)",
    },
    Finding {
        check: "sec.terminal",
        version: "Docker version 20.10",
        what: "diff and history send names to the terminal as they are",
    },
    Finding {
        check: "sec.registry.bounded",
        version: "Docker version 20.10",
        what: "a manifest that does not end is read on",
    },
    Finding {
        check: "life.prune-spares",
        version: "Docker version 20.10",
        what: "system prune removes containers and images that are about to be used",
    },
    Finding {
        check: "build.instruction-is-layer",
        version: "Docker version 20.10",
        what: "a layer of BuildKit holds the directory etc",
    },
    Finding {
        check: "rootfs.proc-sys-mounts",
        version: "Docker version 20.10",
        what: "the tmpfs at /sys/fs/cgroup of a v1 or hybrid host stays writable (runc)",
    },
    Finding {
        check: "sec.proc.not-covered",
        version: "Docker version 20.10",
        what: "a tmpfs below /proc is mounted (runc)",
    },
    Finding {
        check: "sec.seccomp.high-bits",
        version: "Docker version 20.10",
        what: "the filter compares 64 bits where the kernel reads an int (runc)",
    },
    Finding {
        check: "volume.read-only-race",
        version: "Docker version 20.10",
        what: "an exchanged mount point leaves another mount read-only and the volume writable (runc)",
    },
];

/// What is known of a check and a subject.
pub fn of(check: &str, subject: &SubjectInfo) -> Option<&'static Finding> {
    KNOWN.iter().find(|finding| finding.check == check && is_of(&subject.version, finding.version))
}

/// An engine's line may name the runtime below it, too.
fn is_of(version: &str, known: &str) -> bool {
    version.match_indices(known).any(|(at, _)| {
        let begins = version[..at].chars().next_back().is_none_or(|before| !before.is_alphanumeric());
        begins && !version[at + known.len()..].starts_with(|next: char| next.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_is_described_and_names_a_check() {
        let document = include_str!("../../docs/findings.md");
        for finding in KNOWN {
            assert!(catalogue::find(finding.check).is_some(), "{}", finding.check);
            assert!(document.contains(finding.check), "docs/findings.md says nothing of {}", finding.check);
        }
    }

    #[test]
    fn a_finding_is_of_the_versions_that_were_seen() {
        let info =
            |version: &str| SubjectInfo { name: "x".into(), path: "/x".into(), version: version.into() };
        assert!(of("life.hooks", &info("runc version 1.1.5+ds1")).is_some());
        assert!(of("life.hooks", &info("runc version 1.3.0")).is_none());
        assert!(of("life.hooks", &info("runc version 1.10.0")).is_none());
        assert!(of("life.tty", &info("runc version 1.1.5+ds1")).is_none());
    }
}
