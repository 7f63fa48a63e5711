//! Everything that a container is and sees, in one answer: so that two containers can be compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ask::{Act, Reply, verbs};
use crate::failure::Done;
use crate::mountinfo::{Mount, mounts};
use crate::seen;
use crate::verbs::look::{self, Interfaces};
use crate::verbs::state::{self, Process, Terminal};
use crate::verbs::terms::{self, ProcessTerms};

pub use crate::seen::{Credentials, Node, Sight};

verbs! {
    /// Everything at once.
    Snapshots {
        /// Everything that this process is and sees; the paths are looked at and tried too.
        "snapshot" snapshot: TakeSnapshot { paths: Vec<String> } -> Snapshot;
    }
}

/// A part of a snapshot: what was seen, or why nothing could be. One part that fails hides no other.
pub type Part<T> = Reply<T>;

/// Everything that a process is and sees. Times, PIDs and other numbers that differ from one container to the next are left out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// What `process` of a configuration asks for.
    pub process: Part<Process>,
    /// Capability sets, filters, signals and CPUs, as /proc/self/status has them.
    pub status: Part<BTreeMap<String, String>>,
    /// What prctl(2) and the session say.
    pub credentials: Part<Credentials>,
    /// Soft and hard limits by their names, such as `RLIMIT_NOFILE`.
    pub rlimits: Part<BTreeMap<String, (u64, u64)>>,
    /// Scheduler, priorities, execution domain, memory policy.
    pub terms: Part<ProcessTerms>,
    /// The identities of the namespaces.
    pub namespaces: Part<BTreeMap<String, u64>>,
    /// Offsets of the time namespace.
    pub time_offsets: Part<String>,
    /// Mounts, in the order of mountinfo.
    pub mounts: Part<Vec<Mount>>,
    /// Open descriptors, and what they are.
    pub descriptors: Part<BTreeMap<i32, String>>,
    /// What the standard streams are.
    pub terminal: Part<Terminal>,
    /// The session keyring: type, owner, group, permissions, name.
    pub keyring: Part<String>,
    /// Label of the security module.
    pub label: Part<String>,
    /// What stands in /dev.
    pub devices: Part<BTreeMap<String, Node>>,
    /// What came of opening well-known devices for reading and writing: the error number, or 0.
    pub opened: Part<BTreeMap<String, i32>>,
    /// The names in the root directory.
    pub root: Part<Vec<String>>,
    /// What stands at the paths that were asked for, and what can be done with it.
    pub paths: BTreeMap<String, Sight>,
    /// Kernel parameters of namespaces.
    pub sysctls: BTreeMap<String, Part<String>>,
    /// The groups, as this process sees them.
    pub groups: Part<Vec<String>>,
    /// Network devices and addresses.
    pub interfaces: Part<Interfaces>,
    /// Host name.
    pub hostname: Part<String>,
    /// NIS domain name.
    pub domainname: Part<String>,
    /// What the system call filter says to calls: an error number, 0, or that it kills.
    pub calls: BTreeMap<String, String>,
}

fn part<T>(done: Done<T>) -> Part<T> {
    match done {
        Ok(seen) => Reply::Ok(seen),
        Err(failure) => Reply::Error(failure),
    }
}

impl Act for TakeSnapshot {
    fn act(self) -> Done<Snapshot> {
        // First, before this process opens anything.
        let descriptors = part(seen::descriptors());
        Ok(Snapshot {
            process: part(state::process(&[]).act()),
            status: part(seen::status()),
            credentials: part(seen::credentials()),
            rlimits: part(seen::rlimits()),
            terms: part(terms::terms().act()),
            namespaces: part(look::namespaces().act()),
            time_offsets: part(seen::text("/proc/self/timens_offsets")),
            mounts: part(mounts()),
            descriptors,
            terminal: part(state::terminal().act()),
            keyring: part(seen::keyring()),
            label: part(seen::text("/proc/self/attr/current")),
            devices: part(seen::devices()),
            opened: part(Ok(seen::opened())),
            root: part(state::list("/").act()),
            paths: self.paths.iter().map(|path| (path.clone(), seen::sight(path))).collect(),
            sysctls: seen::sysctls().into_iter().map(|(name, done)| (name, part(done))).collect(),
            groups: part(
                seen::text("/proc/self/cgroup").map(|text| text.lines().map(str::to_owned).collect()),
            ),
            interfaces: part(look::interfaces().act()),
            hostname: part(look::hostname().act()),
            domainname: part(look::domainname().act()),
            calls: seen::calls(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok<T>(part: &Part<T>) -> &T {
        match part {
            Reply::Ok(seen) => seen,
            Reply::Error(failure) => panic!("{failure}"),
        }
    }

    #[test]
    fn a_snapshot_of_this_process_is_complete_and_the_same_a_second_time() {
        let take = || snapshot(&["/proc/self/status", "/no/such/path"]).act().unwrap();
        let first = take();
        assert_eq!(ok(&first.process).uid, nix::unistd::getuid().as_raw());
        assert!(ok(&first.rlimits).contains_key("RLIMIT_NOFILE") && ok(&first.rlimits).len() == 16);
        assert!(ok(&first.mounts).iter().any(|mount| mount.point == "/"));
        assert_eq!(ok(&first.status).get("CapBnd").map(String::len), Some(16));
        assert!(first.paths["/no/such/path"].node.is_none());
        assert!(first.paths["/proc/self/status"].node.is_some());
        assert_eq!(first.calls["getpid"], "0");
        let without_namespaces = |snapshot: &Snapshot| {
            let mut value = serde_json::to_value(snapshot).unwrap();
            // Other tests of this program open and close descriptors meanwhile.
            value.as_object_mut().unwrap().remove("descriptors");
            value
        };
        assert_eq!(without_namespaces(&first), without_namespaces(&take()));
    }
}
