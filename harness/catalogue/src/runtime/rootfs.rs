//! The root file system: what can be reached from inside.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chdir, chroot};
use record::Scope;
use runtime::rootfs::switch;

use kit::check::{Body, Check, Checked, Trouble};
use kit::fault::{self, scene};
use kit::lab::Scene;
use kit::need::Need;
use kit::trial::Trial;
use kit::verbs::look;

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "rootfs.old-root-unreachable",
        scope: Scope::Runtime,
        claim: "after the root was switched no path, descriptor or /proc link leads back to the host's",
        source: "pivot_root(2)",
        needs: &[Need::Root],
        faults: &[fault::OLD_ROOT_LEFT],
        tolerance: "",
        timing: false,
        body: Body::Runtime(old_root_unreachable),
    },
    Check {
        id: "rootfs.chroot-alone-escapes",
        scope: Scope::Kernel,
        claim: "the classic double-chroot walk leaves a plain chroot, and fails after pivot_root",
        source: "chroot(2), \"does not change the current working directory\"; pivot_root(2)",
        needs: &[Need::Root],
        faults: &[scene(PIVOT_IS_CHROOT)],
        tolerance: "",
        timing: false,
        body: Body::Kernel(chroot_alone_escapes),
    },
];

const PIVOT_IS_CHROOT: &str = "pivot replaced by chroot";

fn old_root_unreachable(trial: &mut Trial) -> Checked {
    let marker = trial.directory("outside")?.join("marker");
    std::fs::write(&marker, "the host's")?;
    let mut container = trial.container().start()?;
    let marker = marker.to_str().ok_or_else(|| Trouble::Harness("the run's directory is no UTF-8".into()))?;
    let reached = container.ask(look::reach(marker))?;
    let (tried, found) = (reached.tried, reached.found);
    trial.seen.note(format!("{tried} ways were tried"));
    trial.seen.expect(
        "ways to a file of the host",
        format!("{found:?}"),
        "[]",
        found.is_empty() && tried > 0,
    );
    container.close()?;
    Ok(())
}

fn chroot_alone_escapes(scene: &mut Scene) -> Checked {
    let jail = scene.directory("jail")?;
    let marker = scene.dir().join("marker");
    std::fs::write(&marker, "outside")?;
    let by_chroot = scene.in_child(|| {
        chroot(&jail)?;
        chdir("/")?;
        Ok(walks_out(&marker)?.to_string())
    })?;
    let swapped = scene.has(PIVOT_IS_CHROOT);
    let by_pivot = scene.in_child(|| {
        if swapped {
            chroot(&jail)?;
            chdir("/")?;
        } else {
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(Some(&jail), &jail, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
            switch::pivot(&jail)?;
        }
        Ok(walks_out(&marker)?.to_string())
    })?;
    scene.seen.expect_eq("the walk leaves a plain chroot", &by_chroot.as_str(), &"true");
    scene.seen.expect_eq("the walk leaves a pivoted root", &by_pivot.as_str(), &"false");
    Ok(())
}

/// A second chroot moves the root below the working directory, which then stands outside and can go up for ever.
fn walks_out(marker: &Path) -> Result<bool, Trouble> {
    std::fs::create_dir_all("/below")?;
    chroot("/below")?;
    for _ in 0..64 {
        chdir("..")?;
    }
    chroot(".")?;
    Ok(marker.exists())
}
