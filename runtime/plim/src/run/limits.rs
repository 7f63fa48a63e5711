//! Limits, from the words of the command line.

use super::options::Options;
use crate::shared::parse_bytes;
use runtime::error::{Doing, Error, Result};
use runtime::oci::{BlockIo, Cpu, Memory, Pids, Resources, Rlimit, ThrottleDevice};

/// Fewest bytes that a container can be limited to. Source: Docker reference, docker run --memory.
const SMALLEST: i64 = 6 << 20;

/// How many CPUs this machine has.
fn available() -> f64 {
    let online = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN).ok().flatten();
    online.and_then(|number| u32::try_from(number).ok()).map_or(1.0, f64::from)
}

impl Options {
    /// All limits of the container's group.
    pub(super) fn resources(&self) -> Result<Resources> {
        let (memory, cpu, block_io) = (self.memory_limits()?, self.cpu_limits()?, self.block_io_limits()?);
        Ok(Resources {
            memory: (memory != Memory::default()).then_some(memory),
            cpu: (cpu != Cpu::default()).then_some(cpu),
            pids: self.pids_limit.map(|limit| Pids { limit }),
            block_io: (block_io != BlockIo::default()).then_some(block_io),
            ..Resources::default()
        })
    }

    fn memory_limits(&self) -> Result<Memory> {
        let bytes = |text: &Option<String>, name: &str| -> Result<Option<i64>> {
            let Some(text) = text else { return Ok(None) };
            if text == "-1" {
                return Ok(Some(-1));
            }
            let bytes = parse_bytes(text).map_err(|error| Error::new(format!("--{name}: {error}")))?;
            i64::try_from(bytes).map(Some).map_err(|_| Error::new(format!("--{name} {text} is too large")))
        };
        let limit = bytes(&self.memory, "memory")?;
        if limit.is_some_and(|limit| (1..SMALLEST).contains(&limit)) {
            return Err(Error::new(format!(
                "invalid --memory '{}'",
                self.memory.as_deref().unwrap_or_default()
            ))
            .remedy("no container starts with less than 6m"));
        }
        let mut swap = bytes(&self.memory_swap, "memory-swap")?;
        if let (Some(limit), None) = (limit, swap) {
            // Docker's rule: as much swap as memory.
            swap = Some(limit.saturating_mul(2));
        }
        if let (Some(limit), Some(swap)) = (limit, swap)
            && swap != -1
            && swap < limit
        {
            return Err(Error::new("--memory-swap counts memory too, so it cannot be below --memory"));
        }
        if swap.is_some() && limit.is_none() {
            return Err(Error::new("--memory-swap needs --memory"));
        }
        Ok(Memory {
            limit,
            // Where the kernel counts no swap there is nothing to limit.
            swap: swap.filter(|_| swap_is_counted()),
            reservation: bytes(&self.memory_reservation, "memory-reservation")?,
            ..Memory::default()
        })
    }

    fn cpu_limits(&self) -> Result<Cpu> {
        let (mut period, mut quota) = (self.cpu_period, self.cpu_quota);
        if let Some(cpus) = self.cpus {
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
            period,
            quota,
            shares: self.cpu_shares,
            cpus: self.cpuset_cpus.clone(),
            mems: self.cpuset_mems.clone(),
            ..Cpu::default()
        })
    }

    fn block_io_limits(&self) -> Result<BlockIo> {
        let rates = |texts: &[String], name: &str| -> Result<Vec<ThrottleDevice>> {
            texts.iter().map(|text| parse_rate(text, name)).collect()
        };
        Ok(BlockIo {
            throttle_read_bps_device: rates(&self.device_read_bps, "device-read-bps")?,
            throttle_write_bps_device: rates(&self.device_write_bps, "device-write-bps")?,
            throttle_read_iops_device: rates(&self.device_read_iops, "device-read-iops")?,
            throttle_write_iops_device: rates(&self.device_write_iops, "device-write-iops")?,
            ..BlockIo::default()
        })
    }
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
        pair.ok_or_else(|| Error::new(format!("--sysctl {text}: it looks like NAME=VALUE")))?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn parse_ulimit(text: &str) -> Result<Rlimit> {
    let bad =
        || Error::new(format!("--ulimit {text}: it looks like NAME=SOFT[:HARD], such as nofile=1024:2048"));
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
        return Err(Error::new(format!("--{name}: {device} is no block device")));
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
                .contains("no block device")
        );
        assert!(parse_sysctl("=1").is_err());
    }
}
