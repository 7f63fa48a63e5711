//! Limits, shares and devices as options.

use std::path::PathBuf;

use runtime::oci::{BlockIo, Cpu, Device, DeviceRule, Memory, Resources, ThrottleDevice, example};

use super::request::{Request, nothing_left};
use super::unexpressed::Unexpressed;

pub(super) fn translate(
    mut rest: Resources,
    devices: &[Device],
    made: &mut Request,
) -> Result<(), Unexpressed> {
    let rules = std::mem::take(&mut rest.devices);
    self::devices(&rules, devices, made)?;
    memory(rest.memory.take(), made)?;
    cpu(rest.cpu.take(), made)?;
    if let Some(pids) = rest.pids.take() {
        made.option("--pids-limit", pids.limit);
    }
    block_io(rest.block_io.take(), made)?;
    nothing_left("linux.resources", &rest)
}

fn memory(asked: Option<Memory>, made: &mut Request) -> Result<(), Unexpressed> {
    if let Some(mut memory) = asked {
        let swap = memory.swap.take();
        if let Some(limit) = memory.limit.take() {
            made.option("--memory", limit);
            // An engine would take the same again for swap.
            made.option("--memory-swap", swap.unwrap_or(-1));
        } else if swap.is_some() {
            return Err(Unexpressed::new("linux.resources.memory.swap without a limit"));
        }
        if let Some(reservation) = memory.reservation.take() {
            made.option("--memory-reservation", reservation);
        }
        if let Some(swappiness) = memory.swappiness.take() {
            made.option("--memory-swappiness", swappiness);
        }
        if let Some(disabled) = memory.disable_oom_killer.take() {
            made.option("--oom-kill-disable", disabled);
        }
        nothing_left("linux.resources.memory", &memory)?;
    }
    Ok(())
}

fn cpu(asked: Option<Cpu>, made: &mut Request) -> Result<(), Unexpressed> {
    if let Some(mut cpu) = asked {
        let numbers = [
            ("--cpu-shares", cpu.shares.take().map(|number| number.to_string())),
            ("--cpu-quota", cpu.quota.take().map(|number| number.to_string())),
            ("--cpu-period", cpu.period.take().map(|number| number.to_string())),
            ("--cpu-rt-runtime", cpu.realtime_runtime.take().map(|number| number.to_string())),
            ("--cpu-rt-period", cpu.realtime_period.take().map(|number| number.to_string())),
            ("--cpuset-cpus", cpu.cpus.take()),
            ("--cpuset-mems", cpu.mems.take()),
        ];
        for (option, value) in numbers {
            if let Some(value) = value {
                made.option(option, value);
            }
        }
        nothing_left("linux.resources.cpu", &cpu)?;
    }
    Ok(())
}

fn block_io(asked: Option<BlockIo>, made: &mut Request) -> Result<(), Unexpressed> {
    if let Some(mut io) = asked {
        if let Some(weight) = io.weight.take() {
            made.option("--blkio-weight", weight);
        }
        for (option, limits) in [
            ("--device-read-bps", std::mem::take(&mut io.throttle_read_bps_device)),
            ("--device-write-bps", std::mem::take(&mut io.throttle_write_bps_device)),
            ("--device-read-iops", std::mem::take(&mut io.throttle_read_iops_device)),
            ("--device-write-iops", std::mem::take(&mut io.throttle_write_iops_device)),
        ] {
            throttle(option, &limits, made)?;
        }
        nothing_left("linux.resources.blockIO", &io)?;
    }
    Ok(())
}

fn throttle(option: &str, limits: &[ThrottleDevice], made: &mut Request) -> Result<(), Unexpressed> {
    for limit in limits {
        let path = node("b", limit.major, limit.minor)?;
        made.option(option, format!("{}:{}", path.display(), limit.rate));
    }
    Ok(())
}

/// Devices with the rules that allow them; beside them what everybody denies first, and what more is allowed.
fn devices(rules: &[DeviceRule], devices: &[Device], made: &mut Request) -> Result<(), Unexpressed> {
    let usual = example().linux.unwrap_or_default().resources.unwrap_or_default().devices;
    if !rules.starts_with(&usual) {
        return Err(Unexpressed::new("linux.resources.devices without the rule that denies all"));
    }
    let mut more: Vec<&DeviceRule> = rules[usual.len()..].iter().collect();
    for device in devices {
        let is_its = |rule: &&DeviceRule| {
            rule.allow
                && rule.kind.as_deref() == Some(&device.kind)
                && (rule.major, rule.minor) == (Some(device.major), Some(device.minor))
        };
        let at = more.iter().position(is_its);
        let Some(rule) = at.map(|at| more.remove(at)) else {
            return Err(Unexpressed::new("linux.devices without a rule that allows the device"));
        };
        let source = node(&device.kind, device.major, device.minor)?;
        let access = rule.access.as_deref().unwrap_or("rwm");
        made.option("--device", format!("{}:{}:{access}", source.display(), device.path.display()));
    }
    for rule in more {
        if !rule.allow {
            return Err(Unexpressed::new("linux.resources.devices with a rule that denies"));
        }
        let number = |number: Option<i64>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let kind = rule.kind.as_deref().unwrap_or("a");
        let access = rule.access.as_deref().unwrap_or("rwm");
        made.option(
            "--device-cgroup-rule",
            format!("{kind} {}:{} {access}", number(rule.major), number(rule.minor)),
        );
    }
    Ok(())
}

/// The host's file of a device.
fn node(kind: &str, major: i64, minor: i64) -> Result<PathBuf, Unexpressed> {
    let class = if kind == "b" { "block" } else { "char" };
    let event =
        std::fs::read_to_string(format!("/sys/dev/{class}/{major}:{minor}/uevent")).unwrap_or_default();
    let name = event.lines().find_map(|line| line.strip_prefix("DEVNAME="));
    name.map(|name| PathBuf::from("/dev").join(name)).ok_or_else(|| {
        Unexpressed::new(format!("the device {kind} {major}:{minor}, which has no file in /dev"))
    })
}
