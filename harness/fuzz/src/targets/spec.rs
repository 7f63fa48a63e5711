//! What `plim-runtime` reads.

use runtime::oci::{Process, Resources, Seccomp, Spec};
use runtime::process::credentials::CapabilitySets;
use runtime::process::seccomp::Filter;
use runtime::rootfs::options::Options;

pub(super) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok((spec, _)) = runtime::oci::read(text) else { return };
    for mount in &spec.mounts {
        let _ = Options::parse(&mount.options);
    }
    if let Some(process) = &spec.process {
        understand(process);
    }
    if let Some(seccomp) = &spec.linux().seccomp {
        compile(seccomp);
    }
    let written = serde_json::to_string(&spec).expect("what was read can be written");
    let again: Spec = serde_json::from_str(&written).expect("what was written can be read");
    let again = serde_json::to_string(&again).expect("what was read can be written");
    assert!(again == written, "it changed when it was written and read again");
}

pub(super) fn process(data: &[u8]) {
    if let Ok(process) = serde_json::from_slice::<Process>(data) {
        understand(&process);
    }
}

pub(super) fn resources(data: &[u8]) {
    let Ok(resources) = serde_json::from_slice::<Resources>(data) else { return };
    let again = serde_json::to_string(&resources).expect("what was read can be written");
    let again: Resources = serde_json::from_str(&again).expect("what was written can be read");
    assert!(again == resources, "it changed when it was written and read again");
}

pub(super) fn mount_options(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let options: Vec<String> = text.split(',').map(str::to_owned).collect();
    let _ = Options::parse(&options);
}

fn understand(process: &Process) {
    let _ = CapabilitySets::parse(process.capabilities.as_ref());
    for limit in &process.rlimits {
        let _ = runtime::process::credentials::resource(&limit.kind);
    }
}

fn compile(seccomp: &Seccomp) {
    let _ = Filter::compile(seccomp);
}
