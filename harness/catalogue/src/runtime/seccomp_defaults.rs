//! Default actions of a filter: their error number, and rules that say the same.

use kit::check::{Check, Checked};
use kit::fault;
use kit::need::Need;
use kit::runtime::{Container, RuntimeFixture};
use kit::verbs::bare::{self, Called, Way};
use runtime::oci::Seccomp;

use super::seccomp_rules::{allow_list, rule, with_profile};

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "sec.seccomp.default-errno",
        "a call that no rule names gives the error number that defaultErrnoRet asks for",
        "OCI config-linux.md, Seccomp, defaultErrnoRet; crun 0.19",
        default_errno,
    )
    .needs(&[Need::Seccomp])
    .faults(&[fault::config("passed over", |spec| {
        if let Some(seccomp) = spec.linux.get_or_insert_default().seccomp.as_mut() {
            seccomp.default_errno_ret = None;
        }
    })]),
    Check::of_runtime(
        "sec.seccomp.redundant-rule",
        "a rule whose action is the default one keeps no container from starting, and no other rule from its work",
        "OCI config-linux.md, Seccomp; seccomp_rule_add(3), EACCES; runc#3109",
        redundant_rule,
    )
    .needs(&[Need::Seccomp])
    .faults(&[fault::config("the whole profile dropped", |spec| {
        spec.linux.get_or_insert_default().seccomp = None;
    })]),
];

const AT_FDCWD: &str = "4294967196";

fn default_errno(runtime: &mut RuntimeFixture) -> Checked {
    let profile = Seccomp { default_errno_ret: Some(libc::EDOM.cast_unsigned()), ..allow_list() };
    let container = runtime.container().with(with_profile(profile)).start()?;
    let left_out = "a call that is left out, with a defaultErrnoRet";
    expect_one_refused(runtime, container, "a call on the list", left_out)
}

/// Of getppid(2) and mkdirat(2), which `allowed` and `refused` describe, the filter refuses the second with EDOM.
fn expect_one_refused(
    runtime: &mut RuntimeFixture,
    mut container: Container,
    allowed: &str,
    refused: &str,
) -> Checked {
    for (what, number, words, expected) in [
        (allowed, libc::SYS_getppid, [].as_slice(), 0),
        (refused, libc::SYS_mkdirat, &[AT_FDCWD, "@/tmp/new", "448"], libc::EDOM),
    ] {
        let seen = container.ask(bare::system_call(Way::Native, number, words))?;
        runtime.seen.expect_eq(&format!("error of {what}"), &seen, &Called::Error(expected));
    }
    container.close()?;
    Ok(())
}

fn redundant_rule(runtime: &mut RuntimeFixture) -> Checked {
    let profile = Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        syscalls: vec![
            rule(&["getppid", "read"], "SCMP_ACT_ALLOW", None, &[]),
            rule(&["mkdirat"], "SCMP_ACT_ERRNO", Some(libc::EDOM), &[]),
        ],
        ..Seccomp::default()
    };
    let started = runtime.container().with(with_profile(profile)).attempt()?;
    let what = "a rule that allows where the default allows";
    let Some(container) = runtime.expect_runs(what, started) else { return Ok(()) };
    expect_one_refused(
        runtime,
        container,
        "the call that is allowed twice",
        "the call that another rule refuses",
    )
}
