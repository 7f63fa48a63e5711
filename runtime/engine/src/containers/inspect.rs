//! All that is known of a container, in the form that Docker gives it. Source: Docker Engine API, `ContainerInspect`.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::create::arguments;
use super::defaults::masked_paths;
use super::engine::Engine;
use super::health::HealthCheck;
use super::inspect_network::network_settings;
use super::record::{MountKind, MountPoint, Phase, Record, State};
use crate::network::publish::Port;
use runtime::container::Container;
use runtime::error::{Error, Result};
use runtime::oci::ThrottleDevice;

/// Go's zero time, which Docker shows for what has not happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// All that is known of a container.
///
/// # Errors
/// A value cannot be written as JSON. What cannot be found out is empty.
pub fn inspect(engine: &Engine, record: &Record) -> Result<Value> {
    let state = engine.state(&record.id);
    let phase = engine.phase(&record.id);
    let is_up = phase.is_up();
    let dir = engine.dir(&record.id);
    let words = arguments(&record.config);
    let container = engine.running(record).ok();
    let cgroups: Vec<String> = container.iter().flat_map(Container::cgroup_dirs).collect();
    let path = |name: &str| dir.join(name).display().to_string();
    Ok(json!({
        "Id": record.id,
        "Created": record.created,
        "Path": words.first().cloned().unwrap_or_default(),
        "Args": words.get(1..).unwrap_or_default(),
        "State": state_value(engine, record, &state, phase)?,
        "Image": record.image_id,
        "ResolvConfPath": path("resolv.conf"),
        "HostnamePath": path("hostname"),
        "HostsPath": path("hosts"),
        "LogPath": if record.host.log.driver == "none" { String::new() } else { path("log") },
        "Name": format!("/{}", record.name),
        "RestartCount": state.restarts,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
        "HostConfig": host_config(record)?,
        "Cgroups": cgroups,
        "GraphDriver": graph_driver(engine, record, &state, is_up),
        "RootFS": { "Type": "layers", "Layers": record.layers },
        "Mounts": record.mounts.iter().filter(|mount| !is_plain_memory(record, mount)).map(mount_value).collect::<Vec<_>>(),
        "Config": config(record)?,
        "NetworkSettings": network_settings(engine, record, &state, is_up),
    }))
}

fn state_value(engine: &Engine, record: &Record, state: &State, phase: Phase) -> Result<Value> {
    let is_up = phase.is_up();
    let runs = matches!(phase, Phase::Running | Phase::Paused);
    let mut value = json!({
        "Status": phase.to_string(),
        "Running": is_up,
        "Paused": phase == Phase::Paused,
        "Restarting": phase == Phase::Restarting,
        "OOMKilled": state.oom_killed,
        "Dead": phase == Phase::Dead,
        "Pid": if runs { state.pid } else { 0 },
        "ExitCode": if runs { 0 } else { state.exit_code.unwrap_or(0) },
        "Error": state.error.clone().unwrap_or_default(),
        "StartedAt": state.started.clone().unwrap_or_else(|| NEVER.into()),
        "FinishedAt": state.finished.clone().unwrap_or_else(|| NEVER.into()),
    });
    if HealthCheck::of(&record.config)?.is_some()
        && let Some(health) = engine.health(record)
    {
        let log: Vec<Value> = health
            .log
            .iter()
            .map(|probe| {
                json!({ "Start": probe.start, "End": probe.end, "ExitCode": probe.exit_code, "Output": probe.output })
            })
            .collect();
        value["Health"] =
            json!({ "Status": health.status, "FailingStreak": health.failing_streak, "Log": log });
    }
    Ok(value)
}

/// `--tmpfs`, which Docker shows among the host's part alone.
fn is_plain_memory(record: &Record, mount: &MountPoint) -> bool {
    mount.kind == MountKind::Tmpfs && record.host.tmpfs.contains_key(&mount.destination.display().to_string())
}

fn mount_value(mount: &MountPoint) -> Value {
    let option = |wanted: &[&str]| {
        mount.options.iter().find(|option| wanted.iter().any(|end| option.ends_with(end))).cloned()
    };
    let propagation = option(&["private", "slave", "shared"]);
    let mut value = json!({
        "Type": mount.kind,
        "Source": mount.source,
        "Destination": mount.destination,
        "Mode": if mount.writable { "" } else { "ro" },
        "RW": mount.writable,
        "Propagation": propagation.unwrap_or_default(),
    });
    match mount.kind {
        MountKind::Volume => {
            value["Name"] = mount.name.clone().into();
            value["Driver"] = "local".into();
            if mount.writable {
                value["Mode"] = "z".into();
            }
        }
        MountKind::Bind if value["Propagation"] == "" => value["Propagation"] = "rprivate".into(),
        _ => {}
    }
    value
}

fn or_null<T: serde::Serialize>(all: &[T]) -> Result<Value> {
    if all.is_empty() { Ok(Value::Null) } else { to_value(&all) }
}

fn to_value(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::new(format!("writing JSON: {error}")))
}

fn host_config(record: &Record) -> Result<Value> {
    let host = &record.host;
    let mode = |is_host: bool| if is_host { "host" } else { "" };
    let (name, most) = (host.restart.name(), host.restart.most());
    let mut value = json!({
        "Binds": or_null(&host.binds)?,
        "ContainerIDFile": host.cidfile.as_ref().map(|path| path.display().to_string()).unwrap_or_default(),
        "LogConfig": { "Type": host.log.driver, "Config": host.log.options },
        "NetworkMode": host.network,
        "PortBindings": port_bindings(&host.ports),
        "RestartPolicy": { "Name": name, "MaximumRetryCount": most },
        "AutoRemove": host.auto_remove,
        "VolumeDriver": "",
        "VolumesFrom": or_null(&host.volumes_from)?,
        "CapAdd": or_null(&host.cap_add)?,
        "CapDrop": or_null(&host.cap_drop)?,
        "CgroupnsMode": if host.cgroupns_host { "host" } else { "private" },
        "Dns": host.dns,
        "DnsOptions": host.dns_options,
        "DnsSearch": host.dns_search,
        "ExtraHosts": or_null(&host.extra_hosts)?,
        "GroupAdd": or_null(&host.group_add)?,
        "IpcMode": if host.ipc_host { "host" } else { "private" },
        "Cgroup": "",
        "Links": null,
        "OomScoreAdj": host.oom_score_adj.unwrap_or(0),
        "PidMode": host.pid_of.as_ref().map_or_else(|| mode(host.pid_host).to_owned(), |other| format!("container:{other}")),
        "Privileged": host.privileged,
        "PublishAllPorts": host.publish_all,
        "ReadonlyRootfs": host.read_only,
        "SecurityOpt": or_null(&host.security_opt)?,
        "UTSMode": mode(host.uts_host),
        "UsernsMode": "",
        "ShmSize": host.shm_size.unwrap_or(64 << 20),
        "Runtime": "plim-runtime",
        "ConsoleSize": [0, 0],
        "Isolation": "",
        "CgroupParent": host.cgroup_parent.clone().unwrap_or_default(),
        "Devices": to_value(&host.devices)?,
        "DeviceRequests": null,
        "Ulimits": host.ulimits.iter().map(ulimit).collect::<Vec<_>>(),
        "Mounts": null,
    });
    let fields = value.as_object_mut().ok_or_else(|| Error::new("the host's part is no object"))?;
    fields.extend(resources(record)?);
    let (masked, read_only) = system_paths(record);
    fields.insert("MaskedPaths".into(), to_value(&masked)?);
    fields.insert("ReadonlyPaths".into(), to_value(&read_only)?);
    if !host.tmpfs.is_empty() {
        fields.insert("Tmpfs".into(), to_value(&host.tmpfs)?);
    }
    if !host.sysctls.is_empty() {
        fields.insert("Sysctls".into(), to_value(&host.sysctls)?);
    }
    if host.init {
        fields.insert("Init".into(), true.into());
    }
    Ok(value)
}

/// The paths that it cannot see, and those that it cannot write.
fn system_paths(record: &Record) -> (Vec<PathBuf>, Vec<PathBuf>) {
    if record.host.privileged || record.host.system_paths_unconfined {
        return (Vec::new(), Vec::new());
    }
    (masked_paths(), runtime::oci::example().linux().readonly_paths.clone())
}

fn ulimit(limit: &runtime::oci::Rlimit) -> Value {
    // -1 means no limit, as on the command line.
    let number = |value: u64| i64::try_from(value).unwrap_or(-1);
    let name = limit.kind.trim_start_matches("RLIMIT_").to_lowercase();
    json!({ "Name": name, "Hard": number(limit.hard), "Soft": number(limit.soft) })
}

fn resources(record: &Record) -> Result<Map<String, Value>> {
    let wanted = &record.host.resources;
    let (cpu, memory, block) = (
        wanted.cpu.clone().unwrap_or_default(),
        wanted.memory.clone().unwrap_or_default(),
        wanted.block_io.clone().unwrap_or_default(),
    );
    let rates = |all: &[ThrottleDevice]| -> Value {
        if all.is_empty() {
            return Value::Null;
        }
        let one = |rate: &ThrottleDevice| json!({ "Path": format!("{}:{}", rate.major, rate.minor), "Rate": rate.rate });
        all.iter().map(one).collect::<Vec<_>>().into()
    };
    let value = json!({
        "CpuShares": cpu.shares.unwrap_or(0),
        "Memory": memory.limit.unwrap_or(0),
        "NanoCpus": record.host.nano_cpus,
        "BlkioWeight": block.weight.unwrap_or(0),
        "BlkioWeightDevice": [],
        "BlkioDeviceReadBps": rates(&block.throttle_read_bps_device),
        "BlkioDeviceWriteBps": rates(&block.throttle_write_bps_device),
        "BlkioDeviceReadIOps": rates(&block.throttle_read_iops_device),
        "BlkioDeviceWriteIOps": rates(&block.throttle_write_iops_device),
        // `--cpus` is told as such alone.
        "CpuPeriod": cpu.period.filter(|_| record.host.nano_cpus == 0).unwrap_or(0),
        "CpuQuota": cpu.quota.filter(|_| record.host.nano_cpus == 0).unwrap_or(0),
        "CpuRealtimePeriod": cpu.realtime_period.unwrap_or(0),
        "CpuRealtimeRuntime": cpu.realtime_runtime.unwrap_or(0),
        "CpusetCpus": cpu.cpus.unwrap_or_default(),
        "CpusetMems": cpu.mems.unwrap_or_default(),
        "DeviceCgroupRules": or_null(&wanted.devices.iter().map(device_rule).collect::<Vec<_>>())?,
        "KernelMemory": 0,
        "KernelMemoryTCP": 0,
        "MemoryReservation": memory.reservation.unwrap_or(0),
        "MemorySwap": record.host.memory_swap.or(memory.swap).unwrap_or(0),
        "MemorySwappiness": memory.swappiness,
        "OomKillDisable": memory.disable_oom_killer.unwrap_or(false),
        "PidsLimit": wanted.pids.map(|pids| pids.limit),
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    });
    value.as_object().cloned().ok_or_else(|| Error::new("limits are no object"))
}

fn device_rule(rule: &runtime::oci::DeviceRule) -> String {
    let number = |value: Option<i64>| value.map_or_else(|| "*".to_owned(), |value| value.to_string());
    format!(
        "{} {}:{} {}",
        rule.kind.as_deref().unwrap_or("a"),
        number(rule.major),
        number(rule.minor),
        rule.access.as_deref().unwrap_or("rwm")
    )
}

/// Ports as they were asked for.
fn port_bindings(ports: &[Port]) -> Map<String, Value> {
    let mut all = Map::new();
    for port in ports {
        let binding = json!({
            "HostIp": if port.address.is_unspecified() { String::new() } else { port.address.to_string() },
            "HostPort": if port.host == 0 { String::new() } else { port.host.to_string() },
        });
        let of_port = all.entry(format!("{}/{}", port.container, port.protocol)).or_insert_with(|| json!([]));
        if let Some(bindings) = of_port.as_array_mut() {
            bindings.push(binding);
        }
    }
    all
}

fn graph_driver(engine: &Engine, record: &Record, state: &State, is_up: bool) -> Value {
    let dir = engine.dir(&record.id);
    let lower: Vec<String> = std::iter::once(dir.join("init"))
        .chain(record.layers.iter().rev().map(|layer| engine.store.layer_dir(layer)))
        .map(|path| path.display().to_string())
        .collect();
    let merged = if is_up && state.pid > 0 {
        format!("/proc/{}/root", state.pid)
    } else {
        dir.join("merged").display().to_string()
    };
    json!({
        "Name": "overlay2",
        "Data": {
            "LowerDir": lower.join(":"),
            "MergedDir": merged,
            "UpperDir": dir.join("upper"),
            "WorkDir": dir.join("work"),
        },
    })
}

fn config(record: &Record) -> Result<Value> {
    let mut config = json!({
        "Domainname": record.host.domainname.clone().unwrap_or_default(),
        "User": "",
        "AttachStdin": record.host.attached && record.host.interactive,
        "AttachStdout": record.host.attached,
        "AttachStderr": record.host.attached,
        "StdinOnce": record.host.attached && record.host.interactive,
        "Env": [],
        "Cmd": null,
        "Volumes": null,
        "WorkingDir": "",
        "Entrypoint": null,
        "OnBuild": null,
        "Labels": {},
    });
    if let (Some(fields), Value::Object(own)) = (config.as_object_mut(), to_value(&record.config)?) {
        fields.extend(own);
    }
    config["Hostname"] = record.hostname().into();
    config["Tty"] = record.host.tty.into();
    config["OpenStdin"] = record.host.interactive.into();
    config["Image"] = record.image.clone().into();
    let mut ports: Vec<&Port> = record.host.ports.iter().collect();
    ports.sort_by_key(|port| (port.container, port.protocol));
    for port in ports {
        config["ExposedPorts"][format!("{}/{}", port.container, port.protocol)] = json!({});
    }
    if let Some(timeout) = record.host.stop_timeout {
        config["StopTimeout"] = timeout.into();
    }
    Ok(config)
}
