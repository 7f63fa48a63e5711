//! Clocks: which are namespaced, and which are not.

use nix::sched::unshare;
use nix::time::{ClockId, clock_gettime};
use runtime::namespace::Kind;

use kit::check::{Check, Checked, Trouble};
use kit::fault::in_fixture;
use kit::kernel::KernelFixture;
use kit::need::Need;

pub(crate) const CHECKS: &[Check] = &[
    MONOTONIC,
    Check::of_kernel(
        "ns.time.realtime-is-shared",
        "CLOCK_REALTIME is the host's in every namespace: the time of day is not namespaced",
        "time_namespaces(7): only CLOCK_MONOTONIC and CLOCK_BOOTTIME are virtualized",
        realtime_is_shared,
    )
    .needs(&[Need::Namespace(Kind::Time)])
    .faults(&[in_fixture(SHIFTED)]),
];

const MONOTONIC: Check = Check::of_kernel(
    "ns.time.monotonic-offset",
    "a time namespace offsets CLOCK_MONOTONIC and CLOCK_BOOTTIME (since Linux 5.6)",
    "time_namespaces(7), /proc/pid/timens_offsets",
    monotonic_offset,
)
.needs(&[Need::Namespace(Kind::Time)])
.faults(&[in_fixture(NO_OFFSET)]);

const NO_OFFSET: &str = "no offset written";

fn monotonic_offset(kernel: &mut KernelFixture) -> Checked {
    let clocks =
        [(ClockId::CLOCK_MONOTONIC, "monotonic", OFFSET), (ClockId::CLOCK_BOOTTIME, "boottime", 2 * OFFSET)];
    unshare(Kind::Time.flag())?;
    if !kernel.has(NO_OFFSET) {
        let lines: Vec<String> =
            clocks.iter().map(|(_, name, offset)| format!("{name} {offset} 0\n")).collect();
        std::fs::write("/proc/self/timens_offsets", lines.concat())?;
    }
    for (clock, name, offset) in clocks {
        let before = nanoseconds(clock)?;
        let inside = kernel.in_child(|| nanoseconds(clock))?;
        let after = nanoseconds(clock)?;
        let shift = i128::from(offset) * 1_000_000_000;
        let held = (before + shift..=after + shift).contains(&inside);
        let expected = format!("{} to {}", before + shift, after + shift);
        kernel.seen.expect(&format!("{name} clock inside, in ns"), inside, expected, held);
    }
    Ok(())
}

const SHIFTED: &str = "shifted clock reading";

/// A day: no scheduling delay can be taken for it.
const OFFSET: i64 = 86_400;

fn realtime_is_shared(kernel: &mut KernelFixture) -> Checked {
    let monotonic_before = nanoseconds(ClockId::CLOCK_MONOTONIC)?;
    unshare(Kind::Time.flag())?;
    std::fs::write("/proc/self/timens_offsets", format!("monotonic {OFFSET} 0"))?;
    let before = nanoseconds(ClockId::CLOCK_REALTIME)?;
    let shifted = kernel.has(SHIFTED);
    let in_all = &*kernel;
    let (monotonic, realtime) = kernel.in_child(|| {
        // A second one in the first, too; like a PID namespace it is for children.
        for kind in [
            Kind::User,
            Kind::Uts,
            Kind::Ipc,
            Kind::Network,
            Kind::Mount,
            Kind::Cgroup,
            Kind::Pid,
            Kind::Time,
        ] {
            if kind.is_supported() {
                unshare(kind.flag())?;
            }
        }
        in_all.in_child(|| {
            let monotonic = nanoseconds(ClockId::CLOCK_MONOTONIC)?;
            let realtime = if shifted {
                before + monotonic - monotonic_before
            } else {
                nanoseconds(ClockId::CLOCK_REALTIME)?
            };
            Ok((monotonic, realtime))
        })
    })?;
    let after = nanoseconds(ClockId::CLOCK_REALTIME)?;
    // Proof that the child really stood in another time namespace.
    let ahead = (monotonic - monotonic_before) / 1_000_000_000;
    let is_ahead = ahead >= i128::from(OFFSET);
    kernel.seen.expect(
        "CLOCK_MONOTONIC inside is ahead by, in s",
        ahead,
        format!("{OFFSET} or more"),
        is_ahead,
    );
    let held = (before..=after).contains(&realtime);
    let expected = format!("between the host's readings before and after, {before} and {after}");
    kernel.seen.expect("CLOCK_REALTIME inside, in ns", realtime, expected, held);
    Ok(())
}

fn nanoseconds(clock: ClockId) -> Result<i128, Trouble> {
    let now = clock_gettime(clock)?;
    Ok(i128::from(now.tv_sec()) * 1_000_000_000 + i128::from(now.tv_nsec()))
}
