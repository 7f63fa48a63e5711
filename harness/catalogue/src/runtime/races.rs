//! Mount points that a neighbour exchanges for a link while the runtime uses them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runtime::oci::{Mount, Root};

use kit::check::{Check, Checked, Trouble};
use kit::fault;
use kit::runtime::{Container, Started};
use kit::runtime::{ContainerBuilder, RuntimeFixture};
use kit::verbs::attempt::Tried;
use kit::verbs::{attempt, look};

/// How long a race is tried: long enough for hundreds of starts.
const LONG: Duration = Duration::from_secs(10);
/// How often, at most.
const MOST: u32 = 400;
/// Starts during which the place was exchanged and exchanged back; with fewer the race was not met.
const ENOUGH: u32 = 20;

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime(
        "sec.mount-symlink-race",
        "a symlink swapped under a mount while it is made does not lead it out of the root file system",
        "CVE-2021-30465; CVE-2024-45310; openat2(2)",
        symlink_race,
    )
    .faults(&[
        fault::config("mount point made outside", |spec| {
            // The runtime makes a directory in what it binds, which lies outside of the image.
            let outside = spec.root.as_ref().map(|root| root.path.with_file_name("outside"));
            if let Some(outside) = outside {
                spec.mounts.push(fault::bind(&outside.display().to_string(), "/tmp", "rbind"));
                spec.mounts.push(Mount {
                    destination: "/tmp/made".into(),
                    kind: Some("tmpfs".into()),
                    source: Some("tmpfs".into()),
                    ..Mount::default()
                });
            }
        }),
    ]),
    Check::of_runtime(
        "volume.read-only-race",
        "while a neighbour swaps a mount point for a link, ro lands on the mount it was meant for, or the start fails",
        "mount_setattr(2); move_mount(2); the pattern of CVE-2021-30465",
        read_only_race,
    )
    .faults(&[fault::config("looked up twice", |spec| {
        for mount in spec.mounts.iter_mut().filter(|mount| mount.destination == Path::new("/shared/place")) {
            mount.options.retain(|option| option != "ro");
        }
    })]),
];

/// Exchanges two names for as long as it lives.
struct Swapper {
    done: AtomicBool,
    swaps: AtomicU64,
}

impl Swapper {
    /// Counts the exchanges; each is one step, so that there is always something at both places. Between two of them it waits for 1 to
    /// 512 µs, evenly spread over the powers of two, because nobody knows how long the runtime takes from its look to its use; without
    /// a pause it would keep the directory's lock and a CPU, and the runtime out.
    fn run(&self, place: &Path, spare: &Path) {
        let here = rustix::fs::CWD;
        let mut random = kit::run::seed() | 1;
        while !self.done.load(Ordering::Relaxed) {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            if rustix::fs::renameat_with(here, place, here, spare, flags).is_ok() {
                self.swaps.fetch_add(1, Ordering::Relaxed);
            }
            // xorshift64: any numbers without a pattern will do.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            std::thread::sleep(Duration::from_micros(1 << (random % 10)));
        }
    }
}

/// What came of a race.
#[derive(Default)]
struct Tally {
    tried: u32,
    started: u32,
    refused: u32,
    met: u32,
    swaps: u64,
    escapes: Vec<String>,
}

/// What is wrong with a container, or with what a refused one left; `None` if nothing is.
type Escape<'a> = &'a dyn Fn(Option<&mut Container>) -> Result<Option<String>, Trouble>;

/// Starts containers while two names are exchanged, until one escapes or there is no end to wait for.
fn race(
    runtime: &mut RuntimeFixture,
    place: &Path,
    spare: &Path,
    want: &dyn Fn(&mut RuntimeFixture) -> Result<Started, Trouble>,
    escape: Escape<'_>,
) -> Result<Tally, Trouble> {
    let mut tally = Tally::default();
    let swapper = Swapper { done: AtomicBool::new(false), swaps: AtomicU64::new(0) };
    let outcome: Checked = std::thread::scope(|scope| {
        scope.spawn(|| swapper.run(place, spare));
        let tried = (|| {
            let begun = Instant::now();
            while begun.elapsed() < LONG && tally.tried < MOST && tally.escapes.is_empty() {
                let before = swapper.swaps.load(Ordering::Relaxed);
                let started = want(runtime)?;
                tally.tried += 1;
                tally.met += u32::from(swapper.swaps.load(Ordering::Relaxed) > before + 1);
                match started {
                    Started::Runs(mut container) => {
                        tally.started += 1;
                        tally.escapes.extend(escape(Some(&mut container))?);
                        container.close()?;
                    }
                    Started::Refused(refusal) if refusal.is_clear() => {
                        tally.refused += 1;
                        tally.escapes.extend(escape(None)?);
                    }
                    Started::Refused(refusal) => return Err(refusal.into_trouble()),
                }
            }
            Ok(())
        })();
        swapper.done.store(true, Ordering::Relaxed);
        tried
    });
    outcome?;
    tally.swaps = swapper.swaps.load(Ordering::Relaxed);
    Ok(tally)
}

/// Writes down what came of it; without enough starts in the race there is no verdict.
fn judge(runtime: &mut RuntimeFixture, tally: &Tally, what: &str) -> Checked {
    runtime.seen.note(format!(
        "{} starts: {} ran, {} were refused, {} met the race; {} exchanges",
        tally.tried, tally.started, tally.refused, tally.met, tally.swaps
    ));
    runtime.seen.expect(what, format!("{:?}", tally.escapes), "[]", tally.escapes.is_empty());
    if tally.escapes.is_empty() && tally.met < ENOUGH {
        return Err(Trouble::Noise(format!(
            "{} of {} starts met the race; {ENOUGH} are needed",
            tally.met, tally.tried
        )));
    }
    Ok(())
}

fn with_root<'t, 'r>(wanted: ContainerBuilder<'t, 'r>, image: &Path) -> ContainerBuilder<'t, 'r> {
    let root = Root { path: image.to_owned(), readonly: false };
    wanted.with(|spec| spec.root = Some(root))
}

fn symlink_race(runtime: &mut RuntimeFixture) -> Checked {
    let volume = runtime.directory("volume")?;
    fs::write(volume.join("of-volume"), "")?;
    let outside = runtime.directory("outside")?;
    let image = runtime.image()?;
    fs::create_dir_all(image.join("swapped"))?;
    fs::create_dir_all(image.join("elsewhere"))?;
    // With nobody in the way it starts, and the volume is where it was asked for.
    let want = |runtime: &mut RuntimeFixture| {
        with_root(runtime.container().volume(&volume, "/swapped/data"), &image).attempt()
    };
    let mut container = want(runtime)?.running()?;
    let seen = container.ask(look::exists("/swapped/data/of-volume"))?;
    runtime.seen.expect_eq("the volume is seen at its place without a race", &seen, &true);
    container.close()?;
    let (place, spare) = (image.join("swapped"), image.join("spare"));
    std::os::unix::fs::symlink(&outside, &spare)?;
    let name = volume.display().to_string();
    let escape = |container: Option<&mut Container>| {
        let made: Vec<PathBuf> = fs::read_dir(&outside)?.flatten().map(|entry| entry.path()).collect();
        if !made.is_empty() {
            return Ok(Some(format!("made on the host: {made:?}")));
        }
        let Some(container) = container else { return Ok(None) };
        // Wherever it is, it must be inside: a mount that left is in no table of the container's.
        let mounts = container.ask(look::read("/proc/self/mountinfo"))?;
        let inside = mounts.lines().any(|line| {
            let root = line.split(' ').nth(3).unwrap_or_default();
            root.len() > 1 && name.ends_with(root.trim_end_matches('/'))
        });
        Ok((!inside).then(|| "the volume was mounted outside of the root".to_owned()))
    };
    let tally = race(runtime, &place, &spare, &want, &escape)?;
    judge(runtime, &tally, "what was led out of the root file system")
}

fn read_only_race(runtime: &mut RuntimeFixture) -> Checked {
    let volume = runtime.directory("volume")?;
    let shared = runtime.directory("shared")?;
    for name in ["place", "other"] {
        fs::create_dir(shared.join(name))?;
    }
    let other = runtime.directory("other-volume")?;
    let want = |runtime: &mut RuntimeFixture| {
        runtime
            .container()
            .volume(&shared, "/shared")
            .volume(&other, "/shared/other")
            .bind(&volume, "/shared/place", &["rbind", "rprivate", "ro"])
            .attempt()
    };
    let name = volume.display().to_string();
    // Each mount as the container's own table has it: the volume is read-only, and nothing else of the neighbour's is.
    let wrong = |container: &mut Container| -> Result<Option<String>, Trouble> {
        let mounts = container.ask(look::read("/proc/self/mountinfo"))?;
        let mut seen = false;
        for line in mounts.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let [_, _, _, root, point, options, ..] = fields.as_slice() else { continue };
            if !point.starts_with("/shared") {
                continue;
            }
            let read_only = options.split(',').any(|option| option == "ro");
            let own = root.len() > 1 && name.ends_with(root.trim_end_matches('/'));
            seen |= own;
            if own != read_only {
                return Ok(Some(format!("{point} has {options}, where the volume alone is to be ro")));
            }
        }
        Ok((!seen).then(|| "the volume is not mounted".to_owned()))
    };
    let mut container = want(runtime)?.running()?;
    let refused = container.ask(attempt::create("/shared/place/new"))?;
    runtime.seen.expect_eq("error of writing to the volume without a race", &refused, &Tried(libc::EROFS));
    let allowed = container.ask(attempt::create("/shared/other/new"))?;
    runtime.seen.expect_eq("error of writing beside it", &allowed, &Tried::ALLOWED);
    container.close()?;
    let (place, spare) = (shared.join("place"), shared.join("spare"));
    std::os::unix::fs::symlink("other", &spare)?;
    let escape = |container: Option<&mut Container>| container.map_or(Ok(None), &wrong);
    let tally = race(runtime, &place, &spare, &want, &escape)?;
    judge(runtime, &tally, "mounts with the wrong flags")
}
