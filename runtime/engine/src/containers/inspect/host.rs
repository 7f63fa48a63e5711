//! What the host gives it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::parts::{PortBinding, or_null};
use crate::containers::defaults::masked_paths;
use crate::containers::devices::HostDevice;
use crate::containers::hosts::ExtraHost;
use crate::containers::record::Record;
use crate::network::publish::Port;
use runtime::oci::{DeviceRule, Resources, Rlimit, ThrottleDevice};

/// What the host gives it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostConfig<'a> {
    binds: Option<&'a [String]>,
    #[serde(rename = "ContainerIDFile")]
    container_id_file: &'a Path,
    log_config: LogConfig<'a>,
    network_mode: &'a str,
    port_bindings: BTreeMap<String, Vec<PortBinding>>,
    restart_policy: RestartPolicy,
    auto_remove: bool,
    volume_driver: &'static str,
    volumes_from: Option<&'a [String]>,
    cap_add: Option<&'a [String]>,
    cap_drop: Option<&'a [String]>,
    cgroupns_mode: &'static str,
    dns: &'a [IpAddr],
    dns_options: &'a [String],
    dns_search: &'a [String],
    extra_hosts: Option<&'a [ExtraHost]>,
    group_add: Option<&'a [String]>,
    ipc_mode: &'static str,
    cgroup: &'static str,
    links: Option<Vec<String>>,
    oom_score_adj: i32,
    pid_mode: String,
    privileged: bool,
    publish_all_ports: bool,
    readonly_rootfs: bool,
    security_opt: Option<&'a [String]>,
    #[serde(rename = "UTSMode")]
    uts_mode: &'static str,
    userns_mode: &'static str,
    shm_size: u64,
    runtime: &'static str,
    console_size: [u16; 2],
    isolation: &'static str,
    cgroup_parent: &'a str,
    devices: &'a [HostDevice],
    device_requests: Option<Vec<String>>,
    ulimits: Vec<Ulimit>,
    mounts: Option<Vec<String>>,
    #[serde(flatten)]
    limits: Limits,
    masked_paths: Vec<PathBuf>,
    readonly_paths: Vec<PathBuf>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tmpfs: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sysctls: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    init: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LogConfig<'a> {
    #[serde(rename = "Type")]
    kind: &'a str,
    config: &'a BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicy {
    name: &'static str,
    maximum_retry_count: u32,
}

/// A limit of setrlimit(2); -1 means none, as on the command line.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ulimit {
    name: String,
    hard: i64,
    soft: i64,
}

/// Limits of its control group; 0 where there is none.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Limits {
    cpu_shares: u64,
    memory: i64,
    nano_cpus: u64,
    blkio_weight: u16,
    blkio_weight_device: [(); 0],
    blkio_device_read_bps: Option<Vec<Rate>>,
    blkio_device_write_bps: Option<Vec<Rate>>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    blkio_device_read_iops: Option<Vec<Rate>>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    blkio_device_write_iops: Option<Vec<Rate>>,
    cpu_period: u64,
    cpu_quota: i64,
    cpu_realtime_period: u64,
    cpu_realtime_runtime: i64,
    cpuset_cpus: String,
    cpuset_mems: String,
    device_cgroup_rules: Option<Vec<String>>,
    kernel_memory: i64,
    #[serde(rename = "KernelMemoryTCP")]
    kernel_memory_tcp: i64,
    memory_reservation: i64,
    memory_swap: i64,
    memory_swappiness: Option<u64>,
    oom_kill_disable: bool,
    pids_limit: Option<i64>,
    cpu_count: i64,
    cpu_percent: i64,
    #[serde(rename = "IOMaximumIOps")]
    io_maximum_iops: u64,
    #[serde(rename = "IOMaximumBandwidth")]
    io_maximum_bandwidth: u64,
}

/// A limit of a device.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Rate {
    /// `MAJOR:MINOR`.
    path: String,
    /// Bytes or operations per second.
    rate: u64,
}

pub(super) fn host_config(record: &Record) -> HostConfig<'_> {
    let host = &record.host;
    let mode = |is_host: bool| if is_host { "host" } else { "" };
    let private = |is_host: bool| if is_host { "host" } else { "private" };
    let (masked_paths, readonly_paths) = system_paths(record);
    HostConfig {
        binds: or_null(&host.binds),
        container_id_file: host.cidfile.as_deref().unwrap_or(Path::new("")),
        log_config: LogConfig { kind: &host.log.driver, config: &host.log.options },
        network_mode: &host.network,
        port_bindings: port_bindings(&host.ports),
        restart_policy: RestartPolicy { name: host.restart.name(), maximum_retry_count: host.restart.most() },
        auto_remove: host.auto_remove,
        volume_driver: "",
        volumes_from: or_null(&host.volumes_from),
        cap_add: or_null(&host.cap_add),
        cap_drop: or_null(&host.cap_drop),
        cgroupns_mode: private(host.cgroupns_host),
        dns: &host.dns,
        dns_options: &host.dns_options,
        dns_search: &host.dns_search,
        extra_hosts: or_null(&host.extra_hosts),
        group_add: or_null(&host.group_add),
        ipc_mode: private(host.ipc_host),
        cgroup: "",
        links: None,
        oom_score_adj: host.oom_score_adj.unwrap_or(0),
        pid_mode: match &host.pid_of {
            Some(other) => format!("container:{other}"),
            None => mode(host.pid_host).to_owned(),
        },
        privileged: host.privileged,
        publish_all_ports: host.publish_all,
        readonly_rootfs: host.read_only,
        security_opt: or_null(&host.security_opt),
        uts_mode: mode(host.uts_host),
        userns_mode: "",
        shm_size: host.shm_size.unwrap_or(64 << 20),
        runtime: "plim-runtime",
        console_size: [0, 0],
        isolation: "",
        cgroup_parent: host.cgroup_parent.as_deref().unwrap_or_default(),
        devices: &host.devices,
        device_requests: None,
        ulimits: host.ulimits.iter().map(ulimit).collect(),
        mounts: None,
        limits: limits(record),
        masked_paths,
        readonly_paths,
        tmpfs: &host.tmpfs,
        sysctls: &host.sysctls,
        init: host.init,
    }
}

/// The paths that it cannot see, and those that it cannot write.
fn system_paths(record: &Record) -> (Vec<PathBuf>, Vec<PathBuf>) {
    if record.host.privileged || record.host.system_paths_unconfined {
        return (Vec::new(), Vec::new());
    }
    (masked_paths(), runtime::oci::example().linux().readonly_paths.clone())
}

fn ulimit(limit: &Rlimit) -> Ulimit {
    let number = |value: u64| i64::try_from(value).unwrap_or(-1);
    Ulimit {
        name: limit.kind.trim_start_matches("RLIMIT_").to_lowercase(),
        hard: number(limit.hard),
        soft: number(limit.soft),
    }
}

fn rates(all: &[ThrottleDevice]) -> Option<Vec<Rate>> {
    let one =
        |rate: &ThrottleDevice| Rate { path: format!("{}:{}", rate.major, rate.minor), rate: rate.rate };
    or_null(all).map(|all| all.iter().map(one).collect())
}

fn limits(record: &Record) -> Limits {
    let Resources { cpu, memory, block_io, devices, pids, .. } = record.host.resources.clone();
    let (cpu, memory, block) =
        (cpu.unwrap_or_default(), memory.unwrap_or_default(), block_io.unwrap_or_default());
    // `--cpus` is told as such alone.
    let has_quota = record.host.nano_cpus == 0;
    let rules: Vec<String> = devices.iter().map(device_rule).collect();
    Limits {
        cpu_shares: cpu.shares.unwrap_or(0),
        memory: memory.limit.unwrap_or(0),
        nano_cpus: record.host.nano_cpus,
        blkio_weight: block.weight.unwrap_or(0),
        blkio_weight_device: [],
        blkio_device_read_bps: rates(&block.throttle_read_bps_device),
        blkio_device_write_bps: rates(&block.throttle_write_bps_device),
        blkio_device_read_iops: rates(&block.throttle_read_iops_device),
        blkio_device_write_iops: rates(&block.throttle_write_iops_device),
        cpu_period: cpu.period.filter(|_| has_quota).unwrap_or(0),
        cpu_quota: cpu.quota.filter(|_| has_quota).unwrap_or(0),
        cpu_realtime_period: cpu.realtime_period.unwrap_or(0),
        cpu_realtime_runtime: cpu.realtime_runtime.unwrap_or(0),
        cpuset_cpus: cpu.cpus.unwrap_or_default(),
        cpuset_mems: cpu.mems.unwrap_or_default(),
        device_cgroup_rules: (!rules.is_empty()).then_some(rules),
        kernel_memory: 0,
        kernel_memory_tcp: 0,
        memory_reservation: memory.reservation.unwrap_or(0),
        memory_swap: record.host.memory_swap.or(memory.swap).unwrap_or(0),
        memory_swappiness: memory.swappiness,
        oom_kill_disable: memory.disable_oom_killer.unwrap_or(false),
        pids_limit: pids.map(|pids| pids.limit),
        cpu_count: 0,
        cpu_percent: 0,
        io_maximum_iops: 0,
        io_maximum_bandwidth: 0,
    }
}

fn device_rule(rule: &DeviceRule) -> String {
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
fn port_bindings(ports: &[Port]) -> BTreeMap<String, Vec<PortBinding>> {
    let mut all: BTreeMap<String, Vec<PortBinding>> = BTreeMap::new();
    for port in ports {
        all.entry(format!("{}/{}", port.container, port.protocol)).or_default().push(PortBinding {
            host_ip: if port.address.is_unspecified() { String::new() } else { port.address.to_string() },
            host_port: if port.host == 0 { String::new() } else { port.host.to_string() },
        });
    }
    all
}
