//! Names of kernel parameters, and whose they are. Source: sysctl(8), namespaces(7).

use std::path::{Component, PathBuf};

use crate::namespace::Kind;

/// Parameters of System V IPC, in `kernel.`.
const IPC: [&str; 8] = ["msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"];

/// The path of a parameter below /proc/sys. Names are written with dots or with slashes, and the first of either tells which separates.
/// The other then belongs to the name, as in `net/ipv4/conf/eth0.1/forwarding`. Source: sysctl(8).
pub(crate) fn below_sys(name: &str) -> PathBuf {
    let path: String = match name.find(['.', '/']).map(|at| &name[at..=at]) {
        Some(".") => name
            .chars()
            .map(|letter| match letter {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    };
    PathBuf::from(path)
}

/// The namespace that a parameter belongs to; `None` if it is the host's.
pub(crate) fn owner(name: &str) -> Option<Kind> {
    let path = below_sys(name);
    if path.components().any(|part| !matches!(part, Component::Normal(_))) {
        return None;
    }
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    match parts.as_slice() {
        ["user", _] => Some(Kind::User),
        ["net", _, ..] => Some(Kind::Network),
        ["fs", "mqueue", _] => Some(Kind::Ipc),
        ["kernel", name] if IPC.contains(name) => Some(Kind::Ipc),
        ["kernel", "domainname" | "hostname"] => Some(Kind::Uts),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_first_separator_tells_which_it_is() {
        assert_eq!(below_sys("net.ipv4.ip_forward"), Path::new("net/ipv4/ip_forward"));
        assert_eq!(
            below_sys("net/ipv4/conf/eth0.1/forwarding"),
            Path::new("net/ipv4/conf/eth0.1/forwarding")
        );
        assert_eq!(
            below_sys("net.ipv4.conf.eth0/1.forwarding"),
            Path::new("net/ipv4/conf/eth0.1/forwarding")
        );
    }

    #[test]
    fn parameters_of_the_host_have_no_owner() {
        assert_eq!(owner("net.core.somaxconn"), Some(Kind::Network));
        assert_eq!(owner("kernel/shmmax"), Some(Kind::Ipc));
        assert_eq!(owner("kernel.domainname"), Some(Kind::Uts));
        assert_eq!(owner("user.max_net_namespaces"), Some(Kind::User));
        for name in [
            "vm.swappiness",
            "kernel.core_pattern",
            "net",
            "fs.mqueue",
            "net/../kernel/core_pattern",
            "/net/x",
            "",
        ] {
            assert_eq!(owner(name), None, "{name}");
        }
    }
}
