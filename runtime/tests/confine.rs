//! What an image or a configuration holds does not reach the host: the real program, on hostile bundles.

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use common::{Bundle, skip};
use serde_json::json;

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap().trim().to_owned()
}

#[test]
fn nothing_is_mounted_inside_proc() {
    let Some(mut bundle) = Bundle::new() else { return };
    let before = read("/proc/sys/fs/lease-break-time");
    let volume = bundle.dir.path().join("volume");
    fs::create_dir(&volume).unwrap();
    symlink("/proc/sys/fs/lease-break-time", volume.join("ip_unprivileged_port_start")).unwrap();
    bundle.config["linux"]["sysctl"] = json!({"net.ipv4.ip_unprivileged_port_start": "0"});
    // By its name, and through a link of the image.
    symlink("/proc/sys/net", bundle.rootfs().join("alias")).unwrap();
    for place in ["/proc/sys/net/ipv4", "/alias/ipv4", "/tmp/../proc/sys/net/ipv4"] {
        bundle.mount(place, "bind", &volume, &["rbind", "rw"]).script("echo ran");
        let error = bundle.is_refused();
        assert!(error.contains("inside /proc") && error.contains(place), "{error}");
        bundle.unmount(place);
        bundle.mount(place, "tmpfs", Path::new("tmpfs"), &[]);
        assert!(bundle.is_refused().contains("inside /proc"));
        bundle.unmount(place);
    }
    assert_eq!(read("/proc/sys/fs/lease-break-time"), before);
    // The same setting alone works.
    bundle.script("cat /proc/sys/net/ipv4/ip_unprivileged_port_start");
    assert_eq!(bundle.succeeds().trim(), "0");
}

#[test]
fn emulated_files_of_proc_can_be_bound_over() {
    let Some(mut bundle) = Bundle::new() else { return };
    let file = bundle.dir.path().join("file");
    fs::write(&file, "emulated\n").unwrap();
    bundle.mount("/proc/meminfo", "bind", &file, &["bind"]).mount("/proc/net/dev", "bind", &file, &["bind"]);
    bundle.script("cat /proc/meminfo");
    assert_eq!(bundle.succeeds(), "emulated\n");
}

#[test]
fn proc_is_procfs_or_nothing() {
    let Some(mut bundle) = Bundle::new() else { return };
    let fake = bundle.dir.path().join("fake");
    fs::create_dir_all(fake.join("self/attr")).unwrap();
    fs::write(fake.join("self/attr/exec"), "").unwrap();
    bundle.unmount("/proc").script("echo ran");
    bundle.config["process"]["apparmorProfile"] = json!("some-profile");
    bundle.mount("/proc", "bind", &fake, &["rbind"]);
    assert!(bundle.is_refused().contains("whole procfs"));
    // A part of procfs is no procfs, and neither is a directory of the image.
    bundle.unmount("/proc").mount("/proc", "bind", Path::new("/proc/self"), &["rbind"]);
    assert!(bundle.is_refused().contains("whole procfs"));
    bundle.unmount("/proc");
    fs::create_dir_all(bundle.rootfs().join("proc/self/attr")).unwrap();
    fs::write(bundle.rootfs().join("proc/self/attr/exec"), "").unwrap();
    if !Path::new("/sys/kernel/security/apparmor").exists() {
        assert!(bundle.is_refused().contains("apparmorProfile"));
    }
    assert_eq!(fs::read_to_string(bundle.rootfs().join("proc/self/attr/exec")).unwrap(), "");
    assert_eq!(fs::read_to_string(fake.join("self/attr/exec")).unwrap(), "");
}

#[test]
fn kernel_directories_that_are_links_are_refused() {
    for (name, target) in [("proc", "tmp"), ("sys", "proc"), ("dev", "proc"), ("dev", "/proc/sys/kernel")] {
        let Some(mut bundle) = Bundle::new() else { return };
        let link = bundle.rootfs().join(name);
        fs::remove_dir(&link).unwrap();
        symlink(target, &link).unwrap();
        bundle.script("echo ran");
        let error = bundle.is_refused();
        assert!(error.contains("symbolic link"), "{name} -> {target}: {error}");
        if name == "dev" {
            // Without a mount there, too.
            for point in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
                bundle.unmount(point);
            }
            let error = bundle.is_refused();
            assert!(error.contains("symbolic link"), "{name} -> {target}: {error}");
        }
    }
}

#[test]
fn masks_do_not_need_the_images_null_device() {
    let Some(mut bundle) = Bundle::new() else { return };
    let dev = bundle.dir.path().join("dev");
    fs::create_dir(&dev).unwrap();
    let victim = bundle.dir.path().join("victim");
    fs::write(&victim, "host").unwrap();
    for image in [None, Some("/victim"), Some("/proc/sys/kernel/core_pattern")] {
        let _ = fs::remove_file(dev.join("null"));
        if let Some(target) = image {
            symlink(target, dev.join("null")).unwrap();
        }
        for point in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
            bundle.unmount(point);
        }
        bundle.mount("/dev", "bind", &dev, &["rbind"]);
        bundle.config["linux"]["maskedPaths"] =
            json!(["/proc/keys", "/etc/secret", "/proc/no-such-file", "/sys/firmware"]);
        fs::write(bundle.rootfs().join("etc/secret"), "secret").unwrap();
        bundle.script("cat /proc/keys /etc/secret; ls /sys/firmware; stat -c '%t:%T %F' /proc/keys");
        assert_eq!(bundle.succeeds(), "1:3 character special file\n");
    }
}

#[test]
fn a_mask_that_cannot_be_made_is_an_error() {
    let Some(mut bundle) = Bundle::new() else { return };
    symlink("loop", bundle.rootfs().join("loop")).unwrap();
    bundle.config["linux"]["maskedPaths"] = json!(["/loop"]);
    bundle.script("echo ran");
    assert!(bundle.is_refused().contains("/loop"));
    bundle.config["linux"]["maskedPaths"] = json!(["/"]);
    assert!(bundle.is_refused().contains("root"));
}

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
fn without_pivot_the_old_tree_proves_nothing() {
    let Some(mut bundle) = Bundle::new() else { return };
    let capabilities = json!(["CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETFCAP"]);
    for set in ["bounding", "effective", "permitted"] {
        bundle.config["process"]["capabilities"][set] = capabilities.clone();
    }
    bundle.script(
        "unshare -mrpf /bin/sh -c 'mkdir -p /tmp/p && mount -t proc proc /tmp/p && : >> /tmp/p/sys/kernel/core_pattern && echo opened' 2>&1; true",
    );
    let output = bundle.command(&["run", "--no-pivot", &bundle.id()]).output().unwrap();
    let said = common::said(&output);
    assert!(said.contains("mount") && !said.contains("opened"), "{said}");
    // The control: without masks and read-only paths the container's own procfs shows all, and another may.
    bundle.config["linux"]["maskedPaths"] = json!([]);
    bundle.config["linux"]["readonlyPaths"] = json!([]);
    bundle.script(
        "unshare -mrpf /bin/sh -c 'mkdir -p /tmp/p && mount -t proc proc /tmp/p && echo mounted'; ls /",
    );
    let output = bundle.command(&["run", "--no-pivot", &bundle.id()]).output().unwrap();
    let said = common::said(&output);
    assert!(said.contains("mounted") && said.contains("tmp"), "{said}");
}

#[test]
fn only_parameters_of_own_namespaces_are_set() {
    let Some(mut bundle) = Bundle::new() else { return };
    let before = read("/proc/sys/net/core/somaxconn");
    bundle.script("cat /proc/sys/net/core/somaxconn");
    bundle.config["linux"]["sysctl"] = json!({"net.core.somaxconn": "77"});
    assert_eq!(bundle.succeeds().trim(), "77");
    for user in [false, true] {
        for path in [None, Some("/proc/self/ns/net")] {
            let mut bundle = Bundle::new().expect("it could be made before");
            bundle.script("echo ran");
            bundle.config["linux"]["sysctl"] = json!({"net.core.somaxconn": "77"});
            if user {
                bundle.user_namespace();
            }
            let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != "network");
            if let Some(path) = path {
                namespaces.push(json!({"type": "network", "path": path}));
            }
            let error = bundle.is_refused();
            assert!(error.contains("net.core.somaxconn") && error.contains("whole host"), "{error}");
        }
    }
    assert_eq!(read("/proc/sys/net/core/somaxconn"), before);
    for name in ["net.core.no_such_parameter", "vm.swappiness", "kernel.hostname", "net/../vm/swappiness"] {
        bundle.config["linux"]["sysctl"] = json!({name: "1"});
        let error = bundle.is_refused();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn the_hosts_name_is_not_set_through_a_joined_namespace() {
    let Some(mut bundle) = Bundle::new() else { return };
    let before = read("/proc/sys/kernel/hostname");
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "uts");
    namespaces.push(json!({"type": "uts", "path": "/proc/self/ns/uts"}));
    bundle.config["hostname"] = json!("renamed");
    bundle.script("echo ran");
    assert!(bundle.is_refused().contains("hostname"));
    assert_eq!(read("/proc/sys/kernel/hostname"), before);
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
        common::RUNTIME,
        bundle.dir.path().display(),
        bundle.id()
    );
    let output = std::process::Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &script])
        .current_dir(bundle.dir.path())
        .output()
        .unwrap();
    let said = common::said(&output);
    assert_eq!(said.matches("Read-only").count(), 2, "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains('2'), "{said}");
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
    if common::said(&output).contains("option idmap") {
        skip("the file system or the kernel has no idmapped mounts");
        return;
    }
    assert!(common::said(&output).starts_with("5000:7000"), "{}", common::said(&output));
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
        common::RUNTIME,
        bundle.dir.path().display(),
        bundle.id()
    );
    let output = std::process::Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", &script])
        .current_dir(bundle.dir.path())
        .output()
        .unwrap();
    let said = common::said(&output);
    let flags = said.lines().last().and_then(|line| line.split(' ').nth(3)).unwrap_or_default().to_owned();
    for flag in ["ro", "nosuid", "nodev"] {
        assert!(flags.split(',').any(|set| set == flag), "{flag}: {said}");
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
