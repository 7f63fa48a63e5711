//! Who a process is: ids that mean "leave it as it is", and the rights of what is executed in a running container.

use kit::channel;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use runtime::oci::{Capabilities, Process, Spec, User};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, FaultKind};
use kit::runtime::RuntimeFixture;
use kit::runtime::{Container, Exec};
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, look, state};

/// (uid_t)-1: setresuid(2) leaves an id as it is where this is given, and a runtime is root.
const MINUS_ONE: u32 = u32::MAX;

/// A user or group of -1 does to the process what the call does: nothing, so it stays root's.
const STAYS_ROOT: Fault = fault::config("setresuid(-1)", |spec| {
    if let Some(user) = spec.process.as_mut().map(|process| &mut process.user) {
        for id in [&mut user.uid, &mut user.gid] {
            *id = if *id == MINUS_ONE { 0 } else { *id };
        }
        user.additional_gids.retain(|gid| *gid != MINUS_ONE);
    }
});

/// The same at `exec`.
const EXEC_STAYS_ROOT: Fault = Fault {
    name: "setresuid(-1) at exec",
    kind: FaultKind::ExecOptions(|_, options| {
        let wide = MINUS_ONE.to_string();
        for option in options.iter_mut() {
            *option = option.replace(&wide, "0");
        }
        Ok(())
    }),
};

/// `--user` and `--process` are not looked at.
const USER_DROPPED: Fault = Fault {
    name: "user dropped",
    kind: FaultKind::ExecOptions(|_, options| {
        options.clear();
        Ok(())
    }),
};

/// What is given by `--cap` is added to the inheritable set too, as runc did before 1.1.2 and crun before 1.4.4.
const MADE_INHERITABLE: Fault = Fault {
    name: "added to the inheritable set",
    kind: FaultKind::ExecOptions(|dir, options| {
        let user = User { uid: 1_000, gid: 1_000, ..User::default() };
        let mut process = exec_process(user);
        let sets = process.capabilities.get_or_insert_default();
        sets.inheritable = vec!["CAP_NET_RAW".into()];
        *options = vec!["--process".into(), write_process(dir, &process)?];
        Ok(())
    }),
};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "sec.ids.in-range",
        "uid and gid 4294967295 are refused by every way in",
        "CVE-2024-40635; setresuid(2): -1 leaves an id unchanged",
        in_range,
    )
    .faults(&[STAYS_ROOT, EXEC_STAYS_ROOT]),
    Check::of_runtime(
        "ns.exec.user",
        "exec as user N has the uid, gid and groups asked for, and no effective capability unless N is 0",
        "CVE-2026-30892; capabilities(7), Effect of user ID changes on capabilities",
        exec_user,
    )
    .faults(&[USER_DROPPED]),
    Check::of_runtime(
        "ns.exec.inheritable-empty",
        "capabilities given to exec leave the inheritable set empty, so that a file's inheritable ones give nothing",
        "CVE-2022-29162; CVE-2022-27650; capabilities(7), Transformation of capabilities during execve()",
        inheritable_empty,
    )
    .faults(&[MADE_INHERITABLE]),
];

fn set_user(spec: &mut Spec, user: User) {
    if let Some(process) = spec.process.as_mut() {
        process.user = user;
    }
}

fn in_range(runtime: &mut RuntimeFixture) -> Checked {
    // Ordinary ids in the same places have to work first.
    let user = User { uid: 65_534, gid: 65_534, additional_gids: vec![65_533], ..User::default() };
    let mut container = runtime.container().with(|spec| set_user(spec, user)).start()?;
    let seen = container.ask(state::process(&[]))?;
    runtime.seen.expect_eq("ids that are asked for and can be had", &(seen.uid, seen.gid), &(65_534, 65_534));
    container.close()?;
    let user = |uid, gid, more: &[u32]| User { uid, gid, additional_gids: more.to_vec(), ..User::default() };
    for (what, user) in [
        ("process.user.uid", user(MINUS_ONE, 1, &[])),
        ("process.user.gid", user(1, MINUS_ONE, &[])),
        ("process.user.additionalGids", user(1, 1, &[MINUS_ONE])),
    ] {
        let started = runtime.container().with(|spec| set_user(spec, user)).attempt()?;
        runtime.expect_refused(&format!("a container with {what} 4294967295"), started)?;
    }
    let container = runtime.container().start()?;
    drop(container.exec_with(&["--user", "65534:65534"])?);
    for user in ["4294967295", "4294967295:1", "1:4294967295"] {
        expect_exec_refused(runtime, &container, user)?;
    }
    container.close()?;
    Ok(())
}

fn expect_exec_refused(runtime: &mut RuntimeFixture, container: &Container, user: &str) -> Checked {
    let observed = match container.exec_with(&["--user", user]) {
        Ok(mut exec) => {
            let seen = exec.ask(state::process(&[]))?;
            Some(format!("started, with uid {} and gid {}", seen.uid, seen.gid))
        }
        Err(Trouble::Subject(said)) => {
            runtime.seen.note(format!("exec --user {user}: {said}"));
            None
        }
        Err(other) => return Err(other),
    };
    let refused = observed.is_none();
    let observed = observed.unwrap_or_else(|| "refused".into());
    runtime.seen.expect(&format!("exec --user {user}"), observed, "refused", refused);
    Ok(())
}

/// A process for `exec`, of that user, with the capabilities that containers of checks have.
fn exec_process(user: User) -> Process {
    let names = vec!["CAP_CHOWN".to_owned(), "CAP_NET_RAW".to_owned()];
    Process {
        args: vec!["/probe".into(), "serve".into()],
        cwd: "/".into(),
        user,
        capabilities: Some(Capabilities {
            bounding: names.clone(),
            effective: names.clone(),
            permitted: names,
            ..Capabilities::default()
        }),
        ..Process::default()
    }
}

fn write_process(dir: &Path, process: &Process) -> std::io::Result<String> {
    let path = dir.join("exec-process.json");
    fs::write(&path, serde_json::to_vec(process)?)?;
    Ok(path.display().to_string())
}

fn exec_user(runtime: &mut RuntimeFixture) -> Checked {
    let container = runtime.container().start()?;
    let file = container.rootfs.join("of-root");
    fs::write(&file, "")?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644))?;
    // The file can be given away at all, by whom it should be.
    let mut root = container.exec()?;
    let given = root.ask(attempt::chown("/of-root", 0, 0))?;
    runtime.seen.expect_eq("error of chown by root", &given, &Tried::ALLOWED);
    drop(root);
    for (asked, uid, gid) in
        [("0:0", 0, 0), ("1", 1, 0), ("1000", 1_000, 0), ("1000:1001", 1_000, 1_001), ("0:7", 0, 7)]
    {
        let mut exec = container.exec_with(&["--user", asked])?;
        expect_identity(runtime, &mut exec, &format!("--user {asked}"), (uid, gid, &[]))?;
        if uid != 0 {
            let given = exec.ask(attempt::chown("/of-root", 1, 1))?;
            let what = format!("error of chown by exec --user {asked}");
            runtime.seen.expect_eq(&what, &given, &Tried(libc::EPERM));
        }
    }
    let user = User { uid: 1_000, gid: 1_001, additional_gids: vec![5, 6], ..User::default() };
    let path = write_process(&runtime.directory("process")?, &exec_process(user))?;
    let mut exec = container.exec_with(&["--process", &path])?;
    expect_identity(runtime, &mut exec, "--process", (1_000, 1_001, &[5, 6]))?;
    drop(exec);
    container.close()?;
    Ok(())
}

/// Ids, groups and, of a user other than root, capabilities.
fn expect_identity(
    runtime: &mut RuntimeFixture,
    exec: &mut Exec,
    how: &str,
    expected: (u32, u32, &[u32]),
) -> Checked {
    let seen = exec.ask(state::process(&[]))?;
    // Whether the primary group is repeated among the others is a custom.
    let groups: Vec<u32> = seen.groups.into_iter().filter(|group| *group != seen.gid).collect();
    let observed = (seen.euid, seen.gid, groups.as_slice());
    runtime.seen.expect_eq(&format!("uid, gid and groups of exec {how}"), &observed, &expected);
    if expected.0 != 0 {
        let effective = super::security::status_field(&exec.ask(look::read("/proc/self/status"))?, "CapEff");
        let none = "0000000000000000".to_owned();
        runtime.seen.expect_eq(&format!("effective capabilities of exec {how}"), &effective, &none);
    }
    Ok(())
}

/// A file's capabilities, as `security.capability` has them. Source: linux/capability.h, `struct vfs_cap_data`, revision 2.
fn file_capability(permitted: u32, inheritable: u32) -> Vec<u8> {
    const REVISION_2_EFFECTIVE: u32 = 0x0200_0001;
    [REVISION_2_EFFECTIVE, permitted, inheritable, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn inheritable_empty(runtime: &mut RuntimeFixture) -> Checked {
    // The container itself has no such capability: what works, works by the one given to exec.
    let container = runtime.container().start()?;
    let net_raw = 1 << 13;
    for (name, capability) in
        [("permitted", file_capability(net_raw, 0)), ("inheritable", file_capability(0, net_raw))]
    {
        let dir = container.rootfs.join(name);
        fs::create_dir(&dir)?;
        fs::copy(container.rootfs.join("probe"), dir.join("probe"))?;
        xattr::set(dir.join("probe"), "security.capability", &capability)
            .map_err(|error| Trouble::Skip(format!("files cannot have capabilities here: {error}")))?;
    }
    let mut exec = container.exec_with(&["--user", "1000:1000", "--cap", "CAP_NET_RAW"])?;
    // The file's own capability works for this user, so what the other one lacks is not the file's fault.
    for (name, expected) in [("permitted", 0), ("inheritable", libc::EPERM)] {
        let program = format!("/{name}/probe");
        // One whose permitted capability is in no bounding set cannot even be executed: execve(2), EPERM.
        let executed = exec.ask(attempt::execute(&program))?;
        let tried = if executed.is_allowed() {
            let answer = exec.ask(state::run(&program, &["try", "raw-socket"]))?;
            channel::printed(attempt::raw_socket(), &answer.out)?
        } else {
            executed
        };
        let what = format!("error of a raw socket by a program with CAP_NET_RAW as {name}");
        runtime.seen.expect_eq(&what, &tried, &Tried(expected));
    }
    let inherited = super::security::status_field(&exec.ask(look::read("/proc/self/status"))?, "CapInh");
    runtime.seen.expect_eq(
        "inheritable set of the exec'd process",
        &inherited,
        &"0000000000000000".to_owned(),
    );
    drop(exec);
    container.close()?;
    Ok(())
}
