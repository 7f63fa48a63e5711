//! A further process in a running container.

use reports::Scope;
use runtime::namespace::{Kind, id};
use serde_json::Value;

use crate::check::{Body, Check, Checked};
use crate::fault::{Fault, How};
use crate::need::Need;
use crate::trial::Trial;

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "ns.exec.joins-all",
        scope: Scope::Runtime,
        claim: "an exec'd process is in all the container's namespaces",
        source: "setns(2); OCI runtime-spec, runtime.md",
        needs: &[Need::Root],
        faults: &[Fault { name: "one setns skipped", how: How::ExecSkips(Kind::Ipc) }],
        tolerance: "",
        timing: false,
        body: Body::Subject(joins_all),
    },
    Check {
        id: "ns.exec.is-limited-too",
        scope: Scope::Runtime,
        claim: "an exec'd process is in the container's cgroups and held by its limits",
        source: "Documentation/admin-guide/cgroup-v1/pids.rst; cgroup-v2.rst, PID",
        needs: &[Need::Root, Need::Controller("pids")],
        faults: &[Fault { name: "exec left in the caller's cgroup", how: How::ExecOutsideCgroups }],
        tolerance: "",
        timing: false,
        body: Body::Subject(is_limited_too),
    },
];

fn joins_all(trial: &mut Trial) -> Checked {
    let container = trial.container().start()?;
    let exec = container.exec()?;
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_supported()) {
        let (joined, wanted) = (id(exec.pid, kind)?, id(container.pid, kind)?);
        trial.seen.expect_eq(&format!("{} namespace of the exec'd process", kind.file()), &joined, &wanted);
    }
    drop(exec);
    container.close()?;
    Ok(())
}

fn is_limited_too(trial: &mut Trial) -> Checked {
    const LIMIT: i64 = 16;
    let container = trial.container().pids(LIMIT).start()?;
    let mut exec = container.exec()?;
    let own = std::fs::read_to_string(format!("/proc/{}/cgroup", exec.pid))?;
    let wanted = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid))?;
    trial.seen.expect_eq("cgroups of the exec'd process", &own, &wanted);
    let forked = exec.ask(&["fork", "64"])?;
    let made = forked["made"].as_i64().unwrap_or(i64::MAX);
    trial.seen.expect("children that it could fork", made, format!("fewer than {LIMIT}"), made < LIMIT);
    trial.seen.expect_json(
        "error of the fork that was refused",
        &forked["errno"],
        &Value::from(libc::EAGAIN),
    );
    drop(exec);
    container.close()?;
    Ok(())
}
