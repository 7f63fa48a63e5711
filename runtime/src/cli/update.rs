//! `plim-runtime update`

use std::path::{Path, PathBuf};

use clap::Args;

use super::Outcome;
use crate::container::Container;
use crate::error::{Doing, Error, Result};
use crate::oci::{BlockIo, Cpu, Memory, Pids, Resources};

#[derive(Debug, Args)]
pub(super) struct Update {
    /// JSON file with the limits, - for standard input; then no other option counts
    #[arg(long, short, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Weight of block I/O, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// Microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// Microseconds in each period; -1 lifts the limit
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// Microseconds that may be saved up
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_burst: Option<u64>,
    /// Relative share
    #[arg(long, value_name = "SHARES")]
    cpu_share: Option<u64>,
    /// Real-time period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_rt_period: Option<u64>,
    /// Real-time runtime in microseconds
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_rt_runtime: Option<i64>,
    /// CPUs, as in 0-2,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Bytes; -1 lifts the limit
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    memory: Option<i64>,
    /// Soft limit in bytes
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    memory_reservation: Option<i64>,
    /// Memory and swap together, in bytes
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Number of tasks; -1 lifts the limit
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Update {
    pub(super) fn run(&self, root: &Path) -> Outcome {
        let resources = match &self.resources {
            Some(path) => read(path)?,
            None => self.limits_of_options(),
        };
        if resources == Resources::default() {
            return Err(
                Error::new("update needs a limit to change").remedy("plim-runtime update --help lists them")
            );
        }
        Container::hold(root, &self.id)?.update(&resources).map(|()| 0)
    }

    fn limits_of_options(&self) -> Resources {
        let cpu = Cpu {
            shares: self.cpu_share,
            quota: self.cpu_quota,
            burst: self.cpu_burst,
            period: self.cpu_period,
            realtime_runtime: self.cpu_rt_runtime,
            realtime_period: self.cpu_rt_period,
            cpus: self.cpuset_cpus.clone(),
            mems: self.cpuset_mems.clone(),
            idle: None,
        };
        let memory = Memory {
            limit: self.memory,
            reservation: self.memory_reservation,
            swap: self.memory_swap,
            ..Memory::default()
        };
        Resources {
            cpu: (cpu != Cpu::default()).then_some(cpu),
            memory: (memory != Memory::default()).then_some(memory),
            pids: self.pids_limit.map(|limit| Pids { limit }),
            block_io: self.blkio_weight.map(|weight| BlockIo { weight: Some(weight), ..BlockIo::default() }),
            ..Resources::default()
        }
    }
}

fn read(path: &Path) -> Result<Resources> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin()).doing(|| "--resources: reading standard input")?
    } else {
        std::fs::read_to_string(path).doing(|| format!("--resources: reading {}", path.display()))?
    };
    serde_json::from_str(&text).map_err(|error| Error::new(format!("--resources: {error}")))
}
