//! `plim-runtime update`

use std::path::{Path, PathBuf};

use clap::Args;

use super::log::Log;
use super::shared::Outcome;
use crate::bounded;
use crate::container::Container;
use crate::error::{Error, Result};
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
    /// 1: the group runs only when nothing else wants to; 0: as others do
    #[arg(long, value_name = "0|1", allow_negative_numbers = true)]
    cpu_idle: Option<i64>,
    /// CPUs, as in 0-2,7
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Bytes, also as 50M or 1.5g; -1 lifts the limit
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = bytes)]
    memory: Option<i64>,
    /// Soft limit in bytes
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = bytes)]
    memory_reservation: Option<i64>,
    /// Memory and swap together, in bytes
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true, value_parser = bytes)]
    memory_swap: Option<i64>,
    /// Number of tasks; -1 lifts the limit
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Ignored: the kernel dropped it
    #[arg(long, value_name = "BYTES", hide = true)]
    kernel_memory: Option<String>,
    /// Ignored: the kernel dropped it
    #[arg(long, value_name = "BYTES", hide = true)]
    kernel_memory_tcp: Option<String>,
    /// Not supported
    #[arg(long, value_name = "SCHEMA", hide = true)]
    l3_cache_schema: Option<String>,
    /// Not supported
    #[arg(long, value_name = "SCHEMA", hide = true)]
    mem_bw_schema: Option<String>,
    /// Name of the container
    #[arg(value_name = "CONTAINER-ID")]
    id: String,
}

impl Update {
    pub(super) fn run(&self, root: &Path, log: &Log) -> Outcome {
        if self.l3_cache_schema.is_some() || self.mem_bw_schema.is_some() {
            return Err(Error::new(
                "--l3-cache-schema and --mem-bw-schema need resctrl, which is not supported",
            ));
        }
        if self.kernel_memory.is_some() || self.kernel_memory_tcp.is_some() {
            log.warning("--kernel-memory and --kernel-memory-tcp are ignored: the kernel dropped them");
        }
        let resources = match &self.resources {
            Some(path) => read(path)?,
            None => self.limits_of_options(),
        };
        if resources == Resources::default()
            && self.kernel_memory.is_none()
            && self.kernel_memory_tcp.is_none()
        {
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
            idle: self.cpu_idle,
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
        bounded::read_from(std::io::stdin(), "--resources: standard input", bounded::LARGEST_DOCUMENT)?
    } else {
        bounded::read(path, bounded::LARGEST_DOCUMENT)?
    };
    serde_json::from_slice(&text).map_err(|error| Error::new(format!("--resources: {error}")))
}

/// Reads a number of bytes: `1024`, `50M`, `1.5g`, `64kb`, `64KiB`. Units are powers of 1024, as under runc and Docker.
fn bytes(text: &str) -> Result<i64> {
    let wrong =
        || Error::new(format!("invalid size '{text}': give bytes, or a number with one of k, m, g, t, p"));
    if let Ok(number) = text.parse::<i64>() {
        return if number >= -1 { Ok(number) } else { Err(wrong()) };
    }
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| !c.is_ascii_digit() && c != '.');
    let shift = match lower[digits.len()..].trim_start().trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        "p" => 50,
        _ => return Err(wrong()),
    };
    let number: f64 = digits.parse().map_err(|_| wrong())?;
    let bytes = number * 2_f64.powi(shift);
    #[expect(clippy::cast_possible_truncation, reason = "below 2^63, and parts of bytes have no meaning")]
    if (0.0..9.2e18).contains(&bytes) { Ok(bytes as i64) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("50M", 50 << 20),
            ("50mb", 50 << 20),
            ("64KiB", 64 << 10),
            ("1.5g", 3 << 29),
            ("1024", 1024),
            ("10b", 10),
            ("-1", -1),
            ("2 G", 2 << 30),
        ] {
            assert_eq!(bytes(text).unwrap(), expected, "{text}");
        }
        for wrong in ["", "M", "-2", "-5M", "1x", "1.2.3M", "9999999p", "nan", "inf"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
