//! `plimsoll doctor`

use std::collections::BTreeMap;

use runtime::cgroup::Layout;

use crate::host;
use kit::need::Need;
use subject::Subject;

pub(super) fn run() -> Result<u8, String> {
    let layout = Layout::detect().map_err(|error| error.to_string())?;
    let host = host::describe(&layout);
    println!(
        "Linux {} {}, {} CPUs, {}",
        host.kernel,
        host.architecture,
        host.cpus,
        match host.virtualization.as_str() {
            "" => "no hypervisor seen",
            name => name,
        }
    );
    println!("cgroup {}: {}\n", host.cgroup_mode, host.controllers.join(" "));
    let mut needs: BTreeMap<String, (Need, usize)> = BTreeMap::new();
    for need in catalogue::all().iter().flat_map(|check| check.needs) {
        needs.entry(need.describe()).or_insert((*need, 0)).1 += 1;
    }
    for (name, (need, count)) in needs {
        match need.unmet(&layout) {
            None => println!("has    {name}"),
            Some(remedy) => println!("lacks  {name} ({count} checks): {remedy}"),
        }
    }
    for name in ["runc", "crun", "youki"] {
        match Subject::named(name) {
            Ok(subject) => println!("has    {name}: {}", subject.info().version),
            Err(_) => println!(
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
