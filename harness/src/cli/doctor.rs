//! `plimsoll doctor`

use std::collections::BTreeMap;

use runtime::cgroup::Layout;

use crate::host;
use kit::need::Need;
use subject::Subject;

pub(super) fn run() -> Result<u8, String> {
    let layout = Layout::detect().map_err(|error| error.to_string())?;
    let host = host::describe(&layout);
    output::outln!(
        "Linux {} {}, {} CPUs, {}",
        host.kernel,
        host.architecture,
        host.cpus,
        match host.virtualization.as_str() {
            "" => "no hypervisor seen",
            name => name,
        }
    );
    output::outln!("cgroup {}: {}\n", host.cgroup_mode, host.controllers.join(" "));
    let mut needs: BTreeMap<String, (Need, usize)> = BTreeMap::new();
    for need in catalogue::all().iter().flat_map(|check| check.all_needs()) {
        needs.entry(need.describe()).or_insert((need, 0)).1 += 1;
    }
    for (name, (need, count)) in needs {
        match need.unmet(&layout) {
            None => output::outln!("has    {name}"),
            Some(remedy) => output::outln!("lacks  {name} ({count} checks): {remedy}"),
        }
    }
    for name in ["runc", "crun", "youki"] {
        match Subject::named(name) {
            Ok(subject) => output::outln!("has    {name}: {}", subject.info.version),
            Err(_) => output::outln!(
                "lacks  {name} as a subject: {}",
                match name {
                    "youki" => "cargo install youki",
                    _ => "apt-get install runc crun",
                }
            ),
        }
    }
    Ok(0)
}
