//! Limits, from the words of the command line.

use clap::Args;

use crate::shared::parse_bytes;
use engine::containers;
use runtime::error::{Doing, Error, Result};
use runtime::oci::{BlockIo, Cpu, Memory, Pids, Resources, Rlimit, ThrottleDevice};

/// Fewest bytes that a container can be limited to. Source: Docker reference, docker run --memory.
const SMALLEST: i64 = 6 << 20;

/// How many CPUs this machine has.
fn available() -> f64 {
    let online = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    online.and_then(|number| u32::try_from(number).ok()).map_or(1.0, f64::from)
}

/// Limits of a new container.
#[derive(Debug, Args)]
pub(crate) struct Limits {
    /// Length of a period of the CPU quota, in microseconds
    #[arg(long, value_name = "US")]
    cpu_period: Option<u64>,
    /// CPU time in each period, in microseconds
    #[arg(long, value_name = "US")]
    cpu_quota: Option<i64>,
    /// CPU time as a number of CPUs, such as 1.5
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["cpu_period", "cpu_quota"])]
    cpus: Option<f64>,
    /// Share of the CPU when others want it too; 1024 is usual
    #[arg(long, short, value_name = "SHARES")]
    cpu_shares: Option<u64>,
    /// CPUs that it may use, such as 0-2,4
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// Memory nodes that it may use
    #[arg(long, value_name = "LIST")]
    cpuset_mems: Option<String>,
    /// Memory limit, such as 512m
    #[arg(long, short, value_name = "SIZE")]
    memory: Option<String>,
    /// Limit of memory and swap together; -1 for no limit of swap
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Memory that it keeps when others are short
    #[arg(long, value_name = "SIZE")]
    memory_reservation: Option<String>,
    /// Most processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Reads from a device, as DEVICE:BYTES-PER-SECOND
    #[arg(long, value_name = "RATE")]
    device_read_bps: Vec<String>,
    /// Writes to a device, as DEVICE:BYTES-PER-SECOND
    #[arg(long, value_name = "RATE")]
    device_write_bps: Vec<String>,
    /// Reads from a device, as DEVICE:NUMBER-PER-SECOND
    #[arg(long, value_name = "RATE")]
    device_read_iops: Vec<String>,
    /// Writes to a device, as DEVICE:NUMBER-PER-SECOND
    #[arg(long, value_name = "RATE")]
    device_write_iops: Vec<String>,
    /// Limit of setrlimit(2), as NAME=SOFT[:HARD]
    #[arg(long, value_name = "LIMIT")]
    ulimit: Vec<String>,
    /// Real-time CPU time in each real-time period, in microseconds (cgroup v1)
    #[arg(long, value_name = "US")]
    cpu_rt_runtime: Option<i64>,
    /// Length of a real-time period, in microseconds (cgroup v1)
    #[arg(long, value_name = "US")]
    cpu_rt_period: Option<u64>,
    /// How willingly its memory is swapped out, 0 to 100 (cgroup v1); -1 leaves it to the kernel
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    memory_swappiness: Option<i64>,
    /// Processes wait instead of being killed when memory is short (cgroup v1)
    #[arg(long)]
    oom_kill_disable: bool,
    /// Share of block I/O, 10 to 1000; 0 leaves it to the kernel
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u16>,
    /// What may be done with devices: 'c 1:3 rwm'
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<String>,
}

impl Limits {
    /// All limits of the container's group.
    pub(crate) fn resources(&self) -> Result<Resources> {
        let memory = self.memory()?;
        let cpu = self.cpu()?;
        let rates = |texts: &[String], name: &str| -> Result<Vec<ThrottleDevice>> {
            texts.iter().map(|text| parse_rate(text, name)).collect()
        };
        if self.blkio_weight.is_some_and(|weight| weight != 0 && !(10..=1000).contains(&weight)) {
            return Err(Error::new("invalid --blkio-weight: expected 10 to 1000, or 0"));
        }
        let block_io = BlockIo {
            weight: self.blkio_weight.filter(|weight| *weight != 0),
            throttle_read_bps_device: rates(&self.device_read_bps, "device-read-bps")?,
            throttle_write_bps_device: rates(&self.device_write_bps, "device-write-bps")?,
            throttle_read_iops_device: rates(&self.device_read_iops, "device-read-iops")?,
            throttle_write_iops_device: rates(&self.device_write_iops, "device-write-iops")?,
            ..BlockIo::default()
        };
        let rules = self.device_cgroup_rule.iter().map(|text| containers::device_rule(text));
        Ok(Resources {
            devices: rules.collect::<Result<_>>()?,
            memory: (memory != Memory::default()).then_some(memory),
            cpu: (cpu != Cpu::default()).then_some(cpu),
            pids: self.pids_limit.map(|limit| Pids { limit }),
            block_io: (block_io != BlockIo::default()).then_some(block_io),
            ..Resources::default()
        })
    }

    /// An option that only a new container takes.
    pub(crate) fn fixed(&self) -> Option<&'static str> {
        let all = [
            (!self.ulimit.is_empty(), "--ulimit"),
            (!self.device_cgroup_rule.is_empty(), "--device-cgroup-rule"),
            (!self.device_read_bps.is_empty(), "--device-read-bps"),
            (!self.device_write_bps.is_empty(), "--device-write-bps"),
            (!self.device_read_iops.is_empty(), "--device-read-iops"),
            (!self.device_write_iops.is_empty(), "--device-write-iops"),
            (self.memory_swappiness.is_some(), "--memory-swappiness"),
            (self.oom_kill_disable, "--oom-kill-disable"),
        ];
        all.into_iter().find_map(|(is_given, option)| is_given.then_some(option))
    }

    /// Limits of setrlimit(2).
    pub(super) fn rlimits(&self) -> Result<Vec<Rlimit>> {
        self.ulimit.iter().map(|text| parse_ulimit(text)).collect()
    }

    /// `--cpus` in billionths.
    pub(super) fn nano_cpus(&self) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked by `cpu`")]
        self.cpus.map_or(0, |cpus| (cpus * 1e9).round() as u64)
    }

    /// The limit of memory and swap together. Docker's rule: as much swap as memory.
    pub(super) fn swap(&self) -> Result<Option<i64>> {
        let limit = bytes(self.memory.as_ref(), "memory")?;
        let swap = bytes(self.memory_swap.as_ref(), "memory-swap")?.filter(|swap| *swap != 0);
        Ok(swap.or_else(|| limit.filter(|limit| *limit > 0).map(|limit| limit.saturating_mul(2))))
    }

    fn memory(&self) -> Result<Memory> {
        let limit = bytes(self.memory.as_ref(), "memory")?.filter(|limit| *limit != 0);
        if limit.is_some_and(|limit| (1..SMALLEST).contains(&limit)) {
            let text = self.memory.as_deref().unwrap_or_default();
            return Err(Error::new(format!("invalid --memory '{text}'"))
                .remedy("no container starts with less than 6m"));
        }
        let swap = self.swap()?;
        if let (Some(limit), Some(swap)) = (limit, swap)
            && swap != -1
            && swap < limit
        {
            return Err(Error::new("--memory-swap counts memory too, so it cannot be below --memory"));
        }
        if swap.is_some_and(|swap| swap > 0) && limit.is_none() {
            return Err(Error::new("--memory-swap needs --memory"));
        }
        let reservation = bytes(self.memory_reservation.as_ref(), "memory-reservation")?;
        if let (Some(limit), Some(reservation)) = (limit, reservation)
            && limit > 0
            && reservation > limit
        {
            return Err(Error::new("--memory-reservation cannot be above --memory"));
        }
        let swappiness = match self.memory_swappiness {
            None | Some(-1) => None,
            Some(value) => {
                Some(u64::try_from(value).ok().filter(|value| *value <= 100).ok_or_else(|| {
                    Error::new(format!("invalid --memory-swappiness {value}: expected -1, or 0 to 100"))
                })?)
            }
        };
        Ok(Memory {
            limit,
            // Where the kernel counts no swap there is nothing to limit.
            swap: swap.filter(|_| swap_is_counted()),
            reservation,
            swappiness,
            disable_oom_killer: self.oom_kill_disable.then_some(true),
            ..Memory::default()
        })
    }

    fn cpu(&self) -> Result<Cpu> {
        let (mut period, mut quota) = (self.cpu_period, self.cpu_quota);
        if let Some(cpus) = self.cpus.filter(|cpus| *cpus != 0.0) {
            let there = available();
            if !(0.01..=there).contains(&cpus) {
                return Err(Error::new(format!("invalid --cpus {cpus}: expected 0.01 to {there}"))
                    .remedy(format!("this machine has {there} CPUs")));
            }
            period = Some(100_000);
            #[expect(clippy::cast_possible_truncation, reason = "bounded above")]
            let microseconds = (cpus * 100_000.0).round() as i64;
            quota = Some(microseconds);
        }
        Ok(Cpu {
            period: period.filter(|period| *period != 0),
            quota: quota.filter(|quota| *quota != 0),
            shares: self.cpu_shares.filter(|shares| *shares != 0),
            realtime_runtime: self.cpu_rt_runtime,
            realtime_period: self.cpu_rt_period,
            cpus: self.cpuset_cpus.clone(),
            mems: self.cpuset_mems.clone(),
            ..Cpu::default()
        })
    }
}

fn bytes(text: Option<&String>, name: &str) -> Result<Option<i64>> {
    let Some(text) = text else { return Ok(None) };
    if text == "-1" {
        return Ok(Some(-1));
    }
    let bytes = parse_bytes(text).map_err(|error| Error::new(format!("--{name}: {error}")))?;
    i64::try_from(bytes).map(Some).map_err(|_| Error::new(format!("--{name} {text} is too large")))
}

/// Whether limits of swap can be set: cgroup v1 needs a boot parameter for it on some kernels.
fn swap_is_counted() -> bool {
    let files =
        ["/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "/sys/fs/cgroup/memory.memsw.limit_in_bytes"];
    std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
        || files.iter().any(|file| std::path::Path::new(file).exists())
}

pub(super) fn parse_sysctl(text: &str) -> Result<(String, String)> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) =
        pair.ok_or_else(|| Error::new(format!("invalid --sysctl '{text}': expected NAME=VALUE")))?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn parse_ulimit(text: &str) -> Result<Rlimit> {
    let bad = || {
        Error::new(format!("invalid --ulimit '{text}': expected NAME=SOFT[:HARD], such as nofile=1024:2048"))
    };
    let (name, values) = text.split_once('=').ok_or_else(bad)?;
    let number = |value: &str| match value {
        "-1" | "unlimited" => Ok(u64::MAX),
        value => value.parse().map_err(|_| bad()),
    };
    let (soft, hard) = values.split_once(':').unwrap_or((values, values));
    let kind = format!("RLIMIT_{}", name.to_uppercase());
    runtime::process::credentials::resource(&kind).map_err(|_| bad())?;
    Ok(Rlimit { kind, soft: number(soft)?, hard: number(hard)? })
}

fn parse_rate(text: &str, name: &str) -> Result<ThrottleDevice> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let (device, rate) = text
        .rsplit_once(':')
        .ok_or_else(|| Error::new(format!("--{name} {text}: it looks like /dev/DISK:RATE")))?;
    let metadata = std::fs::metadata(device).doing(|| format!("--{name}: looking at {device}"))?;
    if !metadata.file_type().is_block_device() {
        return Err(Error::new(format!("--{name}: {device} is not a block device")));
    }
    let rate = parse_bytes(rate).map_err(|error| Error::new(format!("--{name}: {error}")))?;
    let number = metadata.rdev();
    Ok(ThrottleDevice {
        major: rustix::fs::major(number).into(),
        minor: rustix::fs::minor(number).into(),
        rate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_docker_reads_them() {
        let limit = parse_ulimit("nofile=10:20").unwrap();
        assert_eq!((limit.kind.as_str(), limit.soft, limit.hard), ("RLIMIT_NOFILE", 10, 20));
        assert_eq!(parse_ulimit("core=0").unwrap().hard, 0);
        for wrong in ["nofile", "nofile=x", "flights=1"] {
            assert!(parse_ulimit(wrong).is_err(), "{wrong}");
        }
        assert!(
            parse_rate("/dev/null:1m", "device-read-bps")
                .unwrap_err()
                .to_string()
                .contains("not a block device")
        );
        assert!(parse_sysctl("=1").is_err());
    }
}
