//! The io (blkio) controller, on a loop device: rates, counts, and whose writes are whose.

use kit::verbs::Ask;
use std::fs;

use runtime::oci::{BlockIo, ThrottleDevice};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, resources, scene};
use kit::lab::{Cell, Scene};
use kit::loopdev::LoopDevice;
use kit::measure::{Control, as_f64, millis};
use kit::need::Need;
use kit::trial::Trial;
use kit::verbs::files;
use kit::verbs::files::How;

const SOURCE: &str = "Documentation/admin-guide/cgroup-v1/blkio-controller.rst; cgroup-v2.rst, io.max";
/// The controller's name differs between the versions.
const NEEDS: &[Need] = &[Need::Root, Need::BlockIo, Need::Loop];
const TOLERANCE: &str =
    "throttle slices of 100 ms at the start and at the end, in which requests pass at once";
const NOT_WRITTEN: Fault = fault::config("limit not written", |spec| resources(spec).block_io = None);
const OTHER_GROUP: &str = "another group's file";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime("io.max.write-bps", "direct writes are held to the limit in bytes", SOURCE, write_bps)
        .needs(NEEDS)
        .faults(&[NOT_WRITTEN])
        .timing(TOLERANCE),
    Check::of_runtime("io.max.read-bps", "direct reads are held to the limit in bytes", SOURCE, read_bps)
        .needs(NEEDS)
        .faults(&[NOT_WRITTEN])
        .timing(TOLERANCE),
    Check::of_runtime("io.max.iops", "direct writes are held to the limit in operations", SOURCE, iops)
        .needs(NEEDS)
        .faults(&[NOT_WRITTEN])
        .timing(TOLERANCE),
    Check::of_kernel("io.stat.counts", "bytes and operations are what was done", SOURCE, counts)
        .needs(NEEDS)
        .faults(&[scene(OTHER_GROUP)]),
    Check::of_kernel(
        "io.buffered-is-attributed",
        "v2: buffered writeback is charged to the writer (on v1 it is not)",
        "cgroup-v2.rst, Writeback",
        buffered,
    )
    .needs(&[Need::Root, Need::V2("io"), Need::V2("memory"), Need::Loop])
    .faults(&[scene(OTHER_GROUP)]),
];

const MIB: u64 = 1 << 20;

fn throttled(device: &LoopDevice, rate: u64) -> Vec<ThrottleDevice> {
    vec![ThrottleDevice { major: device.major.into(), minor: device.minor.into(), rate }]
}

fn held(
    trial: &mut Trial,
    limit: impl FnOnce(&LoopDevice) -> BlockIo,
    request: impl Ask<Answer = u64>,
    expected_ms: f64,
) -> Checked {
    let device = LoopDevice::attach(&trial.directory("backing")?.join("disk"), 16 * MIB)?;
    let limit = limit(&device);
    let wanted = trial.container().device(&device, "rw").with(|spec| resources(spec).block_io = Some(limit));
    let mut container = wanted.start()?;
    let control = Control::begin()?;
    let took = as_f64(container.ask(request)?) / 1e3;
    let late = millis(control.end()?);
    container.close()?;
    // Too fast is what a limit must prevent. Too slow is the device's or the machine's doing as well.
    let slow = expected_ms * 1.5;
    trial.seen.expect_in(
        "time that it took, in ms",
        took,
        (expected_ms - 210.0)..=slow,
        "two slices of 100 ms, and the device",
        late + expected_ms,
    );
    if took < expected_ms - 210.0
        && let Some(last) = trial.seen.0.expectations.last_mut()
    {
        last.doubtful = false;
    }
    Ok(())
}

fn write_bps(trial: &mut Trial) -> Checked {
    let limit = |device: &LoopDevice| BlockIo {
        throttle_write_bps_device: throttled(device, 4 * MIB),
        ..BlockIo::default()
    };
    held(trial, limit, files::write_stream("/dev/plimsoll-disk", 2 * MIB, 65_536, How::Direct), 500.0)
}

fn read_bps(trial: &mut Trial) -> Checked {
    let limit = |device: &LoopDevice| BlockIo {
        throttle_read_bps_device: throttled(device, 4 * MIB),
        ..BlockIo::default()
    };
    held(trial, limit, files::read_stream("/dev/plimsoll-disk", 2 * MIB, How::Direct), 500.0)
}

fn iops(trial: &mut Trial) -> Checked {
    let limit = |device: &LoopDevice| BlockIo {
        throttle_write_iops_device: throttled(device, 100),
        ..BlockIo::default()
    };
    held(trial, limit, files::write_stream("/dev/plimsoll-disk", 245_760, 4096, How::Direct), 600.0)
}

/// Bytes and operations written to a device by a group, as its controller counts them.
fn written(cell: &Cell, device: &LoopDevice) -> Result<(u64, u64), Trouble> {
    let id = format!("{}:{}", device.major, device.minor);
    if let Ok(dir) = cell.dir("io") {
        let text = fs::read_to_string(dir.join("io.stat"))?;
        let line = text.lines().find(|line| line.split(' ').next() == Some(&id)).unwrap_or_default();
        let field =
            |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.parse().ok()).unwrap_or(0);
        return Ok((field("wbytes="), field("wios=")));
    }
    let dir = cell.dir("blkio")?;
    let read = |file: &str| -> Result<u64, Trouble> {
        let text = fs::read_to_string(dir.join(file))?;
        Ok(text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{id} Write "))?.parse().ok())
            .unwrap_or(0))
    };
    Ok((read("blkio.throttle.io_service_bytes")?, read("blkio.throttle.io_serviced")?))
}

fn counts(scene: &mut Scene) -> Checked {
    let device = LoopDevice::attach(&scene.dir().join("disk"), 8 * MIB)?;
    let (cell, other) = (scene.cell("group")?, scene.cell("other")?);
    let watched = if scene.has(OTHER_GROUP) { &other } else { &cell };
    if let Ok(dir) = cell.dir("blkio") {
        // Since 6.10 v1 counts only where a limit was set once on the device: one that nothing reaches.
        fs::write(
            dir.join("blkio.throttle.write_bps_device"),
            format!("{}:{} {}", device.major, device.minor, 1_u64 << 40),
        )?;
    }
    let mut probe = cell.probe()?;
    let before = written(watched, &device)?;
    probe.ask(files::write_stream(&device.path.display().to_string(), MIB, 65536, How::Direct))?;
    let after = written(watched, &device)?;
    scene.seen.expect_eq(
        "bytes and operations counted for 16 writes of 64 KiB",
        &(after.0 - before.0, after.1 - before.1),
        &(MIB, 16),
    );
    drop(probe);
    Ok(())
}

fn buffered(scene: &mut Scene) -> Checked {
    let device = LoopDevice::attach(&scene.dir().join("disk"), 16 * MIB)?;
    let (cell, other) = (scene.cell("group")?, scene.cell("other")?);
    let watched = if scene.has(OTHER_GROUP) { &other } else { &cell };
    let mut probe = cell.probe()?;
    probe.ask(files::write_stream(&device.path.display().to_string(), 8 * MIB, 65536, How::Behind))?;
    // This process, which stands in another group, has it written back.
    device.flush()?;
    let bytes = as_f64(written(watched, &device)?.0) / as_f64(MIB);
    scene.seen.expect_in(
        "bytes charged to the writer's group, in MiB",
        bytes,
        7.0..=8.5,
        "what was written back before the group was asked",
        0.0,
    );
    if let Ok(dir) = cell.dir("io") {
        scene.seen.file(&dir.join("io.stat"), "after it was written back");
    }
    drop(probe);
    Ok(())
}
