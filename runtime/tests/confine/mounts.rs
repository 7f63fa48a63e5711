//! Mounts, devices and files of the image: options are applied or refused, links lead nowhere.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;

use runtime::oci::{Seccomp, SeccompRule};
use serde_json::json;

use crate::bundle::{Bundle, RUNTIME, said, skip};

#[test]
fn a_terminal_is_not_bound_through_a_link() {
    let Some(mut bundle) = Bundle::new() else { return };
    for point in ["/dev", "/dev/shm", "/dev/mqueue"] {
        bundle.unmount(point);
    }
    fs::create_dir(bundle.rootfs().join("dev/pts")).unwrap();
    symlink("/proc/sys/kernel/hostname", bundle.rootfs().join("dev/console")).unwrap();
    bundle.config["process"]["terminal"] = json!(true);
    bundle.script("echo ran");
    let error = bundle.is_refused();
    assert!(error.contains("/dev/console") && error.contains("link"), "{error}");
    fs::remove_file(bundle.rootfs().join("dev/console")).unwrap();
    bundle.script("stat -c %F /dev/console");
    assert_eq!(bundle.succeeds().trim(), "character special file");
}

#[test]
fn an_endless_passwd_does_not_fill_the_memory() {
    let Some(mut bundle) = Bundle::new() else { return };
    let passwd = bundle.rootfs().join("etc/passwd");
    bundle.script("echo $HOME");
    bundle.mount("/etc/zero", "bind", Path::new("/dev/zero"), &["bind"]);
    symlink("zero", &passwd).unwrap();
    assert_eq!(bundle.succeeds().trim(), "/");
    fs::remove_file(&passwd).unwrap();
    nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(bundle.succeeds().trim(), "/");
    fs::remove_file(&passwd).unwrap();
    fs::write(&passwd, "root:x:0:0:root:/there:/bin/sh\n").unwrap();
    assert_eq!(bundle.succeeds().trim(), "/there");
}

#[test]
fn options_are_applied_or_refused_by_name() {
    let Some(mut bundle) = Bundle::new() else { return };
    let volume = bundle.dir.path().join("volume");
    fs::create_dir(&volume).unwrap();
    bundle.script("echo ran");
    for (kind, words) in [
        ("bind", &["rbind", "noexce"][..]),
        ("bind", &["rbind", "size=5"]),
        ("bind", &["rbind", "tmpcopyup"]),
        ("bind", &["rbind", "sync"]),
        ("tmpfs", &["noexce"]),
        ("tmpfs", &["size=lots"]),
        ("proc", &["noexce"]),
        ("sysfs", &["noexce"]),
        ("mqueue", &["noexce"]),
        ("tmpfs", &["idmap"]),
        ("cgroup", &["noexce"]),
    ] {
        bundle.mount("/sh", kind, &volume, words);
        let error = bundle.is_refused();
        let word = words.last().unwrap().split('=').next().unwrap();
        assert!(error.contains(word) && error.contains("/sh"), "{kind} {words:?}: {error}");
        bundle.unmount("/sh");
    }
    bundle.mount("/sh", "bind", &volume, &["rbind", "rnosuid", "rnoexec", "rnodev", "nosymfollow", "rro"]);
    bundle.script("grep ' /sh ' /proc/self/mounts");
    let mounts = bundle.succeeds();
    let flags = mounts.split(' ').nth(3).unwrap();
    for flag in ["ro", "nosuid", "noexec", "nodev", "nosymfollow"] {
        assert!(flags.split(',').any(|set| set == flag), "{flag} in {flags}");
    }
}

#[test]
fn recursive_options_reach_the_mounts_below() {
    let Some(mut bundle) = Bundle::new() else { return };
    let volume = bundle.dir.path().join("volume");
    fs::create_dir_all(volume.join("below")).unwrap();
    bundle.mount("/sh", "bind", &volume, &["rbind", "rro", "rnoexec"]);
    bundle.script("touch /sh/x /sh/below/x; grep -c 'sh.*ro,.*noexec' /proc/self/mounts");
    // The host's mount below the volume lives in a mount namespace of its own.
    fs::write(bundle.dir.path().join("config.json"), bundle.config.to_string()).unwrap();
    let script = format!(
        "mount -t tmpfs tmpfs {}/below && exec {} --root {}/state run {}",
        volume.display(),
        RUNTIME,
        bundle.dir.path().display(),
        bundle.id()
    );
    let output = std::process::Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &script])
        .current_dir(bundle.dir.path())
        .output()
        .unwrap();
    let text = said(&output);
    assert_eq!(text.matches("Read-only").count(), 2, "{text}");
    assert!(String::from_utf8_lossy(&output.stdout).contains('2'), "{text}");
}

#[test]
fn a_tmpfs_is_filled_with_what_it_covers() {
    let Some(mut bundle) = Bundle::new() else { return };
    let etc = bundle.rootfs().join("etc");
    fs::create_dir(etc.join("sub")).unwrap();
    fs::write(etc.join("sub/file"), "content\n").unwrap();
    fs::set_permissions(etc.join("sub/file"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("/proc/sys/kernel/hostname", etc.join("link")).unwrap();
    bundle.mount("/etc", "tmpfs", Path::new("tmpfs"), &["tmpcopyup", "ro", "nosuid"]);
    bundle.script("cat /etc/sub/file; stat -c %a /etc/sub/file; ls -l /etc/link; touch /etc/x 2>&1; true");
    let said = bundle.succeeds();
    assert!(said.starts_with("content\n640\n"), "{said}");
    assert!(said.contains("-> /proc/sys/kernel/hostname") && said.contains("Read-only"), "{said}");
    assert!(!etc.join("x").exists());
}

#[test]
fn mounts_show_other_ids() {
    let Some(mut bundle) = Bundle::new() else { return };
    let volume = bundle.dir.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "").unwrap();
    bundle.mount("/sh", "bind", &volume, &["bind", "idmap"]);
    let number = bundle.config["mounts"].as_array().unwrap().len() - 1;
    bundle.script("stat -c %u:%g /sh/file; touch /sh/new");
    assert!(bundle.is_refused().contains("idmap"), "there is no mapping");
    let ids = |first: u32| json!([{"containerID": 0, "hostID": first, "size": 10}]);
    bundle.config["mounts"][number]["uidMappings"] = ids(5000);
    assert!(bundle.is_refused().contains("together"));
    bundle.config["mounts"][number]["gidMappings"] = ids(7000);
    let output = bundle.run();
    if said(&output).contains("option idmap") {
        skip("the file system or the kernel has no idmapped mounts");
        return;
    }
    assert!(said(&output).starts_with("5000:7000"), "{}", said(&output));
    // With a user namespace the option alone means that one's mapping.
    let mut bundle = Bundle::new().expect("it could be made before");
    bundle.user_namespace().mount("/sh", "bind", &volume, &["bind", "idmap"]);
    bundle.script("stat -c %u:%g /sh/file; touch /sh/new");
    assert_eq!(bundle.succeeds().trim(), "0:0");
    assert_eq!(fs::metadata(volume.join("new")).unwrap().uid(), 0);
}

#[test]
fn a_user_namespace_is_given_sources_that_only_root_may_reach() {
    let Some(mut bundle) = Bundle::new() else { return };
    let private = bundle.dir.path().join("private");
    fs::create_dir_all(private.join("volume")).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(private.join("volume/file"), "content\n").unwrap();
    fs::set_permissions(bundle.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    bundle.user_namespace().mount("/sh", "bind", &private.join("volume"), &["rbind", "ro"]);
    bundle.config["process"]["oomScoreAdj"] = json!(100);
    bundle.script("cat /sh/file /proc/self/oom_score_adj; touch /sh/x 2>&1; true");
    let said = bundle.succeeds();
    assert!(said.starts_with("content\n100\n") && said.contains("Read-only"), "{said}");
}

#[test]
fn roots_and_dev_become_read_only_last() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.config["root"]["readonly"] = json!(true);
    bundle.config["process"]["cwd"] = json!("/work/dir");
    bundle.unmount("/dev");
    let dev =
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "mode=755"]});
    bundle.config["mounts"].as_array_mut().unwrap().insert(1, dev);
    bundle.script("pwd; touch /dev/x /y 2>&1; echo hello > /dev/null; ls -l /dev/ptmx; echo end");
    let said = bundle.succeeds();
    assert!(said.starts_with("/work/dir\n") && said.matches("Read-only").count() == 2, "{said}");
    assert!(said.contains("pts/ptmx") && said.ends_with("end\n"), "{said}");
}

#[test]
fn a_read_only_root_keeps_the_flags_of_its_file_system() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.user_namespace();
    bundle.config["root"]["readonly"] = json!(true);
    bundle.script("grep ' / ' /proc/self/mounts");
    fs::set_permissions(bundle.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(bundle.dir.path().join("config.json"), bundle.config.to_string()).unwrap();
    let script = format!(
        "mount --bind rootfs rootfs && mount -o remount,bind,nosuid,nodev rootfs && exec {} --root {}/state run {}",
        RUNTIME,
        bundle.dir.path().display(),
        bundle.id()
    );
    let output = std::process::Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &script])
        .current_dir(bundle.dir.path())
        .output()
        .unwrap();
    let text = said(&output);
    let flags = text.lines().last().and_then(|line| line.split(' ').nth(3)).unwrap_or_default().to_owned();
    for flag in ["ro", "nosuid", "nodev"] {
        assert!(flags.split(',').any(|set| set == flag), "{flag}: {text}");
    }
}

#[test]
fn a_ptmx_among_the_devices_gives_way_to_the_containers_own() {
    let Some(mut bundle) = Bundle::new() else { return };
    fs::set_permissions(bundle.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    bundle.config["linux"]["devices"] = json!([{"type": "c", "path": "/dev/ptmx", "major": 5, "minor": 2, "fileMode": 0o666, "uid": 0, "gid": 0}]);
    bundle.script("ls -l /dev/ptmx");
    assert!(bundle.succeeds().contains("pts/ptmx"));
    bundle.user_namespace();
    assert!(bundle.succeeds().contains("pts/ptmx"));
}

/// As Linux 5.10 answers: mounts get their flags through the descriptor of the attached mount.
#[test]
fn without_mount_setattr_the_flags_are_the_same() {
    let Some(mut bundle) = Bundle::new() else { return };
    let no_such_call = runtime::process::seccomp::Filter::compile(&Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        syscalls: vec![SeccompRule {
            names: vec!["mount_setattr".into()],
            action: "SCMP_ACT_ERRNO".into(),
            errno_ret: Some(libc::ENOSYS.unsigned_abs()),
            ..SeccompRule::default()
        }],
        ..Seccomp::default()
    })
    .unwrap();
    let no_such_call = std::sync::Arc::new(no_such_call);
    let run = |bundle: &Bundle| {
        let filter = std::sync::Arc::clone(&no_such_call);
        let mut command = bundle.command(&["run", &bundle.id()]);
        // SAFETY: the filter was compiled before, and to install it takes system calls alone.
        unsafe {
            command.pre_exec(move || filter.install().map(drop).map_err(|_| std::io::ErrorKind::Other.into()))
        };
        command.output().unwrap()
    };
    let volume = bundle.dir.path().join("volume");
    fs::create_dir(&volume).unwrap();
    bundle.config["root"]["readonly"] = json!(true);
    bundle.mount("/sh", "bind", &volume, &["rbind", "ro", "nosuid", "noatime"]);
    bundle.script("touch /sh/x /x 2>&1; echo x > /proc/sys/kernel/hostname; grep ' /sh ' /proc/self/mounts");
    let output = run(&bundle);
    let text = said(&output);
    assert_eq!(text.matches("Read-only").count(), 3, "{text}");
    for flag in ["ro", "nosuid", "noatime"] {
        assert!(text.contains(flag), "{flag}: {text}");
    }
    bundle.unmount("/sh").mount("/sh", "bind", &volume, &["rbind", "rro"]);
    let output = run(&bundle);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("5.12"), "{}", said(&output));
}

/// A volume that shows the host's devices, and an image that leads its place to /dev.
#[test]
fn a_bound_dev_is_not_changed_by_whatever_name_it_came_there() {
    for place in ["/host/dev", "/dev", "/tmp/../dev"] {
        let Some(mut bundle) = Bundle::new() else { return };
        let dev = bundle.dir.path().join("hosts");
        fs::create_dir_all(dev.join("pts")).unwrap();
        fs::write(dev.join("ptmx"), "host").unwrap();
        symlink("/", bundle.rootfs().join("host")).unwrap();
        for point in ["/dev/pts", "/dev/shm", "/dev/mqueue"] {
            bundle.unmount(point);
        }
        bundle.mount(place, "bind", &dev, &["rbind", "rw"]);
        bundle.mount("/dev/pts", "devpts", Path::new("devpts"), &["newinstance", "ptmxmode=0666"]);
        bundle.script("cat /dev/ptmx");
        assert_eq!(bundle.succeeds(), "host", "{place}");
        assert_eq!(fs::read_to_string(dev.join("ptmx")).unwrap(), "host", "{place}");
        assert_eq!(fs::read_dir(&dev).unwrap().count(), 2, "{place}");
    }
}

/// Layers of an engine's store have names of more than a hundred letters.
#[test]
fn layers_may_have_names_that_no_value_of_fsconfig_holds() {
    let Some(mut bundle) = Bundle::new() else { return };
    let store = bundle.dir.path().join("x".repeat(200)).join("y".repeat(100));
    let layer = |name: &str| {
        let dir = store.join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(name), name).unwrap();
        dir
    };
    let (one, other) = (layer("one"), layer("oth:er"));
    let lower = format!("lowerdir={}:{}", one.display(), other.display().to_string().replace(':', "\\:"));
    bundle.mount("/sh", "overlay", Path::new("overlay"), &[&lower]);
    bundle.script("cat /sh/one /sh/oth:er; touch /sh/x || echo read-only");
    let output = bundle.run();
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("oneoth:er") && said(&output).contains("read-only"), "{}", said(&output));
    // So many that they fit no value even by descriptor.
    let many: Vec<String> =
        (0..20).map(|number| layer(&format!("layer-{number}")).display().to_string()).collect();
    bundle.unmount("/sh");
    bundle.mount("/sh", "overlay", Path::new("overlay"), &[&format!("lowerdir={}", many.join(":"))]);
    bundle.script("cat /sh/layer-0 /sh/layer-19");
    let output = bundle.run();
    // The kernel takes them one by one since 6.8.
    assert!(said(&output).contains("layer-0layer-19") || said(&output).contains("6.8"), "{}", said(&output));
    let missing = format!("lowerdir={}:{}", one.display(), store.join("nowhere").display());
    bundle.unmount("/sh");
    bundle.mount("/sh", "overlay", Path::new("overlay"), &[&missing]);
    let output = bundle.run();
    assert!(!output.status.success() && said(&output).contains("nowhere"), "{}", said(&output));
}
