//! Containers that start while the host's table of mounts changes.

use kit::check::{Check, Checked};
use kit::fault;
use kit::runtime::RuntimeFixture;
use kit::verbs::{files, look};

pub(crate) const CHECKS: &[Check] = &[Check::of_runtime(
    "ns.mnt.changing-table",
    "containers that start while the host mounts and unmounts all the time leak no mount to it, and see none of the later ones",
    "mount_namespaces(7), Shared subtrees; proc_pid_mountinfo(5); runc#2404",
    changing_table,
)
.faults(&[fault::VOLUME_SHARED])];

/// How many containers are started.
const STARTS: u32 = 6;

fn changing_table(runtime: &mut RuntimeFixture) -> Checked {
    runtime.on_fake_host()?;
    let shared = runtime.file_system()?;
    let text = |name: &str| shared.join(name).display().to_string();
    runtime.ask_host(files::mkdir(&text("volume")))?;
    runtime.ask_host(files::churn_mounts(&text("churn")))?;
    let (mut leaked, mut seen) = (Vec::new(), Vec::new());
    for number in 0..STARTS {
        let mut container = runtime.container().volume(&shared.join("volume"), "/data").start()?;
        container.ask(files::mount(&format!("/data/inner-{number}")))?;
        runtime.ask_host(files::mount(&text(&format!("volume/outer-{number}"))))?;
        let outside = runtime.ask_host(look::read("/proc/self/mountinfo"))?;
        let inside = container.ask(look::read("/proc/self/mountinfo"))?;
        leaked.extend(outside.lines().filter(|line| line.contains("/inner-")).map(str::to_owned));
        seen.extend(inside.lines().filter(|line| line.contains("/outer-")).map(str::to_owned));
        container.close()?;
        runtime.ask_host(files::unmount(&text(&format!("volume/outer-{number}"))))?;
    }
    runtime.seen.expect_eq("mounts made inside that the host has", &leaked, &Vec::<String>::new());
    runtime.seen.expect_eq(
        "mounts made on the host later that containers have",
        &seen,
        &Vec::<String>::new(),
    );
    Ok(())
}
