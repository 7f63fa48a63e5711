//! How the application's program, its home and its namespaces are found in the configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use runtime::namespace::Kind;
use runtime::oci::{Capabilities, Namespace, Root, Spec, User};

use kit::check::{Check, Checked};
use kit::fault;
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, look, state};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "process.home",
        "HOME is / for a user whom /etc/passwd does not have, the user's own directory for one whom it has, and never another than the \
         configuration's",
        "runc and crun (1.21) set it where process.env has none: the OCI specification says nothing of it",
        home,
    )
    .faults(&[fault::config("root's", |spec| {
        if let Some(process) = spec.process.as_mut() {
            process.env.retain(|entry| !entry.starts_with("HOME="));
            process.env.push("HOME=/root".into());
        }
    })]),
    Check::of_runtime(
        "process.path-lookup",
        "a program without a slash in its name is looked for in PATH, one whose name begins with a dot too",
        "OCI config.md, POSIX process, args: IEEE Std 1003.1-2008 execvp's file; crun 1.21",
        path_lookup,
    )
    .faults(&[fault::config("another PATH", |spec| {
        if let Some(process) = spec.process.as_mut() {
            process.env.retain(|entry| !entry.starts_with("PATH="));
            process.env.push("PATH=/none".into());
        }
    })]),
    Check::of_runtime(
        "process.executable-by-capability",
        "a program that only its owner may execute is started for another user who has CAP_DAC_OVERRIDE",
        "capabilities(7), CAP_DAC_OVERRIDE; runc#3715",
        executable_by_capability,
    )
    .faults(&[fault::config("without the capability", |spec| {
        if let Some(process) = spec.process.as_mut() {
            process.capabilities = Some(Capabilities::default());
        }
    })]),
    Check::of_runtime(
        "sec.group.long-line",
        "a line of the image's /etc/group or /etc/passwd of more than 64 KiB keeps no container from starting",
        "group(5) and passwd(5) set no length; runc#3062",
        long_line,
    )
    .faults(&[fault::config("it cannot start", |spec| {
        if let Some(process) = spec.process.as_mut() {
            process.args = vec!["/none".into()];
        }
    })]),
    Check::of_runtime(
        "ns.listed-twice",
        "a kind of namespace that is listed twice is refused",
        "OCI config-linux.md, Namespaces: if the array has duplicated namespaces of one type, the runtime MUST generate an error",
        listed_twice,
    )
    .needs(&[Need::Namespace(Kind::Uts)])
    .faults(&[fault::config("the second one dropped", |spec| {
        let mut kinds = Vec::new();
        spec.linux.get_or_insert_default().namespaces.retain(|namespace| {
            let first = !kinds.contains(&namespace.kind);
            kinds.push(namespace.kind);
            first
        });
    })]),
];

/// A process of a user without rights.
fn as_user(spec: &mut Spec, uid: u32) {
    if let Some(process) = spec.process.as_mut() {
        process.user = User { uid, gid: uid, ..User::default() };
    }
}

fn with_image(image: &Path) -> impl FnOnce(&mut Spec) {
    let root = Root { path: image.to_owned(), readonly: false };
    move |spec| spec.root = Some(root)
}

fn home(runtime: &mut RuntimeFixture) -> Checked {
    let image = runtime.image()?;
    fs::write(image.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nsailor:x:77:77::/home/sailor:/bin/sh\n")?;
    for (what, uid, own, expected) in [
        ("a user whom /etc/passwd does not have", 4_242, None, "/"),
        ("user 77, whose home is /home/sailor", 77, None, "/home/sailor"),
        ("user 77, where the configuration has one", 77, Some("HOME=/asked/for"), "/asked/for"),
    ] {
        let wanted = runtime.container().with(with_image(&image)).with(|spec| {
            as_user(spec, uid);
            if let Some(process) = spec.process.as_mut() {
                process.env.extend(own.map(str::to_owned));
            }
        });
        let mut container = wanted.start()?;
        let seen = container.ask(state::env("HOME"))?;
        runtime.seen.expect_eq(&format!("HOME of {what}"), &seen.as_deref(), &Some(expected));
        container.close()?;
    }
    Ok(())
}

fn path_lookup(runtime: &mut RuntimeFixture) -> Checked {
    let image = runtime.image()?;
    fs::create_dir_all(image.join("programs"))?;
    for name in ["plain", ".hidden"] {
        // A script, because the probe looks at the name by which it is called.
        fs::write(image.join("programs").join(name), "#!/probe process\n")?;
        fs::set_permissions(image.join("programs").join(name), fs::Permissions::from_mode(0o755))?;
        let wanted = runtime.container().with(with_image(&image)).with(|spec| {
            if let Some(process) = spec.process.as_mut() {
                process.args = vec![name.into()];
                process.env.retain(|entry| !entry.starts_with("PATH="));
                process.env.push("PATH=/none:/programs".into());
            }
        });
        let status = wanted.run()?;
        let what = format!("exit status of the program {name} of a directory in PATH");
        runtime.seen.expect_eq(&what, &status, &0);
    }
    Ok(())
}

fn executable_by_capability(runtime: &mut RuntimeFixture) -> Checked {
    let image = runtime.image()?;
    fs::create_dir_all(image.join("private"))?;
    fs::copy(image.join("probe"), image.join("private/probe"))?;
    fs::set_permissions(image.join("private/probe"), fs::Permissions::from_mode(0o700))?;
    // The control: another program may not execute it without the capability.
    let mut plain = runtime.container().with(with_image(&image)).with(|spec| as_user(spec, 1_000)).start()?;
    let tried = plain.ask(attempt::execute("/private/probe"))?;
    runtime.seen.expect_eq("error of executing it without the capability", &tried, &Tried(libc::EACCES));
    plain.close()?;
    let started = runtime
        .container()
        .with(with_image(&image))
        .with(|spec| {
            as_user(spec, 1_000);
            let Some(process) = spec.process.as_mut() else { return };
            process.args = vec!["/private/probe".into(), "serve".into()];
            let own = vec!["CAP_DAC_OVERRIDE".to_owned()];
            process.capabilities = Some(Capabilities {
                bounding: own.clone(),
                effective: own.clone(),
                permitted: own.clone(),
                inheritable: own.clone(),
                ambient: own,
            });
        })
        .attempt()?;
    if let Some(container) = runtime.expect_runs("a program of mode 0700 with the capability", started) {
        container.close()?;
    }
    Ok(())
}

fn long_line(runtime: &mut RuntimeFixture) -> Checked {
    /// In bytes: a little more than the buffers of line readers, 64 KiB.
    const LENGTH: usize = 70_000;
    let image = runtime.image()?;
    for (name, line) in [
        ("group", format!("all:x:99:{}\nsailors:x:77:sailor\n", "member,".repeat(LENGTH / 7))),
        ("passwd", format!("all:x:99:99:{}:/:/bin/sh\nsailor:x:77:77::/:/bin/sh\n", "x".repeat(LENGTH))),
    ] {
        for (file, text) in [("group", "root:x:0:\n"), ("passwd", "root:x:0:0::/root:/bin/sh\n")] {
            fs::write(image.join("etc").join(file), if file == name { &line } else { text })?;
        }
        let started =
            runtime.container().with(with_image(&image)).with(|spec| as_user(spec, 77)).attempt()?;
        let what = format!("/etc/{name} with a line of 70,000 bytes");
        if let Some(mut container) = runtime.expect_runs(&what, started) {
            container.ask(look::alive())?;
            container.close()?;
        }
    }
    Ok(())
}

fn listed_twice(runtime: &mut RuntimeFixture) -> Checked {
    for kind in [Kind::Uts, Kind::Mount] {
        let started = runtime
            .container()
            .with(|spec| {
                spec.linux.get_or_insert_default().namespaces.push(Namespace { kind, path: None });
            })
            .attempt()?;
        runtime.expect_refused(&format!("a configuration with two {} namespaces", kind.file()), started)?;
    }
    Ok(())
}
