//! Which devices a container may open.

use nix::sys::stat::{Mode, SFlag, makedev};
use runtime::oci::{DeviceRule, Spec};

use kit::check::{Check, Checked};
use kit::fault::{self, Fault, resources};
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::attempt;
use kit::verbs::attempt::Tried;

const SOURCE: &str = "OCI config-linux.md, Default Devices and Allowed Device list; cgroup-v1/devices.rst; cgroup-v2.rst, Device controller";
const NO_RULES: Fault = fault::config("no device rules", |spec| resources(spec).devices.clear());
const ALLOW_ALL: Fault = fault::config("allow all", |spec| {
    resources(spec).devices =
        vec![DeviceRule { allow: true, kind: None, major: None, minor: None, access: Some("rwm".into()) }];
});

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "devices.default-list",
        "null, zero, full, random, urandom and tty work; anything else cannot be opened, whoever made its node",
        SOURCE,
        default_list,
    )
    .needs(&[Need::DeviceControl])
    .faults(&[
        NO_RULES,
        fault::config("reading allowed", |spec| allow(spec, "c", "r")),
        fault::config("writing allowed", |spec| allow(spec, "c", "w")),
        fault::config("disks allowed", |spec| allow(spec, "b", "rw")),
    ]),
    Check::of_runtime(
        "devices.allow-one",
        "an allowed device opens with the granted access alone",
        SOURCE,
        allow_one,
    )
    .needs(&[Need::DeviceControl])
    .faults(&[ALLOW_ALL]),
    Check::of_runtime(
        "sec.mknod",
        "a disk device of the host can be neither made nor, where somebody else made it, opened",
        SOURCE,
        mknod,
    )
    .needs(&[Need::DeviceControl])
    .faults(&[
        fault::config("capability kept", |spec| {
            let capabilities = spec.process.as_mut().and_then(|process| process.capabilities.as_mut());
            let Some(capabilities) = capabilities else { return };
            for set in [&mut capabilities.bounding, &mut capabilities.effective, &mut capabilities.permitted]
            {
                set.push("CAP_MKNOD".into());
            }
            let (kind, access) = (Some("b".into()), Some("m".into()));
            resources(spec).devices.push(DeviceRule { allow: true, kind, major: None, minor: None, access });
        }),
        NO_RULES,
    ]),
];

fn allow(spec: &mut Spec, kind: &str, access: &str) {
    let (kind, access) = (Some(kind.into()), Some(access.into()));
    resources(spec).devices.push(DeviceRule { allow: true, kind, major: None, minor: None, access });
}

fn default_list(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().start()?;
    for (device, text, expected) in [("null", "x", 0), ("zero", "x", 0), ("full", "x", libc::ENOSPC)] {
        let path = format!("/dev/{device}");
        let opened = container.ask(attempt::open(&path))?;
        runtime.seen.expect_eq(&format!("error of opening {path}"), &opened, &Tried::ALLOWED);
        let written = container.ask(attempt::write(&path, text))?;
        runtime.seen.expect_eq(&format!("error of writing to {path}"), &written, &Tried(expected));
    }
    for device in ["random", "urandom"] {
        let read = container.ask(attempt::read(&format!("/dev/{device}")))?;
        runtime.seen.expect_eq(&format!("error of reading /dev/{device}"), &read, &Tried::ALLOWED);
    }
    // Without a terminal of its own a process is told that there is none, not that it may not.
    let terminal = container.ask(attempt::open("/dev/tty"))?;
    runtime.seen.expect_eq("error of opening /dev/tty without a terminal", &terminal, &Tried(libc::ENXIO));
    // Made by the host, which may: what opens them inside is then refused by the list alone.
    for (name, kind, (major, minor), write) in FOREIGN {
        let path = container.rootfs.join(format!("of-host-{name}"));
        let mode = Mode::from_bits_truncate(0o666);
        nix::sys::stat::mknod(&path, kind, mode, makedev(major, minor))?;
        let attempt = |path: &str| if write { attempt::write(path, "") } else { attempt::open(path) };
        let outside = runtime.host_probe()?.ask(attempt(&path.display().to_string()))?;
        let expected = if name == "null" { Tried::ALLOWED } else { Tried(libc::EPERM) };
        if !outside.is_allowed() {
            runtime.seen.note(format!("the host itself cannot open {name} ({major}:{minor}): {outside}"));
            continue;
        }
        let inside = container.ask(attempt(&format!("/of-host-{name}")))?;
        let how = if write { "write" } else { "read" };
        runtime.seen.expect_eq(&format!("error of opening {name} to {how}"), &inside, &expected);
    }
    container.close()?;
    Ok(())
}

/// Devices that the host makes: one that is allowed, as the control, and such as a host has whatever its hardware is.
const FOREIGN: [(&str, SFlag, (u64, u64), bool); 4] = [
    ("null", SFlag::S_IFCHR, (1, 3), true),
    ("kmsg", SFlag::S_IFCHR, (1, 11), true),
    ("loop-control", SFlag::S_IFCHR, (10, 237), false),
    ("loop", SFlag::S_IFBLK, (7, 0), false),
];

fn allow_one(runtime: &mut RuntimeFixture) -> Checked {
    // 1:11 is /dev/kmsg, which is on every host and can be opened for both.
    let wanted = runtime.container().capabilities(&["MKNOD", "SYSLOG"]).with(|spec| {
        let rule = |access: &str| DeviceRule {
            allow: true,
            kind: Some("c".into()),
            major: Some(1),
            minor: Some(11),
            access: Some(access.into()),
        };
        resources(spec).devices.push(rule("rm"));
    });
    let mut container = wanted.start()?;
    let made = container.ask(attempt::mknod("/tmp/kmsg", attempt::Device::Char, 1, 11))?;
    runtime.seen.expect_eq("error of making it", &made, &Tried::ALLOWED);
    let read = container.ask(attempt::open("/tmp/kmsg"))?;
    runtime.seen.expect_eq("error of opening it to read", &read, &Tried::ALLOWED);
    let write = container.ask(attempt::write("/tmp/kmsg", ""))?;
    runtime.seen.expect_eq("error of opening it to write", &write, &Tried(libc::EPERM));
    container.close()?;
    Ok(())
}

fn mknod(runtime: &mut RuntimeFixture) -> Checked {
    let mut container = runtime.container().start()?;
    // 7:0 is the first loop device: a disk that every host has, and that nothing is read from here.
    let made = container.ask(attempt::mknod("/tmp/disk", attempt::Device::Block, 7, 0))?;
    runtime.seen.expect_eq("error of making a disk device", &made, &Tried(libc::EPERM));
    let mode = Mode::from_bits_truncate(0o666);
    for (name, kind, device, expected) in [
        // On this file system a device can be opened at all.
        ("null", SFlag::S_IFCHR, makedev(1, 3), 0),
        ("disk", SFlag::S_IFBLK, makedev(7, 0), libc::EPERM),
    ] {
        let path = container.rootfs.join(format!("of-host-{name}"));
        nix::sys::stat::mknod(&path, kind, mode, device)?;
        let opened = container.ask(attempt::open(&format!("/of-host-{name}")))?;
        let what = format!("error of opening the {name} device that the host made");
        runtime.seen.expect_eq(&what, &opened, &Tried(expected));
    }
    container.close()?;
    Ok(())
}
