//! The io (blkio) controller, on a loop device: rates, counts, and whose writes are whose.

use std::fs;

use runtime::oci::{BlockIo, Spec, ThrottleDevice};

use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, Fault, in_fixture, resources};
use kit::kernel::{Cell, KernelFixture};
use kit::loopdev::LoopDevice;
use kit::measure::{Control, as_f64, millis};
use kit::need::Need;
use kit::runtime::RuntimeFixture;
use kit::verbs::files;
use kit::verbs::files::How;

const SOURCE: &str = "Documentation/admin-guide/cgroup-v1/blkio-controller.rst; cgroup-v2.rst, io.max";
/// The controller's name differs between the versions.
const NEEDS: &[Need] = &[Need::BlockIo, Need::Loop];
const TOLERANCE: &str =
    "throttle slices of 100 ms at the start and at the end, in which requests pass at once";
const NOT_WRITTEN: Fault = fault::config("limit not written", |spec| resources(spec).block_io = None);
const TOO_HIGH: Fault = fault::config("half as much again", |spec| rates(spec, |rate| *rate += *rate / 2));
const TOO_LOW: Fault = fault::config("half of it", |spec| rates(spec, |rate| *rate /= 2));
const RATES: &[Fault] = &[NOT_WRITTEN, TOO_HIGH, TOO_LOW];
const OPERATIONS: &[Fault] = &[
    NOT_WRITTEN,
    TOO_HIGH,
    TOO_LOW,
    fault::config("reads not limited", |spec| {
        if let Some(block) = resources(spec).block_io.as_mut() {
            block.throttle_read_iops_device.clear();
        }
    }),
    fault::config("writes not limited", |spec| {
        if let Some(block) = resources(spec).block_io.as_mut() {
            block.throttle_write_iops_device.clear();
        }
    }),
];

/// Changes every rate of a configuration.
fn rates(spec: &mut Spec, change: impl Fn(&mut u64)) {
    let Some(block) = resources(spec).block_io.as_mut() else { return };
    for devices in [
        &mut block.throttle_read_bps_device,
        &mut block.throttle_write_bps_device,
        &mut block.throttle_read_iops_device,
        &mut block.throttle_write_iops_device,
    ] {
        devices.iter_mut().for_each(|device| change(&mut device.rate));
    }
}
const OTHER_GROUP: &str = "another group's file";

pub(crate) const CHECKS: &[Check] = &[
    Check::of_runtime("io.max.write-bps", "direct writes are held to the limit in bytes", SOURCE, write_bps)
        .needs(NEEDS)
        .faults(RATES)
        .timing(TOLERANCE),
    Check::of_runtime("io.max.read-bps", "direct reads are held to the limit in bytes", SOURCE, read_bps)
        .needs(NEEDS)
        .faults(RATES)
        .timing(TOLERANCE),
    Check::of_runtime(
        "io.max.iops",
        "direct reads and writes are each held to the limit in operations",
        SOURCE,
        iops,
    )
    .needs(NEEDS)
    .faults(OPERATIONS)
    .timing(TOLERANCE),
    Check::of_kernel("io.stat.counts", "bytes and operations are what was done", SOURCE, counts)
        .needs(NEEDS)
        .faults(&[in_fixture(OTHER_GROUP)]),
    Check::of_kernel(
        "io.buffered-is-attributed",
        "v2: buffered writeback is charged to the writer (on v1 it is not)",
        "cgroup-v2.rst, Writeback",
        buffered,
    )
    .needs(&[Need::V2("io"), Need::V2("memory"), Need::Loop])
    .faults(&[in_fixture(OTHER_GROUP)]),
];

const MIB: u64 = 1 << 20;

fn throttled(device: &LoopDevice, rate: u64) -> Vec<ThrottleDevice> {
    vec![ThrottleDevice { major: device.major.into(), minor: device.minor.into(), rate }]
}

/// How much is read or written, and what the limit makes of it.
struct Stream {
    what: &'static str,
    /// Time that it takes at the limit, in ms: long beside the slices of 100 ms that pass at once.
    expected_ms: f64,
}

fn held(
    runtime: &mut RuntimeFixture,
    limit: impl FnOnce(&LoopDevice) -> BlockIo,
    streams: &[(Stream, Towards<'_>)],
) -> Checked {
    let device = LoopDevice::attach(&runtime.directory("backing")?.join("disk"), 16 * MIB)?;
    let on_host = device.path.display().to_string();
    let limit = limit(&device);
    let wanted =
        runtime.container().device(&device, "rw").with(|spec| resources(spec).block_io = Some(limit));
    let mut container = wanted.start()?;
    let mut host = runtime.host_probe()?;
    for (stream, direction) in streams {
        // The control: what device and machine need for it without a limit.
        let free = match direction(&on_host) {
            Direction::Read(request) => as_f64(host.ask(request)?) / 1e3,
            Direction::Write(request) => as_f64(host.ask(request)?) / 1e3,
        };
        let control = Control::begin()?;
        let took = match direction("/dev/plimsoll-disk") {
            Direction::Read(request) => as_f64(container.ask(request)?) / 1e3,
            Direction::Write(request) => as_f64(container.ask(request)?) / 1e3,
        };
        let late = millis(control.end()?);
        runtime.seen.note(format!("{}: {free:.0} ms without a limit", stream.what));
        let band = (stream.expected_ms - SLICES_MS)..=(stream.expected_ms + SLICES_MS + free);
        let what = format!("time that {} took, in ms", stream.what);
        // The machine may make it slower, but never faster than the limit allows.
        let noise = if took < *band.start() { 0.0 } else { late + free };
        runtime.seen.expect_in(
            &what,
            took,
            band,
            "two slices of 100 ms, and the device without a limit",
            noise,
        );
    }
    container.close()?;
    Ok(())
}

/// Two throttle slices of 100 ms, and a tick for each.
const SLICES_MS: f64 = 220.0;

/// The stream's request, for the path of the device.
type Towards<'a> = &'a dyn Fn(&str) -> Direction;

/// A stream in one of the two directions.
enum Direction {
    Read(files::ReadStream),
    Write(files::WriteStream),
}

fn write_bps(runtime: &mut RuntimeFixture) -> Checked {
    let limit = |device: &LoopDevice| BlockIo {
        throttle_write_bps_device: throttled(device, 4 * MIB),
        ..BlockIo::default()
    };
    let stream = Stream { what: "writing 6 MiB at 4 MiB/s", expected_ms: 1_500.0 };
    let write = |path: &str| Direction::Write(files::write_stream(path, 6 * MIB, 65_536, How::Direct));
    held(runtime, limit, &[(stream, &write)])
}

fn read_bps(runtime: &mut RuntimeFixture) -> Checked {
    let limit = |device: &LoopDevice| BlockIo {
        throttle_read_bps_device: throttled(device, 4 * MIB),
        ..BlockIo::default()
    };
    let stream = Stream { what: "reading 6 MiB at 4 MiB/s", expected_ms: 1_500.0 };
    let read = |path: &str| Direction::Read(files::read_stream(path, 6 * MIB, How::Direct));
    held(runtime, limit, &[(stream, &read)])
}

fn iops(runtime: &mut RuntimeFixture) -> Checked {
    let limit = |device: &LoopDevice| BlockIo {
        throttle_read_iops_device: throttled(device, 100),
        throttle_write_iops_device: throttled(device, 100),
        ..BlockIo::default()
    };
    let write = |path: &str| Direction::Write(files::write_stream(path, 150 * 4096, 4096, How::Direct));
    // It is read in pieces of 64 KiB.
    let read = |path: &str| Direction::Read(files::read_stream(path, 150 * 65_536, How::Direct));
    held(
        runtime,
        limit,
        &[
            (Stream { what: "150 writes at 100/s", expected_ms: 1_500.0 }, &write),
            (Stream { what: "150 reads at 100/s", expected_ms: 1_500.0 }, &read),
        ],
    )
}

/// A direction of transfer, by its names in io.stat and in blkio's files.
struct Counter {
    bytes: &'static str,
    operations: &'static str,
    v1: &'static str,
}

const READ: Counter = Counter { bytes: "rbytes=", operations: "rios=", v1: "Read" };
const WRITTEN: Counter = Counter { bytes: "wbytes=", operations: "wios=", v1: "Write" };

/// Bytes and operations between a group and a device, as its controller counts them. A device with which the group had nothing to
/// do yet has no line, which is 0; a line without the number is trouble.
fn counted(cell: &Cell, device: &LoopDevice, which: &Counter) -> Result<(u64, u64), Trouble> {
    let id = format!("{}:{}", device.major, device.minor);
    let strange = |line: &str| Trouble::Harness(format!("no counter in '{line}'"));
    if let Ok(dir) = cell.dir("io") {
        let text = fs::read_to_string(dir.join("io.stat"))?;
        let Some(line) = text.lines().find(|line| line.split(' ').next() == Some(&id)) else {
            return Ok((0, 0));
        };
        let field = |name: &str| -> Result<u64, Trouble> {
            let word = line.split(' ').find_map(|word| word.strip_prefix(name));
            word.and_then(|word| word.parse().ok()).ok_or_else(|| strange(line))
        };
        return Ok((field(which.bytes)?, field(which.operations)?));
    }
    let dir = cell.dir("blkio")?;
    let read = |file: &str| -> Result<u64, Trouble> {
        let text = fs::read_to_string(dir.join(file))?;
        let Some(line) = text.lines().find(|line| line.starts_with(&format!("{id} {} ", which.v1))) else {
            return Ok(0);
        };
        line.rsplit(' ').next().and_then(|word| word.parse().ok()).ok_or_else(|| strange(line))
    };
    Ok((read("blkio.throttle.io_service_bytes")?, read("blkio.throttle.io_serviced")?))
}

fn counts(kernel: &mut KernelFixture) -> Checked {
    let device = LoopDevice::attach(&kernel.dir().join("disk"), 8 * MIB)?;
    let (cell, other) = (kernel.cell("group")?, kernel.cell("other")?);
    let watched = if kernel.has(OTHER_GROUP) { &other } else { &cell };
    if let Ok(dir) = cell.dir("blkio") {
        // v1 counts only where a limit was set once on the device, and 6.1 only in its direction: two that nothing reaches.
        for file in ["blkio.throttle.write_bps_device", "blkio.throttle.read_bps_device"] {
            fs::write(dir.join(file), format!("{}:{} {}", device.major, device.minor, 1_u64 << 40))?;
        }
    }
    let mut probe = cell.probe()?;
    let path = device.path.display().to_string();
    let before = [counted(watched, &device, &WRITTEN)?, counted(watched, &device, &READ)?];
    probe.ask(files::write_stream(&path, MIB, 65_536, How::Direct))?;
    let written = [counted(watched, &device, &WRITTEN)?, counted(watched, &device, &READ)?];
    // It reads in pieces of 64 KiB.
    probe.ask(files::read_stream(&path, MIB / 2, How::Direct))?;
    let read = [counted(watched, &device, &WRITTEN)?, counted(watched, &device, &READ)?];
    let grown = |from: (u64, u64), to: (u64, u64)| (to.0 - from.0, to.1 - from.1);
    for (what, seen, expected) in [
        ("written by 16 writes of 64 KiB", grown(before[0], written[0]), (MIB, 16)),
        ("read meanwhile", grown(before[1], written[1]), (0, 0)),
        ("read by 8 reads of 64 KiB", grown(written[1], read[1]), (MIB / 2, 8)),
        ("written meanwhile", grown(written[0], read[0]), (0, 0)),
    ] {
        kernel.seen.expect_eq(&format!("bytes and operations {what}"), &seen, &expected);
    }
    drop(probe);
    Ok(())
}

fn buffered(kernel: &mut KernelFixture) -> Checked {
    let device = LoopDevice::attach(&kernel.dir().join("disk"), 16 * MIB)?;
    let (cell, other) = (kernel.cell("group")?, kernel.cell("other")?);
    let watched = if kernel.has(OTHER_GROUP) { &other } else { &cell };
    let mut probe = cell.probe()?;
    probe.ask(files::write_stream(&device.path.display().to_string(), 8 * MIB, 65536, How::Behind))?;
    // This process, in another group, has it written back.
    device.flush()?;
    let bytes = as_f64(counted(watched, &device, &WRITTEN)?.0) / as_f64(MIB);
    kernel.seen.expect_in(
        "bytes charged to the writer's group, in MiB",
        bytes,
        7.0..=8.5,
        "what was written back before the group was asked",
        0.0,
    );
    if let Ok(dir) = cell.dir("io") {
        kernel.seen.file(&dir.join("io.stat"), "after it was written back");
    }
    drop(probe);
    Ok(())
}
