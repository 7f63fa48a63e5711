//! Ways out of a container that once were open: each is tried as its discoverers did.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use runtime::oci::{Capabilities, Root};
use serde_json::{Value, json};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, bind, scene};
use kit::need::Need;
use kit::trial::Trial;

const PLAIN_EXEC: &str = "plain exec of the host's file";

pub(crate) const CHECKS: &[Check] = &[
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
        "CVE-2021-30465; CVE-2024-45310; openat2(2)",
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
];

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
fn engine_defaults(spec: &mut runtime::oci::Spec) {
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
