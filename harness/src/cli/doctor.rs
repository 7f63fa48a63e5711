//! `plimsoll doctor`: what this host has and lacks, and which command brings it.

use clap::Args;
use record::status::{self, Require};
use reports::json;

use super::failed::Failed;
use crate::examine::{Candidate, Examined, examine};
use kit::check::Trouble;

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    /// How many checks must be possible here, as a number or a percentage of all: with fewer the exit status is 3
    #[arg(long, value_name = "N|PERCENT", default_value_t = Require::default())]
    require: Require,
}

/// The meaning of the exit status, as `--help` tells it.
pub(super) const STATUSES: &str = "Exit status: 0 checks can be tried here, 2 our own runtime runs no container although this host has \
                                   what it needs, 3 no check can be tried or fewer than --require asks";

impl Doctor {
    pub(super) fn run(&self) -> Result<u8, Failed> {
        let found = examine(&|text| output::errln!("plimsoll: {text}")).map_err(Trouble::into_text)?;
        if self.json {
            output::outln!("{}", json::text(&found)?.trim_end());
        } else {
            show(&found);
        }
        let core = found.subjects.first().and_then(|core| core.unable.as_ref());
        let counts = record::Counts {
            pass: found.can_be_tried,
            skip: found.checks - found.can_be_tried,
            ..record::Counts::default()
        };
        Ok(status::of(counts, core.is_some(), self.require))
    }
}

fn show(found: &Examined) {
    let host = &found.host;
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
    for need in &found.needs {
        match &need.unmet {
            None => output::outln!("has    {}", need.name),
            Some(remedy) => output::outln!("lacks  {} ({} checks): {remedy}", need.name, need.checks),
        }
    }
    for Candidate { name, version, unable } in &found.subjects {
        match unable {
            None => output::outln!("has    {name}: {version}"),
            Some(reason) if version.is_empty() => output::outln!("lacks  {name} as a subject: {reason}"),
            Some(reason) => output::outln!("lacks  {name} ({version}) as a subject: {reason}"),
        }
    }
    super::sockets::show();
    output::outln!("\n{} of {} checks can be tried here", found.can_be_tried, found.checks);
}
