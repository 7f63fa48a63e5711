//! procfs, masks and kernel parameters are what they seem, whatever an image or a configuration brings.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use crate::bundle::{Bundle, Setting, said};

#[test]
fn nothing_is_mounted_inside_proc() {
    let Some(mut bundle) = Bundle::new() else { return };
    let before = Setting::new("/proc/sys/fs/lease-break-time");
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
    assert!(before.is_unchanged());
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
    let text = said(&output);
    assert!(text.contains("mount") && !text.contains("opened"), "{text}");
    // The control: without masks and read-only paths the container's own procfs shows all, and another may.
    bundle.config["linux"]["maskedPaths"] = json!([]);
    bundle.config["linux"]["readonlyPaths"] = json!([]);
    bundle.script(
        "unshare -mrpf /bin/sh -c 'mkdir -p /tmp/p && mount -t proc proc /tmp/p && echo mounted'; ls /",
    );
    let output = bundle.command(&["run", "--no-pivot", &bundle.id()]).output().unwrap();
    let text = said(&output);
    assert!(text.contains("mounted") && text.contains("tmp"), "{text}");
}

#[test]
fn only_parameters_of_own_namespaces_are_set() {
    let Some(mut bundle) = Bundle::new() else { return };
    let before = Setting::new("/proc/sys/net/core/somaxconn");
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
    assert!(before.is_unchanged());
    for name in ["net.core.no_such_parameter", "vm.swappiness", "kernel.hostname", "net/../vm/swappiness"] {
        bundle.config["linux"]["sysctl"] = json!({name: "1"});
        let error = bundle.is_refused();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn the_hosts_name_is_not_set_through_a_joined_namespace() {
    let Some(mut bundle) = Bundle::new() else { return };
    let before = Setting::new("/proc/sys/kernel/hostname");
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "uts");
    namespaces.push(json!({"type": "uts", "path": "/proc/self/ns/uts"}));
    bundle.config["hostname"] = json!("renamed");
    bundle.script("echo ran");
    assert!(bundle.is_refused().contains("hostname"));
    assert!(before.is_unchanged());
}
