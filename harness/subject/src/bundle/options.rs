//! A configuration as options of `run` and `create`. Each field that is expressed is taken out of a copy; whatever is left is what
//! cannot be.

use std::path::Path;

use runtime::namespace::Kind;
use runtime::oci::{Capabilities, Linux, Namespace, Process, Seccomp, Spec, User, example};

use super::dialect::Dialect;
use super::request::{Request, nothing_left};
use super::unexpressed::Unexpressed;
use super::{mounts, resources};

/// A configuration in Docker's words, or Podman's where these differ. `id` is the container's name, by which its groups are named as
/// runtimes name them; `filter` is a file to which a filter of system calls is written.
///
/// # Errors
/// Something of it cannot be expressed.
pub fn request(spec: &Spec, id: &str, filter: &Path, dialect: Dialect) -> Result<Request, Unexpressed> {
    let mut rest = spec.clone();
    let mut made = Request::default();
    for fixed in ["--pull=never", "--init=false"] {
        made.options.push(fixed.into());
    }
    // Nobody needs to look them up.
    rest.oci_version.clear();
    if let Some(root) = rest.root.take() {
        // An engine's own layers are made of the bundle's directory; what is written is then not in it.
        if root.path != Path::new("rootfs") {
            return Err(Unexpressed::new("root.path other than the bundle's rootfs"));
        }
        if root.readonly {
            made.option("--read-only", true);
        }
    }
    if let Some(process) = rest.process.take() {
        application(process, &mut made)?;
    }
    let mut linux = rest.linux.take().unwrap_or_default();
    if dialect == Dialect::Podman && rest.domainname.is_some() {
        return Err(Unexpressed::new("domainname"));
    }
    namespaces(&mut linux, rest.hostname.take(), rest.domainname.take(), &mut made)?;
    mounts::translate(&std::mem::take(&mut rest.mounts), dialect, &mut made)?;
    let devices = std::mem::take(&mut linux.devices);
    resources::translate(linux.resources.take().unwrap_or_default(), &devices, &mut made)?;
    paths(&mut linux, dialect, &mut made)?;
    match linux.seccomp.take() {
        Some(seccomp) => made.option("--security-opt", format!("seccomp={}", write(&seccomp, filter)?)),
        None => made.option("--security-opt", "seccomp=unconfined"),
    }
    for (name, value) in std::mem::take(&mut linux.sysctl) {
        made.option("--sysctl", format!("{name}={value}"));
    }
    if linux.cgroups_path.as_deref() == Some(&Path::new("/").join(id)) {
        linux.cgroups_path = None;
    }
    nothing_left("linux", &linux)?;
    nothing_left("", &Spec { oci_version: String::new(), ..rest })?;
    Ok(made)
}

fn application(mut process: Process, made: &mut Request) -> Result<(), Unexpressed> {
    made.arguments = std::mem::take(&mut process.args);
    for variable in std::mem::take(&mut process.env) {
        made.option("--env", variable);
    }
    made.option("--workdir", std::mem::take(&mut process.cwd).display());
    let user = std::mem::take(&mut process.user);
    if user != User::default() {
        made.option("--user", format!("{}:{}", user.uid, user.gid));
    }
    for gid in &user.additional_gids {
        made.option("--group-add", gid);
    }
    if user.umask.is_some() {
        return Err(Unexpressed::new("process.user.umask"));
    }
    capabilities(process.capabilities.take().unwrap_or_default(), user.uid == 0, made)?;
    for limit in std::mem::take(&mut process.rlimits) {
        let name = limit.kind.trim_start_matches("RLIMIT_").to_lowercase();
        if !ULIMITS.contains(&name.as_str()) {
            return Err(Unexpressed::new(format!("process.rlimits with {}", limit.kind)));
        }
        made.option("--ulimit", format!("{name}={}:{}", limit.soft, limit.hard));
    }
    if std::mem::take(&mut process.no_new_privileges) {
        made.option("--security-opt", "no-new-privileges");
    }
    if let Some(score) = process.oom_score_adj.take() {
        made.option("--oom-score-adj", score);
    }
    if let Some(profile) = process.apparmor_profile.take() {
        made.option("--security-opt", format!("apparmor={profile}"));
    }
    // What is left of it was taken: these two are written out always.
    let rest = serde_json::to_value(&process).unwrap_or_default();
    let mut rest = rest.as_object().cloned().unwrap_or_default();
    rest.remove("user");
    nothing_left("process", &rest)
}

/// What `--ulimit` knows. Source: docker/go-units, ulimit.go.
const ULIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Sets that an engine makes: the same three, and nothing that is inherited.
fn capabilities(asked: Capabilities, is_root: bool, made: &mut Request) -> Result<(), Unexpressed> {
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort();
        names.dedup();
        names
    };
    let all = sorted(&asked.bounding);
    let same = all == sorted(&asked.effective) && all == sorted(&asked.permitted);
    if !same || !asked.inheritable.is_empty() || !asked.ambient.is_empty() {
        return Err(Unexpressed::new("process.capabilities with sets that differ"));
    }
    if !is_root && !all.is_empty() {
        return Err(Unexpressed::new("process.capabilities of a user other than root"));
    }
    made.option("--cap-drop", "ALL");
    for name in all {
        made.option("--cap-add", name.trim_start_matches("CAP_"));
    }
    Ok(())
}

fn namespaces(
    linux: &mut Linux,
    hostname: Option<String>,
    domainname: Option<String>,
    made: &mut Request,
) -> Result<(), Unexpressed> {
    let asked: Vec<Namespace> = std::mem::take(&mut linux.namespaces);
    if let Some(joined) = asked.iter().find(|namespace| namespace.path.is_some()) {
        return Err(Unexpressed::new(format!("linux.namespaces with a path ({})", joined.kind.file())));
    }
    let has = |kind: Kind| asked.iter().any(|namespace| namespace.kind == kind);
    if let Some(kind) = [Kind::User, Kind::Time].into_iter().find(|kind| has(*kind)) {
        return Err(Unexpressed::new(format!("linux.namespaces with {}", kind.file())));
    }
    // The host's are the daemon's, which has PIDs and mounts of its own.
    if let Some(kind) = [Kind::Pid, Kind::Mount].into_iter().find(|kind| !has(*kind)) {
        return Err(Unexpressed::new(format!("linux.namespaces without {}", kind.file())));
    }
    made.option("--network", if has(Kind::Network) { "none" } else { "host" });
    made.option("--ipc", if has(Kind::Ipc) { "private" } else { "host" });
    if Kind::Cgroup.is_supported() {
        made.option("--cgroupns", if has(Kind::Cgroup) { "private" } else { "host" });
    }
    if !has(Kind::Uts) {
        made.option("--uts", "host");
    }
    for (option, name) in [("--hostname", hostname), ("--domainname", domainname)] {
        if let Some(name) = name {
            made.option(option, name);
        }
    }
    Ok(())
}

/// An engine hides what the example hides (Podman a few more), or nothing.
fn paths(linux: &mut Linux, dialect: Dialect, made: &mut Request) -> Result<(), Unexpressed> {
    let masked = std::mem::take(&mut linux.masked_paths);
    let read_only = std::mem::take(&mut linux.readonly_paths);
    if masked.is_empty() && read_only.is_empty() {
        let nothing = if dialect == Dialect::Docker { "systempaths=unconfined" } else { "unmask=ALL" };
        made.option("--security-opt", nothing);
        return Ok(());
    }
    let usual = example().linux.unwrap_or_default();
    match (masked == usual.masked_paths, read_only == usual.readonly_paths) {
        (true, true) => Ok(()),
        (false, _) => Err(Unexpressed::new("linux.maskedPaths of one's own")),
        (_, false) => Err(Unexpressed::new("linux.readonlyPaths of one's own")),
    }
}

/// Writes a filter as a profile, whose format has the fields of config.json that this knows.
fn write(seccomp: &Seccomp, file: &Path) -> Result<String, Unexpressed> {
    let extra = [
        ("flags", !seccomp.flags.is_empty()),
        ("listenerPath", seccomp.listener_path.is_some()),
        ("defaultErrnoRet", seccomp.default_errno_ret.is_some()),
    ];
    if let Some((field, _)) = extra.into_iter().find(|(_, there)| *there) {
        return Err(Unexpressed::new(format!("linux.seccomp.{field}")));
    }
    let text = serde_json::to_vec(seccomp).unwrap_or_default();
    std::fs::write(file, text)
        .map_err(|error| Unexpressed::new(format!("linux.seccomp ({}: {error})", file.display())))?;
    Ok(file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::oci::{Cpu, Mount, Root};

    fn plain() -> Spec {
        let mut spec = example();
        spec.root = Some(Root { path: "rootfs".into(), readonly: false });
        spec.process.as_mut().unwrap().terminal = false;
        spec.linux.as_mut().unwrap().cgroups_path = Some("/c".into());
        spec
    }

    fn asked(spec: &Spec) -> Result<Vec<String>, Unexpressed> {
        let dir = tempfile::tempdir().unwrap();
        let made = request(spec, "c", &dir.path().join("filter"), Dialect::Docker);
        made.map(|made| made.options)
    }

    #[test]
    fn what_can_be_expressed_becomes_an_option() {
        let mut spec = plain();
        spec.linux.as_mut().unwrap().resources.get_or_insert_default().cpu =
            Some(Cpu { quota: Some(20_000), period: Some(100_000), ..Cpu::default() });
        let options = asked(&spec).unwrap();
        for option in [
            "--cpu-quota=20000",
            "--cpu-period=100000",
            "--cap-drop=ALL",
            "--cap-add=KILL",
            "--security-opt=no-new-privileges",
            "--ulimit=nofile=1024:1024",
            "--network=none",
        ] {
            assert!(options.iter().any(|found| found == option), "{option}: {options:?}");
        }
    }

    #[test]
    fn podman_has_some_words_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let said = |spec: &Spec| {
            let made = request(spec, "c", &dir.path().join("filter"), Dialect::Podman);
            made.map(|made| made.options).map_err(|error| error.what)
        };
        let mut spec = plain();
        let linux = spec.linux.as_mut().unwrap();
        (linux.masked_paths, linux.readonly_paths) = (Vec::new(), Vec::new());
        spec.mounts.push(Mount {
            destination: "/t".into(),
            kind: Some("tmpfs".into()),
            options: vec!["size=1m".into()],
            ..Mount::default()
        });
        let options = said(&spec).unwrap();
        for option in ["--security-opt=unmask=ALL", "--tmpfs=/t:size=1m,suid,dev,exec,notmpcopyup"] {
            assert!(options.iter().any(|found| found == option), "{option}: {options:?}");
        }
        spec.mounts.last_mut().unwrap().options.push("uid=7".into());
        assert!(said(&spec).unwrap_err().contains("uid=7"));
        spec.mounts.pop();
        spec.domainname = Some("x".into());
        assert!(said(&spec).unwrap_err().contains("domainname"));
    }

    #[test]
    fn what_cannot_is_named() {
        type Change = fn(&mut Spec);
        let cases: [(Change, &str); 8] = [
            (|spec| spec.process.as_mut().unwrap().terminal = true, "process.terminal"),
            (|spec| spec.process.as_mut().unwrap().user.umask = Some(0o77), "process.user.umask"),
            (
                |spec| {
                    let unified = &mut spec.linux.as_mut().unwrap().resources.as_mut().unwrap().unified;
                    unified.insert("cpu.weight".into(), "1".into());
                },
                "linux.resources.unified",
            ),
            (
                |spec| spec.linux.as_mut().unwrap().rootfs_propagation = Some("shared".into()),
                "linux.rootfsPropagation",
            ),
            (|spec| spec.linux.as_mut().unwrap().cgroups_path = Some("/other".into()), "linux.cgroupsPath"),
            (|spec| drop(spec.annotations.insert("a".into(), "b".into())), "annotations"),
            (|spec| spec.mounts.retain(|mount| mount.destination != Path::new("/dev/mqueue")), "/dev/mqueue"),
            (
                |spec| {
                    spec.mounts.push(Mount {
                        destination: "/x".into(),
                        kind: Some("bind".into()),
                        source: Some("/y".into()),
                        options: vec!["rbind".into(), "nosymfollow".into()],
                        ..Mount::default()
                    });
                },
                "nosymfollow",
            ),
        ];
        for (change, expected) in cases {
            let mut spec = plain();
            change(&mut spec);
            let what = asked(&spec).unwrap_err().what;
            assert!(what.contains(expected), "{expected}: {what}");
        }
    }
}
