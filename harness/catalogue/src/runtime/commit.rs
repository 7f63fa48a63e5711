//! What a commit takes, and what it leaves out.

use std::path::Path;

use engine::layer::{What, diff};
use runtime::oci::{Mount, Root};

use kit::check::{Check, Checked, Trouble};
use kit::fault;
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::files;

pub(crate) const CHECKS: &[Check] = &[Check::of_runtime(
    "commit.excludes-volumes",
    "what was written to bind and tmpfs mounts is not in the layer, while the empty mount points are",
    "Docker reference, docker container commit: \"does not include any data contained in mounted volumes\"",
    excludes_volumes,
)
.needs(&[Need::Filesystem("overlay")])
.faults(&[fault::VOLUME_COPIED_IN])];

fn excludes_volumes(runtime: &mut RuntimeFixture) -> Checked {
    runtime.on_fake_host()?;
    let lower = runtime.image()?;
    std::fs::write(lower.join("etc/gone"), "of the image")?;
    let layers = runtime.file_system()?;
    let (upper, work, merged) = (layers.join("upper"), layers.join("work"), layers.join("merged"));
    let volume = runtime.directory("volume")?;
    for dir in [&upper, &work, &merged] {
        runtime.ask_host(files::mkdir(text(dir)?))?;
    }
    runtime.ask_host(files::overlay(text(&lower)?, text(&upper)?, text(&work)?, text(&merged)?))?;
    let scratch = Mount {
        destination: "/scratch".into(),
        kind: Some("tmpfs".into()),
        source: Some("tmpfs".into()),
        options: Vec::new(),
        ..Mount::default()
    };
    let mut container = runtime
        .container()
        .volume(&volume, "/data")
        .mount(scratch)
        .with(|spec| spec.root = Some(Root { path: merged.clone(), readonly: false }))
        .start()?;
    // They exist already, unless a fault took the mounts away.
    container.ask(files::mkdir("/data"))?;
    container.ask(files::mkdir("/scratch"))?;
    container.ask(files::write("/data/in-volume", "x"))?;
    container.ask(files::write("/scratch/in-tmpfs", "x"))?;
    container.ask(files::write("/etc/changed", "x"))?;
    container.ask(files::remove("/etc/gone"))?;
    container.close()?;
    // The fake host's mounts are its own; the layer is read through its root.
    let seen_from_here = Path::new("/proc").join(runtime.host_pid().to_string()).join("root");
    let changes = diff(&seen_from_here.join(upper.strip_prefix("/").unwrap_or(&upper)))?;
    let has = |path: &str, what: What| {
        changes.iter().any(|change| change.path == Path::new(path) && change.what == what)
    };
    let listed: Vec<String> = changes.iter().map(|change| change.path.display().to_string()).collect();
    runtime.seen.note(format!("the layer: {}", listed.join(" ")));
    for (what, observed, expected) in [
        ("a changed file is in the layer", has("etc/changed", What::Set), true),
        ("a deleted file is in the layer as a whiteout", has("etc/gone", What::Deleted), true),
        // Kernels before 5.15 mark every directory that is made in a merged one as opaque.
        (
            "the volume's mount point is in the layer",
            has("data", What::Set) || has("data", What::SetOpaque),
            true,
        ),
        ("the volume's content is in the layer", has("data/in-volume", What::Set), false),
        ("the tmpfs's content is in the layer", has("scratch/in-tmpfs", What::Set), false),
        ("the volume's content is in the volume", volume.join("in-volume").exists(), true),
    ] {
        runtime.seen.expect_eq(what, &observed, &expected);
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str, Trouble> {
    path.to_str().ok_or_else(|| Trouble::Harness("the run's directory is no UTF-8".into()))
}
