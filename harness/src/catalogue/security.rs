//! What a container must not be able to do, and the ways in which some once could.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use runtime::spec::{Capabilities, Root, Seccomp, SeccompArg, SeccompRule, User};
use serde_json::{Value, json};

use crate::check::{Check, Checked, Trouble};
use crate::fault::{self, Fault, How, bind, scene};
use crate::need::Need;
use crate::trial::Trial;

const PLAIN_EXEC: &str = "plain exec of the host's file";

const CAPABILITIES_KEPT: Fault = fault::config("all kept", |spec| {
    if let Some(capabilities) = spec.process.as_mut().and_then(|process| process.capabilities.as_mut()) {
        for set in [&mut capabilities.bounding, &mut capabilities.effective, &mut capabilities.permitted] {
            set.extend(["CAP_CHOWN", "CAP_NET_RAW", "CAP_SYS_PTRACE", "CAP_SETFCAP"].map(str::to_owned));
        }
    }
});
const NO_FILTER: Fault = fault::config("no filter", |spec| spec.linux.get_or_insert_default().seccomp = None);

pub(super) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "sec.caps.default-set",
        "bounding, effective, permitted, inheritable and ambient sets are those asked for",
        "capabilities(7); OCI config.md, Process, capabilities",
        capability_sets,
    )
    .faults(&[CAPABILITIES_KEPT]),
    Check::of_runtime("sec.caps.drop-add", "what a dropped capability allows fails with EPERM, what an added one allows works", "capabilities(7)", drop_add)
        .faults(&[CAPABILITIES_KEPT]),
    Check::of_runtime(
        "sec.seccomp.custom",
        "a profile's actions hold: errno, kill, allow, and a match of arguments",
        "seccomp(2); OCI config-linux.md, Seccomp",
        seccomp,
    )
    .needs(&[Need::Root, Need::Seccomp])
    .faults(&[NO_FILTER]),
    Check::of_runtime(
        "sec.no-new-privs",
        "with no_new_privs a set-user-id file gives nothing",
        "Documentation/userspace-api/no_new_privs.rst",
        no_new_privileges,
    )
    .faults(&[fault::config("flag dropped", |spec| {
        if let Some(process) = spec.process.as_mut() {
            process.no_new_privileges = false;
        }
    })]),
    Check::of_runtime(
        "sec.exe-overwrite",
        "the host's runtime file cannot be reached to be written through /proc/PID/exe",
        "CVE-2019-5736; open_tree(2)",
        executable,
    )
    .faults(&[scene(PLAIN_EXEC)]),
    Check::of_runtime(
        "sec.fd-leak-cwd",
        "a working directory of /proc/self/fd/N does not reach the host",
        "CVE-2024-21626",
        leaked_directory,
    )
    .faults(&[fault::config("leaked descriptor", |spec| {
        spec.mounts.push(bind("/", "/.old-root", "rbind"));
        if let Some(process) = spec.process.as_mut() {
            process.cwd = "/.old-root".into();
        }
    })]),
    Check::of_runtime(
        "sec.mount-symlink-race",
        "a symlink swapped under a mount while it is made does not lead it out of the root file system",
        "CVE-2021-30465; openat2(2)",
        symlink_race,
    )
    .faults(&[fault::config("mounted elsewhere", |spec| {
        spec.mounts.retain(|mount| mount.destination != std::path::Path::new("/swapped/data"));
    })]),
    Check::of_runtime(
        "sec.release-agent",
        "v1: no release_agent can be opened to be written from inside",
        "CVE-2022-0492; cgroups(7), Cgroups v1 release notification",
        release_agent,
    )
    .needs(&[Need::Root, Need::V1("cpu")])
    .faults(&[fault::config("read-write cgroup mount", |spec| {
        spec.mounts.retain(|mount| mount.destination != std::path::Path::new("/sys/fs/cgroup"));
        spec.mounts.push(bind("/sys/fs/cgroup", "/sys/fs/cgroup", "rbind"));
    })]),
    Check::of_runtime(
        "sec.core-pattern",
        "core_pattern and uevent_helper, through which the kernel starts programs, cannot be opened to be written",
        "core(5), Piping core dumps to a program; OCI config-linux.md, Readonly Paths",
        core_pattern,
    )
    .faults(&[fault::config("read-write /proc/sys", |spec| spec.linux.get_or_insert_default().readonly_paths.clear())]),
    Check::of_runtime(
        "sec.host-processes",
        "no signal, ptrace, process_vm_readv or pidfd reaches a process of the host",
        "pid_namespaces(7); ptrace(2); process_vm_readv(2); pidfd_open(2)",
        host_processes,
    )
    .faults(&[fault::NO_PID_NAMESPACE]),
    Check::of_runtime("sec.keyring", "keys of the caller's session are not visible", "session-keyring(7); keyctl(2)", keyring)
        .faults(&[Fault { name: "shared session keyring", how: How::RunFlag("--no-new-keyring") }]),
    Check::of_runtime("sec.masked-after-exec", "exec'd processes see the same masks and read-only paths", "OCI config-linux.md, Masked Paths", masked_after_exec)
        .faults(&[fault::HOST_PROC]),
];

/// Bits of names, as /proc/PID/status has them.
fn bits(names: &[&str]) -> String {
    let bits = names
        .iter()
        .filter_map(|name| name.parse::<caps::Capability>().ok())
        .fold(0_u64, |all, one| all | one.bitmask());
    format!("{bits:016x}")
}

fn status_field(status: &Value, name: &str) -> String {
    let text = status.as_str().unwrap_or_default();
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    found.unwrap_or("none").trim().to_owned()
}

fn capability_sets(trial: &mut Trial) -> Checked {
    let wanted = trial.container().with(|spec| {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        if let Some(process) = spec.process.as_mut() {
            process.capabilities = Some(Capabilities {
                bounding: names(&["CAP_KILL", "CAP_SETUID", "CAP_NET_BIND_SERVICE"]),
                permitted: names(&["CAP_KILL", "CAP_SETUID"]),
                effective: names(&["CAP_KILL"]),
                inheritable: Vec::new(),
                ambient: Vec::new(),
            });
            process.user = User { uid: 0, ..User::default() };
        }
    });
    let mut container = wanted.start()?;
    let status = container.ask(&["read", "/proc/self/status"])?;
    // Root's permitted and effective sets become the bounding set at execve(2).
    let all = bits(&["CAP_KILL", "CAP_SETUID", "CAP_NET_BIND_SERVICE"]);
    let none = bits(&[]);
    for (field, expected) in
        [("CapBnd", &all), ("CapPrm", &all), ("CapEff", &all), ("CapInh", &none), ("CapAmb", &none)]
    {
        trial.seen.expect_eq(field, &status_field(&status, field), expected);
    }
    container.close()?;
    // Of another user only the ambient set survives.
    let wanted = trial.container().with(|spec| {
        let names = vec!["CAP_KILL".to_owned(), "CAP_NET_RAW".to_owned()];
        if let Some(process) = spec.process.as_mut() {
            let ambient = vec!["CAP_KILL".to_owned()];
            process.capabilities = Some(Capabilities {
                bounding: names.clone(),
                permitted: names.clone(),
                effective: names.clone(),
                inheritable: names,
                ambient,
            });
            process.user = User { uid: 1_000, gid: 1_000, ..User::default() };
        }
    });
    let mut container = wanted.start()?;
    let status = container.ask(&["read", "/proc/self/status"])?;
    for field in ["CapAmb", "CapPrm", "CapEff"] {
        trial.seen.expect_eq(
            &format!("{field} of user 1000"),
            &status_field(&status, field),
            &bits(&["CAP_KILL"]),
        );
    }
    container.close()?;
    Ok(())
}

fn drop_add(trial: &mut Trial) -> Checked {
    let wanted = trial.container().with(|spec| {
        if let Some(process) = spec.process.as_mut() {
            let names = vec!["CAP_DAC_OVERRIDE".to_owned(), "CAP_NET_RAW".to_owned()];
            process.capabilities = Some(Capabilities {
                bounding: names.clone(),
                permitted: names.clone(),
                effective: names,
                ..Capabilities::default()
            });
        }
    });
    let mut container = wanted.start()?;
    container.ask(&["write", "/tmp/file", ""])?;
    let refused = container.ask(&["try", "chown", "/tmp/file", "1", "1"])?;
    trial.seen.expect_json("error of giving away a file without CAP_CHOWN", &refused, &json!(libc::EPERM));
    let allowed = container.ask(&["try", "raw-socket"])?;
    trial.seen.expect_json("error of a raw socket with CAP_NET_RAW", &allowed, &json!(0));
    let mounted = container.ask(&["try", "mount", "/tmp"])?;
    trial.seen.expect_json("error of mounting without CAP_SYS_ADMIN", &mounted, &json!(libc::EPERM));
    container.close()?;
    Ok(())
}

fn profile() -> Seccomp {
    let rule = |names: &[&str], action: &str, errno: Option<i32>, args: Vec<SeccompArg>| SeccompRule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: action.into(),
        errno_ret: errno.map(i32::cast_unsigned),
        args,
    };
    let stranger =
        SeccompArg { index: 0, value: libc::AF_NETLINK as u64, value_two: 0, op: "SCMP_CMP_EQ".into() };
    let inet_raw =
        SeccompArg { index: 2, value: libc::IPPROTO_ICMP as u64, value_two: 0, op: "SCMP_CMP_EQ".into() };
    Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        syscalls: vec![
            rule(&["mkdir", "mkdirat"], "SCMP_ACT_ERRNO", Some(libc::EXDEV), Vec::new()),
            rule(&["socket"], "SCMP_ACT_ERRNO", Some(libc::EXDEV), vec![stranger]),
            rule(&["socket"], "SCMP_ACT_ERRNO", Some(libc::EDOM), vec![inet_raw]),
            rule(&["sethostname"], "SCMP_ACT_KILL_PROCESS", None, Vec::new()),
        ],
        ..Seccomp::default()
    }
}

fn seccomp(trial: &mut Trial) -> Checked {
    let filtered =
        |spec: &mut runtime::spec::Spec| spec.linux.get_or_insert_default().seccomp = Some(profile());
    let mut container = trial.container().capabilities(&["NET_RAW"]).with(filtered).start()?;
    for (what, words, expected) in [
        ("a call with the action errno", ["try", "mkdir", "/tmp/new"].as_slice(), libc::EXDEV),
        ("the same call's neighbour, which is allowed", &["try", "create", "/tmp/new"], 0),
        ("a call whose argument matches", &["try", "raw-socket"], libc::EDOM),
        ("the same call with another argument", &["try", "listen", "0"], 0),
    ] {
        let seen = container.ask(words)?;
        trial.seen.expect_json(&format!("error of {what}"), &seen, &json!(expected));
    }
    container.close()?;
    let status = trial.container().with(filtered).probe(&["try", "sethostname", "x"]).run()?;
    trial.seen.expect_eq("exit status after a call with the action kill", &status, &(128 + libc::SIGSYS));
    Ok(())
}

fn no_new_privileges(trial: &mut Trial) -> Checked {
    let image = trial.image()?;
    fs::create_dir(image.join("suid"))?;
    fs::copy(image.join("probe"), image.join("suid/probe"))?;
    fs::set_permissions(image.join("suid/probe"), fs::Permissions::from_mode(0o4755))?;
    let wanted = trial.container().with(|spec| {
        spec.root = Some(Root { path: image, readonly: false });
        if let Some(process) = spec.process.as_mut() {
            process.user = User { uid: 1_000, gid: 1_000, ..User::default() };
            process.no_new_privileges = true;
        }
    });
    let mut container = wanted.start()?;
    let seen = container.ask(&["run", "/suid/probe", "process"])?;
    let answer: Value = serde_json::from_str(seen["out"].as_str().unwrap_or_default()).unwrap_or_default();
    trial.seen.expect_json(
        "effective user of root's set-user-id program",
        &answer["ok"]["euid"],
        &json!(1_000),
    );
    container.close()?;
    Ok(())
}

fn executable(trial: &mut Trial) -> Checked {
    let image = trial.image()?;
    // As a script's interpreter it is resolved by the kernel, past whatever a runtime may look at.
    fs::write(image.join("script"), "#!/proc/self/exe\n")?;
    fs::set_permissions(image.join("script"), fs::Permissions::from_mode(0o755))?;
    // With that capability an attacker may look at any process that it sees.
    let wanted = trial
        .container()
        .capabilities(&["SYS_PTRACE"])
        .with(|spec| spec.root = Some(Root { path: image, readonly: false }));
    let own = [wanted.subject_file(), std::env::current_exe()?];
    let mut files = Vec::new();
    for path in own {
        let of = fs::metadata(path)?;
        files.push((of.dev(), of.ino()));
    }
    let mut container = wanted.start()?;
    let driver = trial.driver().clone();
    let plain = trial.has(PLAIN_EXEC);
    let question = ["watch-executables", "400"];
    container.tell(&question)?;
    let mut last = String::new();
    for _ in 0..6 {
        if plain {
            container.exec_own_file()?;
        } else {
            // What it says is the runtime's usage, since it is called with a script's name.
            let said = driver.said(&["exec", &container.id, "/script"], std::process::Stdio::null())?;
            last = format!("{said:?}").chars().take(200).collect();
        }
    }
    let seen = container.answer(&question)?;
    let reached: Vec<&Value> = seen
        .as_array()
        .into_iter()
        .flatten()
        .filter(|file| {
            files.iter().any(|(device, inode)| file[0] == *device && file[1] == *inode) && file[2] == false
        })
        .collect();
    trial.seen.note(format!("what the subject said at last: {last}"));
    trial.seen.note(format!("executables that were opened (device, inode, read-only): {seen}"));
    trial.seen.expect(
        "openings of the runtime's file on a writable mount",
        format!("{reached:?}"),
        "[]",
        reached.is_empty(),
    );
    container.close()?;
    Ok(())
}

fn leaked_directory(trial: &mut Trial) -> Checked {
    let marker = trial.directory("outside")?.join("marker");
    fs::write(&marker, "")?;
    let marker = marker.display().to_string();
    let mut refused = 0;
    for number in 3..12 {
        let wanted = trial.container().with(|spec| {
            if let Some(process) = spec.process.as_mut() {
                process.cwd = format!("/proc/self/fd/{number}").into();
            }
        });
        match wanted.start() {
            Err(Trouble::Subject(_)) => refused += 1,
            Err(other) => return Err(other),
            Ok(mut container) => {
                let reached = container.ask(&["reach", &marker])?;
                let found = reached["found"].as_array().cloned().unwrap_or_default();
                trial.seen.expect(
                    &format!("ways to the host from descriptor {number}"),
                    format!("{found:?}"),
                    "[]",
                    found.is_empty(),
                );
                container.close()?;
            }
        }
    }
    trial.seen.expect("descriptors that were refused", refused, "0 to 9", refused <= 9);
    Ok(())
}

fn symlink_race(trial: &mut Trial) -> Checked {
    use std::sync::atomic::{AtomicBool, Ordering};
    let volume = trial.directory("volume")?;
    fs::write(volume.join("of-volume"), "")?;
    let outside = trial.directory("outside")?;
    let image = trial.image()?;
    fs::create_dir_all(image.join("real/data"))?;
    fs::create_dir(image.join("swapped"))?;
    let place = image.join("swapped");
    let spare = image.join("spare");
    std::os::unix::fs::symlink(&outside, &spare)?;
    let (mut started, mut elsewhere) = (0, 0);
    let done = AtomicBool::new(false);
    let outcome: Checked = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // Exchanges the directory and the link, in one step.
                let _ = rustix::fs::renameat_with(
                    rustix::fs::CWD,
                    &place,
                    rustix::fs::CWD,
                    &spare,
                    rustix::fs::RenameFlags::EXCHANGE,
                );
            }
        });
        let tried = (|| {
            for _ in 0..12 {
                let root = Root { path: image.clone(), readonly: false };
                let wanted =
                    trial.container().volume(&volume, "/swapped/data").with(|spec| spec.root = Some(root));
                match wanted.start() {
                    Err(Trouble::Subject(_)) => {}
                    Err(other) => return Err(other),
                    Ok(mut container) => {
                        started += 1;
                        let mounts = container.ask(&["read", "/proc/self/mountinfo"])?;
                        // Wherever it is, it must be inside: a mount that left is in no table of the container's.
                        let name = volume.display().to_string();
                        let inside = mounts.as_str().unwrap_or_default().lines().any(|line| {
                            line.split(' ').nth(3).is_some_and(|root| {
                                name.ends_with(root.trim_end_matches('/')) && root.len() > 1
                            })
                        });
                        elsewhere += i32::from(!inside);
                        container.close()?;
                    }
                }
            }
            Ok(())
        })();
        done.store(true, Ordering::Relaxed);
        tried
    });
    outcome?;
    trial.seen.note(format!("{started} of 12 containers started, the others were refused"));
    trial.seen.expect_eq("containers whose volume was mounted outside of their root", &elsewhere, &0);
    let files = fs::read_dir(&outside)?.count();
    trial.seen.expect_eq("files made where the link points to on the host", &files, &0);
    Ok(())
}

/// Capabilities that engines give by default: none over the kernel.
fn engine_defaults(spec: &mut runtime::spec::Spec) {
    let names: Vec<String> =
        ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "MKNOD", "NET_RAW", "SETGID", "SETUID"]
            .iter()
            .map(|name| format!("CAP_{name}"))
            .collect();
    if let Some(process) = spec.process.as_mut() {
        process.capabilities = Some(Capabilities {
            bounding: names.clone(),
            effective: names.clone(),
            permitted: names,
            ..Capabilities::default()
        });
    }
}

fn release_agent(trial: &mut Trial) -> Checked {
    let mut container = trial.container().with(engine_defaults).start()?;
    let groups = container.ask(&["list", "/sys/fs/cgroup"])?;
    let mut open = Vec::new();
    for name in groups.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let path = format!("/sys/fs/cgroup/{name}/release_agent");
        // Opened, and nothing is written.
        if container.ask(&["try", "write", &path, ""])? == json!(0) {
            open.push(path);
        }
    }
    trial.seen.expect(
        "release agents that can be opened to be written",
        format!("{open:?}"),
        "[]",
        open.is_empty(),
    );
    let mounted = container.ask(&["try", "mount-cgroup", "/tmp", "cpu"])?;
    trial.seen.expect_json("error of mounting a hierarchy of its own", &mounted, &json!(libc::EPERM));
    container.close()?;
    Ok(())
}

fn core_pattern(trial: &mut Trial) -> Checked {
    let mut container = trial.container().with(engine_defaults).start()?;
    for path in ["/proc/sys/kernel/core_pattern", "/sys/kernel/uevent_helper", "/proc/sys/kernel/modprobe"] {
        let opened = container.ask(&["try", "write", path, ""])?;
        trial.seen.expect(&format!("error of opening {path} to write"), &opened, "not 0", opened != json!(0));
    }
    container.close()?;
    Ok(())
}

fn host_processes(trial: &mut Trial) -> Checked {
    let host = trial.host_probe()?;
    let target = host.pid.to_string();
    let mut container = trial.container().capabilities(&["SYS_PTRACE"]).start()?;
    for (what, words) in [
        ("a signal", ["try", "kill", &target, "0"].as_slice()),
        ("process_vm_readv", &["try", "vm-read", &target]),
        ("a pidfd", &["try", "pidfd", &target]),
        ("ptrace", &["try", "ptrace", &target]),
    ] {
        let seen = container.ask(words)?;
        trial.seen.expect(&format!("error of {what}"), &seen, "ESRCH (3)", seen == json!(libc::ESRCH));
    }
    container.close()?;
    Ok(())
}

fn keyring(trial: &mut Trial) -> Checked {
    let name = format!("plimsoll-{}", trial.run_id());
    // Credentials belong to a thread, and a program that it starts inherits them.
    trial.do_here(&["add-key", &name])?;
    let outside = trial.do_here(&["try", "keyctl-search", &name])?;
    trial.seen.expect_json("error of finding the key on the host", &outside, &json!(0));
    let mut container = trial.container().start()?;
    let inside = container.ask(&["try", "keyctl-search", &name])?;
    trial.seen.expect("error of finding it inside", &inside, "not 0", inside != json!(0));
    container.close()?;
    Ok(())
}

fn masked_after_exec(trial: &mut Trial) -> Checked {
    let container = trial.container().start()?;
    let mut exec = container.exec()?;
    let written = exec.ask(&["try", "write", "/proc/sys/kernel/hostname", "x"])?;
    trial.seen.expect_json("error of writing /proc/sys/kernel/hostname", &written, &json!(libc::EROFS));
    if std::path::Path::new("/proc/timer_list").exists() {
        let timers = exec.ask(&["read", "/proc/timer_list"])?;
        trial.seen.expect_json("content of /proc/timer_list", &timers, &json!(""));
    }
    drop(exec);
    container.close()?;
    Ok(())
}
