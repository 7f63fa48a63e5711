//! Any tree survives commit, push, pull and a run: a layer made of a change, sent to a real registry, fetched into another store and
//! mounted there shows what the first one shows. `PLIM_ROUNDTRIP_CASES` says how many.
#![cfg(feature = "registry")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use engine::image::registry::{Access, Registry};
use engine::image::{Compression, Config, Descriptor, Reference, Store};
use engine::progress::Silent;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestCaseError, TestRunner};
use runtime::overlay::Stack;

/// One thing in a tree, and how it is changed.
#[derive(Debug, Clone)]
enum Step {
    File(u8, Vec<u8>, u16),
    Dir(u8, u16),
    Soft(u8, u8),
    Hard(u8, u8),
    Remove(u8),
    Rename(u8, u8),
    Attribute(u8, u8),
    Time(u8, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0_u8..12;
    let content = proptest::collection::vec(any::<u8>(), 0..300);
    let step = prop_oneof![
        4 => (name(), content, 0_u16..0o10000).prop_map(|(at, content, mode)| Step::File(at, content, mode)),
        3 => (name(), 0_u16..0o10000).prop_map(|(at, mode)| Step::Dir(at, mode)),
        1 => (name(), name()).prop_map(|(at, to)| Step::Soft(at, to)),
        1 => (name(), name()).prop_map(|(at, to)| Step::Hard(at, to)),
        2 => name().prop_map(Step::Remove),
        2 => (name(), name()).prop_map(|(at, to)| Step::Rename(at, to)),
        1 => (name(), any::<u8>()).prop_map(|(at, value)| Step::Attribute(at, value)),
        1 => (name(), any::<u32>()).prop_map(|(at, time)| Step::Time(at, time)),
    ];
    proptest::collection::vec(step, 0..20)
}

fn path(number: u8) -> &'static str {
    ["a", "b", "c", "a/a", "a/b", "b/a", "b/\u{e9} \n", "a/a/a", "a/a/b", "a/a/a/a", "c/a", ".wh-like"]
        [usize::from(number % 12)]
}

/// Does what can be done; what is in the way is in the way.
fn perform(root: &Path, steps: &[Step]) {
    let at = |number: &u8| root.join(path(*number));
    for step in steps {
        let _ = match step {
            Step::File(number, content, mode) => fs::write(at(number), content)
                .and_then(|()| fs::set_permissions(at(number), fs::Permissions::from_mode(u32::from(*mode)))),
            Step::Dir(number, mode) => fs::create_dir(at(number))
                .and_then(|()| fs::set_permissions(at(number), fs::Permissions::from_mode(u32::from(*mode)))),
            Step::Soft(number, to) => symlink(path(*to), at(number)),
            Step::Hard(number, to) => fs::hard_link(at(to), at(number)),
            Step::Remove(number) => fs::remove_file(at(number)).or_else(|_| fs::remove_dir_all(at(number))),
            Step::Rename(number, to) => fs::rename(at(number), at(to)),
            Step::Attribute(number, value) => xattr::set(at(number), "user.plim", &[*value]),
            Step::Time(number, time) => fs::File::open(at(number)).and_then(|file| {
                file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(u64::from(*time)))
            }),
        };
    }
}

/// All that a layer has to keep, by path.
fn describe(root: &Path) -> BTreeMap<String, String> {
    let (mut found, mut links) = (BTreeMap::new(), BTreeMap::new());
    let mut rest = vec![root.to_owned()];
    while let Some(dir) = rest.pop() {
        let mut entries: Vec<_> = fs::read_dir(&dir).unwrap().flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (full, of) = (entry.path(), entry.metadata().unwrap());
            let shown = full.strip_prefix(root).unwrap().display().to_string();
            let content = if of.is_file() { fs::read(&full).unwrap() } else { Vec::new() };
            let target = fs::read_link(&full).ok();
            let attribute = xattr::get(&full, "user.plim").ok().flatten();
            let same_as = (of.nlink() > 1 && !of.is_dir())
                .then(|| links.entry(of.ino()).or_insert_with(|| shown.clone()).clone());
            found.insert(
                shown,
                format!(
                    "{:o} {} {} {} {target:?} {attribute:?} {same_as:?} {content:?}",
                    of.mode(),
                    of.uid(),
                    of.gid(),
                    of.mtime()
                ),
            );
            if of.is_dir() {
                rest.push(full);
            }
        }
    }
    found
}

struct Yard {
    dir: tempfile::TempDir,
    registry: Child,
}

impl Drop for Yard {
    fn drop(&mut self) {
        let _ = self.registry.kill();
        let _ = self.registry.wait();
    }
}

impl Yard {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:5001}}\n",
            dir.path().join("registry").display()
        );
        fs::write(dir.path().join("registry.yml"), config).unwrap();
        let log = fs::File::create(dir.path().join("registry.log")).unwrap();
        let registry = Command::new("docker-registry")
            .arg("serve")
            .arg(dir.path().join("registry.yml"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect("127.0.0.1:5001").is_err() {
            assert!(Instant::now() < end, "the registry does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { dir, registry }
    }

    fn case(&self, first: &[Step], second: &[Step]) -> Result<(), TestCaseError> {
        let work = tempfile::tempdir_in(self.dir.path()).unwrap();
        let at = |name: &str| {
            let path = work.path().join(name);
            fs::create_dir_all(&path).unwrap();
            path
        };
        let (here, there) = (Store::open(&at("here")).unwrap(), Store::open(&at("there")).unwrap());
        let lower = at("lower");
        perform(&lower, first);
        let (upper, merged) = (at("upper"), at("merged"));
        let stack = |lower: Vec<_>, upper: Option<_>| Stack {
            lower,
            upper,
            options: vec!["redirect_dir=off".into(), "metacopy=off".into()],
        };
        stack(vec![lower.clone()], Some((upper.clone(), at("work")))).mount(&merged).unwrap();
        perform(&merged, second);
        let saw = describe(&merged);
        umount2(&merged, MntFlags::MNT_DETACH).unwrap();

        let layers: Vec<Descriptor> = [&lower, &upper].map(|tree| here.put_layer(tree).unwrap()).to_vec();
        let mut config = Config::empty();
        config.rootfs.diff_ids = layers.iter().map(|layer| layer.digest.clone()).collect();
        let name: Reference = "127.0.0.1:5001/round/trip:1".parse().unwrap();
        let image = here.put_image(&config, layers, std::slice::from_ref(&name)).unwrap();
        let mut registry = Registry::open("127.0.0.1:5001", &Access::default()).unwrap();
        let quiet = Silent;
        registry.push(&here, &image, &name, Compression::Gzip, &quiet).unwrap();
        let pulled = registry.pull(&there, &name, &quiet).unwrap();
        prop_assert_eq!(pulled.id(), image.id());
        there.unpack(&pulled, false).unwrap();
        let stacked = Store::stacked(&pulled.config.rootfs.diff_ids);
        let lowers = stacked.into_iter().map(|layer| there.layer_dir(layer)).collect();
        stack(lowers, Some((at("upper2"), at("work2")))).mount(&merged).unwrap();
        let sees = describe(&merged);
        umount2(&merged, MntFlags::MNT_DETACH).unwrap();
        prop_assert_eq!(sees, saw);
        Ok(())
    }
}

#[test]
fn any_tree_survives_commit_push_pull_and_run() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: round trip: needs root");
        return;
    }
    if runtime::process::in_path("docker-registry").is_none() {
        println!("skipped: round trip: there is no docker-registry: apt-get install docker-registry");
        return;
    }
    let cases = std::env::var("PLIM_ROUNDTRIP_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            // Mounts and ports of the test are none of this machine's.
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_FS).unwrap();
            mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>)
                .unwrap();
            runtime::namespace::loopback_up().unwrap();
            let yard = Yard::open();
            let mut runner = TestRunner::new(Cases { cases, failure_persistence: None, ..Cases::default() });
            runner.run(&(steps(), steps()), |(first, second)| yard.case(&first, &second)).unwrap();
        });
        done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}
