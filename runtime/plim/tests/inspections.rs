//! What tools read of `inspect`. Expected keys: Docker Engine API, `ContainerInspect`, `ImageInspect`, `VolumeInspect`,
//! `NetworkInspect`; those of Windows and swarms left out.

mod common;

use common::Shop;
use serde_json::{Value, json};

fn one(shop: &Shop, words: &[&str]) -> Value {
    let all: Value = serde_json::from_str(&shop.plim(words)).unwrap();
    all[0].clone()
}

fn has(value: &Value, keys: &str) {
    for key in keys.split_whitespace() {
        assert!(value.get(key).is_some(), "{key} is missing in {value}");
    }
}

#[test]
fn a_container_has_the_keys_that_tools_read() {
    let Some(shop) = Shop::open("inspections") else { return };
    let dir = shop.path("");
    let words = [
        "create",
        "--name",
        "one",
        "--restart",
        "on-failure:3",
        "-p",
        "127.0.0.1:7001:80",
        "-p",
        "7002-7003:81-82/udp",
        "-v",
        "mine:/data",
        "-v",
        "./:/here:ro",
        "--tmpfs",
        "/fast:size=1m",
        "--log-opt",
        "max-size=1m",
        "--cpus",
        "0.5",
        "-m",
        "64m",
        "--device",
        "/dev/null",
        "--ulimit",
        "nofile=10:20",
        "--dns",
        "1.2.3.4",
        "--add-host",
        "h:1.2.3.4",
        "--cap-add",
        "NET_ADMIN",
        "--hostname",
        "host",
        "--stop-timeout",
        "3",
        "--expose",
        "90",
        "--label",
        "a=b",
        "box",
        "sleep",
        "5",
    ];
    let made = shop.command(&words).current_dir(&dir).status().unwrap();
    assert!(made.success());
    let found = one(&shop, &["inspect", "one"]);
    has(
        &found,
        "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name RestartCount Driver Platform \
         MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig GraphDriver Mounts Config NetworkSettings",
    );
    has(
        &found["State"],
        "Status Running Paused Restarting OOMKilled Dead Pid ExitCode Error StartedAt FinishedAt",
    );
    has(
        &found["HostConfig"],
        "Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove VolumeDriver VolumesFrom CapAdd \
         CapDrop CgroupnsMode Dns DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Cgroup Links OomScoreAdj PidMode \
         Privileged PublishAllPorts ReadonlyRootfs SecurityOpt UTSMode UsernsMode ShmSize Runtime ConsoleSize Isolation \
         CpuShares Memory NanoCpus CgroupParent BlkioWeight BlkioDeviceReadBps CpuPeriod CpuQuota CpuRealtimePeriod \
         CpusetCpus CpusetMems Devices DeviceCgroupRules MemoryReservation MemorySwap MemorySwappiness OomKillDisable \
         PidsLimit Ulimits MaskedPaths ReadonlyPaths Tmpfs",
    );
    let host = &found["HostConfig"];
    assert_eq!(host["RestartPolicy"], json!({ "Name": "on-failure", "MaximumRetryCount": 3 }));
    assert_eq!(host["PortBindings"]["80/tcp"], json!([{ "HostIp": "127.0.0.1", "HostPort": "7001" }]));
    assert_eq!(host["PortBindings"]["82/udp"], json!([{ "HostIp": "", "HostPort": "7003" }]));
    let here = std::fs::canonicalize(&dir).unwrap();
    assert_eq!(host["Binds"], json!(["mine:/data", format!("{}:/here:ro", here.display())]));
    assert_eq!(host["LogConfig"], json!({ "Type": "json-file", "Config": { "max-size": "1m" } }));
    assert_eq!((&host["NanoCpus"], &host["CpuQuota"]), (&500_000_000.into(), &0.into()));
    assert_eq!((&host["Memory"], &host["MemorySwap"]), (&(64 << 20).into(), &(128 << 20).into()));
    assert_eq!(host["Ulimits"], json!([{ "Name": "nofile", "Hard": 20, "Soft": 10 }]));
    assert_eq!(host["Tmpfs"], json!({ "/fast": "size=1m" }));
    assert_eq!(host["Devices"][0]["CgroupPermissions"], "rwm");
    let mounts = found["Mounts"].as_array().unwrap();
    assert_eq!(mounts.len(), 2, "{mounts:?}");
    for mount in mounts {
        has(mount, "Type Source Destination Mode RW Propagation");
    }
    assert_eq!(
        found["Config"]["ExposedPorts"],
        json!({ "80/tcp": {}, "81/udp": {}, "82/udp": {}, "90/tcp": {} })
    );
    assert_eq!((&found["Config"]["StopTimeout"], &found["Config"]["Hostname"]), (&3.into(), &"host".into()));
    has(
        &found["NetworkSettings"],
        "Bridge SandboxID HairpinMode LinkLocalIPv6Address LinkLocalIPv6PrefixLen Ports SandboxKey SecondaryIPAddresses \
         SecondaryIPv6Addresses EndpointID Gateway GlobalIPv6Address GlobalIPv6PrefixLen IPAddress IPPrefixLen IPv6Gateway \
         MacAddress Networks",
    );
    has(
        &found["NetworkSettings"]["Networks"]["bridge"],
        "IPAMConfig Links Aliases NetworkID EndpointID Gateway IPAddress IPPrefixLen IPv6Gateway GlobalIPv6Address \
         GlobalIPv6PrefixLen MacAddress DriverOpts",
    );
    assert_eq!(found["State"]["StartedAt"], "0001-01-01T00:00:00Z");
    // One bad name among several does not keep the others from being shown.
    let (status, out, err) = shop.said(&["inspect", "-f", "{{.Name}}", "nobody", "one"]);
    assert!(status == 1 && out == "/one" && err.contains("nobody"), "{status} {out} {err}");
}

#[test]
fn a_running_container_tells_its_network_and_hardware_address() {
    let Some(shop) = Shop::open("network settings") else { return };
    shop.plim(&["run", "-d", "--name", "one", "-P", "--expose", "80", "box", "sleep", "1000"]);
    let found = one(&shop, &["inspect", "one"])["NetworkSettings"].clone();
    let hardware = shop.plim(&["exec", "one", "cat", "/sys/class/net/eth0/address"]);
    assert_eq!(found["MacAddress"], hardware.as_str());
    let route = shop.plim(&["exec", "one", "busybox", "ip", "route"]);
    assert!(route.contains(&format!("default via {}", found["Gateway"].as_str().unwrap())), "{route}");
    let port = found["Ports"]["80/tcp"][0]["HostPort"].as_str().unwrap().to_owned();
    assert!(port.parse::<u16>().unwrap() > 0);
    assert_eq!(shop.plim(&["port", "one", "80"]), format!("0.0.0.0:{port}"));
    let (status, _, err) = shop.said(&["port", "one", "81"]);
    assert!(status == 1 && err.contains("81/tcp"), "{err}");
    let network = one(&shop, &["network", "inspect", "bridge"]);
    has(
        &network,
        "Name Id Created Scope Driver EnableIPv6 IPAM Internal Attachable Ingress Containers Options Labels",
    );
    assert_eq!(found["Networks"]["bridge"]["NetworkID"], network["Id"]);
}

#[test]
fn images_volumes_and_networks_have_theirs_and_one_size() {
    let Some(shop) = Shop::open("other inspections") else { return };
    let image = one(&shop, &["image", "inspect", "box"]);
    has(
        &image,
        "Id RepoTags RepoDigests Parent Comment Created DockerVersion Author Config Architecture Os Size GraphDriver RootFS \
         Metadata",
    );
    let bytes = |path: &str| std::fs::metadata(shop.path("root").join(path)).unwrap().len();
    assert_eq!(image["Size"], bytes("bin/busybox") + bytes("etc/passwd"));
    // However it came here: as it was imported, and from an archive.
    let archive = shop.path("saved.tar");
    shop.plim(&["save", "-o", archive.to_str().unwrap(), "box"]);
    shop.plim(&["rmi", "box"]);
    shop.plim(&["load", "-i", archive.to_str().unwrap()]);
    assert_eq!(one(&shop, &["image", "inspect", "box"])["Size"], image["Size"]);
    shop.plim(&["volume", "create", "--label", "a=b", "mine"]);
    let volume = one(&shop, &["volume", "inspect", "mine"]);
    has(&volume, "CreatedAt Driver Labels Mountpoint Name Options Scope");
    assert_eq!(shop.plim(&["volume", "ls", "-q", "-f", "label=a=b", "-f", "dangling=true"]), "mine");
    assert_eq!(shop.plim(&["volume", "ls", "-q", "-f", "label=a=c"]), "");
    let id = shop.plim(&["network", "create", "--internal", "--label", "k=v", "nets"]);
    assert_eq!(
        (id.len(), one(&shop, &["network", "inspect", &id[..12]])["Name"].clone()),
        (64, "nets".into())
    );
    let names = shop.plim(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"]);
    assert_eq!(names, "bridge bridge\nhost host\nnets bridge\nnone null");
    assert_eq!(shop.plim(&["network", "ls", "-q", "-f", "type=custom"]), id[..12]);
    assert_eq!(shop.plim(&["network", "rm", &id]), id);
    for words in [&["volume", "create", "-d", "nfs", "x1"][..], &["network", "create", "-d", "macvlan", "x1"]]
    {
        let (status, _, err) = shop.said(words);
        assert!(status == 1 && err.contains("--driver"), "{err}");
    }
}
