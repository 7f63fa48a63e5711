//! Several data roots on one network namespace, as several engines on a host are.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;

mod common;

use common::Shop;

/// Runs a body in a network namespace of its own; the programs that it starts inherit it.
fn apart(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            runtime::namespace::loopback_up().unwrap();
            body();
        });
        done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn devices() -> Vec<String> {
    let all = nix::net::if_::if_nameindex().unwrap();
    let mut names: Vec<_> = all.iter().map(|one| one.name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.starts_with("pl"));
    names
}

fn address(shop: &Shop, name: &str) -> Ipv4Addr {
    let all: Value = serde_json::from_str(&shop.plim(&["inspect", name])).unwrap();
    all[0]["NetworkSettings"]["IPAddress"].as_str().unwrap().parse().unwrap()
}

#[test]
fn data_roots_have_bridges_and_addresses_of_their_own() {
    let (Some(one), Some(two)) = (Shop::open("two roots"), Shop::open("two roots")) else { return };
    apart(|| {
        for shop in [&one, &two] {
            shop.plim(&[
                "run", "-d", "--name", "cc", "box", "busybox", "httpd", "-f", "-p", "80", "-h", "/etc",
            ]);
        }
        let addresses: BTreeSet<_> = [&one, &two].map(|shop| address(shop, "cc")).into();
        assert_eq!(addresses.len(), 2, "{addresses:?}");
        for (shop, of) in [(&one, &one), (&two, &two)] {
            let network: Value = serde_json::from_str(&shop.plim(&["network", "inspect", "bridge"])).unwrap();
            let subnet = network[0]["IPAM"]["Config"][0]["Subnet"].as_str().unwrap().to_owned();
            let prefix = subnet.rsplit_once('.').unwrap().0.to_owned();
            assert!(address(of, "cc").to_string().starts_with(&prefix), "{subnet}");
        }
        // The end of one leaves the other's network alone.
        one.plim(&["rm", "-f", "cc"]);
        let there = address(&two, "cc").to_string();
        let said = two.plim(&[
            "run",
            "--rm",
            "box",
            "busybox",
            "wget",
            "-q",
            "-O",
            "-",
            &format!("http://{there}/passwd"),
        ]);
        assert!(said.contains("root:"), "{said}");
        two.plim(&["rm", "-f", "cc"]);
        assert_eq!(devices(), Vec::<String>::new());
    });
}

#[test]
fn many_at_once_share_no_address_and_leave_nothing() {
    let (Some(one), Some(two)) = (Shop::open("many"), Shop::open("many")) else { return };
    // 50 for each data root: PLIM_TEST_CONTAINERS=50.
    let number: usize =
        std::env::var("PLIM_TEST_CONTAINERS").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    apart(|| {
        let workers: Vec<(&Shop, usize)> =
            [&one, &two].into_iter().flat_map(|shop| (0..4).map(move |worker| (shop, worker))).collect();
        let all: Vec<Ipv4Addr> = std::thread::scope(|scope| {
            let started: Vec<_> = workers
                .iter()
                .map(|(shop, worker)| {
                    scope.spawn(move || {
                        let mine = (*worker..number).step_by(4);
                        mine.map(|n| {
                            let name = format!("c{n}");
                            shop.plim(&["run", "--rm", "box", "true"]);
                            shop.plim(&["run", "-d", "--name", &name, "box", "sleep", "1000"]);
                            address(shop, &name)
                        })
                        .collect::<Vec<_>>()
                    })
                })
                .collect();
            started.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        assert_eq!(all.len(), 2 * number);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len(), "{all:?}");
        std::thread::scope(|scope| {
            for (shop, worker) in &workers {
                scope.spawn(move || {
                    for n in (*worker..number).step_by(4) {
                        shop.plim(&["rm", "-f", &format!("c{n}")]);
                    }
                });
            }
        });
        assert_eq!(devices(), Vec::<String>::new());
    });
}

#[test]
fn what_leaves_a_bridge_gets_the_hosts_address() {
    let Some(shop) = Shop::open("way out") else { return };
    if runtime::process::in_path("nft").is_none() {
        println!("skipped: way out: needs nft, to look at the rules: apt-get install nftables");
        return;
    }
    apart(|| {
        shop.plim(&["run", "-d", "--name", "cc", "box", "sleep", "1000"]);
        let rules = || {
            let said = std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap();
            String::from_utf8(said.stdout).unwrap()
        };
        let bridge = devices().into_iter().find(|name| name.starts_with("plim")).unwrap();
        let found = rules();
        for part in [
            "type nat hook postrouting priority srcnat".to_owned(),
            format!("ip saddr {}/24 oifname != \"{bridge}\" masquerade", {
                let [a, b, c, _] = address(&shop, "cc").octets();
                Ipv4Addr::new(a, b, c, 0)
            }),
        ] {
            assert!(found.contains(&part), "{part}: {found}");
        }
        shop.plim(&["rm", "-f", "cc"]);
        assert_eq!(rules(), "");
    });
}
