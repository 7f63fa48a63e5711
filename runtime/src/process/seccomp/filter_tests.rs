use super::super::conditions::halves;
use super::super::program::{AND, ARGUMENTS, EQUAL, GREATER, GREATER_EQUAL, JUMP, LOAD, RETURN};
use super::super::{architecture::NATIVE, widths};
use super::*;
use crate::oci::SeccompArg;
use proptest::prelude::*;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const DENY: u32 = libc::SECCOMP_RET_ERRNO | 1;
const X86: u32 = 0x4000_0003;

/// The classic BPF machine, as far as filters use it.
fn run(filter: &Filter, architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let word = |offset: u32| match offset {
        NUMBER => number,
        ARCHITECTURE => architecture,
        _ => {
            let (low, high) = halves(arguments[((offset - ARGUMENTS) / 8) as usize]);
            if (offset - ARGUMENTS).is_multiple_of(8) { low } else { high }
        }
    };
    let (mut accumulator, mut at) = (0, 0);
    loop {
        let step = filter.program[at];
        at += 1;
        let branch = |taken: bool| usize::from(if taken { step.jt } else { step.jf });
        match step.code {
            LOAD => accumulator = word(step.k),
            AND => accumulator &= step.k,
            JUMP => at += step.k as usize,
            EQUAL => at += branch(accumulator == step.k),
            GREATER => at += branch(accumulator > step.k),
            GREATER_EQUAL => at += branch(accumulator >= step.k),
            RETURN => return step.k,
            code => panic!("instruction {code:#x}"),
        }
    }
}

fn rule(names: &[&str], action: &str, args: Vec<SeccompArg>) -> SeccompRule {
    SeccompRule {
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        action: format!("SCMP_ACT_{action}"),
        args,
        ..SeccompRule::default()
    }
}

fn argument(index: u32, op: &str, value: u64) -> SeccompArg {
    SeccompArg { index, value, value_two: 0, op: format!("SCMP_CMP_{op}") }
}

fn profile(default: &str, architectures: &[&str], syscalls: Vec<SeccompRule>) -> Seccomp {
    Seccomp {
        default_action: format!("SCMP_ACT_{default}"),
        architectures: architectures.iter().map(|name| format!("SCMP_ARCH_{name}")).collect(),
        syscalls,
        ..Seccomp::default()
    }
}

fn compile(default: &str, architectures: &[&str], syscalls: Vec<SeccompRule>) -> Filter {
    Filter::compile(&profile(default, architectures, syscalls)).unwrap()
}

fn filter(args: Vec<SeccompArg>) -> Filter {
    let rules = vec![rule(&["read", "no_such_call"], "ALLOW", vec![]), rule(&["openat2"], "ALLOW", args)];
    compile("ERRNO", &[], rules)
}

fn number(abi: Abi, wanted: &str) -> u32 {
    let mut found = None;
    abi.calls(|name, number| {
        if name == wanted {
            found = Some(number);
        }
    });
    found.unwrap()
}

fn native(filter: &Filter, name: &str, arguments: [u64; 6]) -> u32 {
    run(filter, NATIVE.token(), number(NATIVE, name), arguments)
}

#[test]
fn calls_of_an_architecture_that_is_not_listed_kill() {
    let filter = filter(vec![]);
    assert_eq!(native(&filter, "read", [0; 6]), ALLOW);
    assert_eq!(native(&filter, "write", [0; 6]), DENY);
    assert_eq!(run(&filter, X86, 3, [0; 6]), FOREIGN);
    assert_eq!(run(&filter, 0, 3, [0; 6]), FOREIGN);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn each_architecture_has_its_own_numbers() {
    let rules = || vec![rule(&["mkdir", "execve"], "ERRNO", vec![])];
    let all = compile("ALLOW", &["X86_64", "X86", "X32"], rules());
    assert_eq!(native(&all, "mkdir", [0; 6]), DENY);
    // 39 is mkdir of i386 and getpid of x86-64; 83 is mkdir of x86-64 and symlink of i386.
    assert_eq!(run(&all, X86, 39, [0; 6]), DENY);
    assert_eq!(run(&all, X86, 83, [0; 6]), ALLOW);
    assert_eq!(run(&all, NATIVE.token(), 39, [0; 6]), ALLOW);
    for x32_execve in [59, 520] {
        assert_eq!(run(&all, NATIVE.token(), X32 | x32_execve, [0; 6]), DENY);
    }
    assert_eq!(run(&all, NATIVE.token(), X32 | 39, [0; 6]), ALLOW);
    assert_eq!(run(&all, NATIVE.token(), 520, [0; 6]), NO_SUCH_CALL);
    assert_eq!(run(&all, NATIVE.token(), u32::MAX, [0; 6]), ALLOW);
    let without = compile("ALLOW", &["X86_64", "X86"], rules());
    assert_eq!(run(&without, NATIVE.token(), X32 | 39, [0; 6]), FOREIGN);
    assert_eq!(run(&without, NATIVE.token(), u32::MAX, [0; 6]), ALLOW);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn every_call_of_every_architecture_is_found_by_its_number() {
    let names = ["write", "socket", "mkdirat", "clone3", "futex", "io_submit", "readv"];
    let filter = compile("ERRNO", &["X86", "X32"], vec![rule(&names, "ALLOW", vec![])]);
    for (abi, bit) in [(Abi::X86_64, 0), (Abi::X32, X32), (Abi::X86, 0)] {
        let mut newest = 0;
        abi.calls(|name, number| newest = newest.max(if names.contains(&name) { number } else { 0 }));
        let mut seen = 0;
        abi.calls(|name, number| {
            let expected = match () {
                () if names.contains(&name) => ALLOW,
                () if number > newest => NO_SUCH_CALL,
                // Their arguments say which call is meant.
                () if abi == Abi::X86 && name == "socketcall" => return,
                () => DENY,
            };
            // Two numbers of x32 have one name.
            if abi == Abi::X32 && number < 512 && expected == NO_SUCH_CALL {
                return;
            }
            assert_eq!(run(&filter, abi.token(), number | bit, [0; 6]), expected, "{abi:?} {name} {number}");
            seen += 1;
        });
        assert!(seen > 300);
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn a_call_through_another_one_is_the_same_call() {
    let socketcall = |filter: &Filter, selector| run(filter, X86, 102, [selector, 0, 0, 0, 0, 0]);
    let ipc = |filter: &Filter, selector| run(filter, X86, 117, [selector, 0, 0, 0, 0, 0]);
    let denied = compile("ALLOW", &["X86"], vec![rule(&["socket", "shmget"], "ERRNO", vec![])]);
    assert_eq!((socketcall(&denied, 1), socketcall(&denied, 2)), (DENY, ALLOW));
    assert_eq!((ipc(&denied, 23), ipc(&denied, 0x0001_0017), ipc(&denied, 24)), (DENY, DENY, ALLOW));
    // What depends on arguments that lie in memory is not let through.
    let alg = || vec![argument(0, "EQ", 38)];
    let partly = compile("ALLOW", &["X86"], vec![rule(&["socket"], "ERRNO", alg())]);
    assert_eq!((socketcall(&partly, 1), socketcall(&partly, 2)), (DENY, ALLOW));
    let partly = compile("ERRNO", &["X86"], vec![rule(&["socket"], "ALLOW", alg())]);
    assert_eq!(socketcall(&partly, 1), DENY);
    // A rule of the profile for the other call itself comes first if it is written first.
    let rules = vec![rule(&["socketcall"], "ALLOW", vec![]), rule(&["socket"], "ERRNO", alg())];
    assert_eq!(socketcall(&compile("ERRNO", &["X86"], rules), 1), ALLOW);
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    let rules = |default| {
        compile(
            default,
            &[],
            vec![rule(&["openat2"], "ALLOW", vec![]), rule(&["close_range"], "LOG", vec![])],
        )
    };
    let refusing = rules("ERRNO");
    assert_eq!(native(&refusing, "openat2", [0; 6]), ALLOW);
    assert_eq!(native(&refusing, "statx", [0; 6]), DENY);
    for newer in ["pidfd_getfd", "mseal", "file_setattr"] {
        assert_eq!(native(&refusing, newer, [0; 6]), NO_SUCH_CALL, "{newer}");
    }
    assert_eq!(native(&rules("KILL_PROCESS"), "mseal", [0; 6]), NO_SUCH_CALL);
    assert_eq!(native(&rules("LOG"), "mseal", [0; 6]), libc::SECCOMP_RET_LOG);
}

#[test]
fn bits_that_the_kernel_does_not_read_change_nothing() {
    let socket = |args, family| {
        let filter = compile("ALLOW", &[], vec![rule(&["socket"], "ERRNO", args)]);
        native(&filter, "socket", [family, 0, 0, 0, 0, 0])
    };
    for family in [38, 38 | 1 << 32, 38 | u64::MAX << 32] {
        assert_eq!(socket(vec![argument(0, "EQ", 38)], family), DENY);
        assert_eq!(socket(vec![argument(0, "NE", 38)], family), ALLOW);
        assert_eq!(socket(vec![argument(0, "GT", 38)], family), ALLOW);
        assert_eq!(socket(vec![argument(0, "LT", 39)], family), DENY);
    }
    // -1 in 32 or 64 bits is the same to an int, and no int equals 2^32 + 38.
    let minus_one = u64::from(u32::MAX);
    assert_eq!(socket(vec![argument(0, "EQ", u64::MAX)], minus_one), DENY);
    assert_eq!(socket(vec![argument(0, "EQ", 38 | 1 << 32)], 38), ALLOW);
    assert_eq!(socket(vec![argument(0, "NE", 38 | 1 << 32)], 38), DENY);
    // A mode has 16 bits.
    let chmod = compile("ALLOW", &[], vec![rule(&["fchmod"], "ERRNO", vec![argument(1, "EQ", 0o4755)])]);
    assert_eq!(native(&chmod, "fchmod", [0, 0x1_0000 | 0o4755, 0, 0, 0, 0]), DENY);
    // ioctl's third argument is a whole register.
    let ioctl = compile("ALLOW", &[], vec![rule(&["ioctl"], "ERRNO", vec![argument(2, "EQ", 5)])]);
    assert_eq!(native(&ioctl, "ioctl", [0, 0, 5 | 1 << 32, 0, 0, 0]), ALLOW);
}

#[test]
fn conditions_on_one_argument_are_alternatives_and_on_several_all_hold() {
    let filter = |args| compile("ERRNO", &[], vec![rule(&["socket"], "ALLOW", args)]);
    let both = filter(vec![argument(0, "EQ", 1), argument(1, "EQ", 2)]);
    let either = filter(vec![argument(0, "EQ", 1), argument(0, "EQ", 2)]);
    let call = |filter: &Filter, one, two| native(filter, "socket", [one, two, 0, 0, 0, 0]) == ALLOW;
    assert!(call(&both, 1, 2) && !call(&both, 1, 0) && !call(&both, 0, 2));
    assert!(call(&either, 1, 0) && call(&either, 2, 0) && !call(&either, 3, 0));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = vec![
        rule(&["socket"], "KILL_PROCESS", vec![argument(0, "EQ", 38)]),
        rule(&["socket"], "ALLOW", vec![]),
        rule(&["socket"], "TRAP", vec![]),
    ];
    let filter = compile("ERRNO", &[], rules);
    assert_eq!(native(&filter, "socket", [38, 0, 0, 0, 0, 0]), libc::SECCOMP_RET_KILL_PROCESS);
    assert_eq!(native(&filter, "socket", [1, 0, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn unknown_words_are_refused_by_name() {
    type Change = fn(&mut Seccomp);
    let cases: [(&str, Change); 11] = [
        ("SCMP_ACT_PANIC", |s| s.default_action = "SCMP_ACT_PANIC".into()),
        ("SCMP_ARCH_PDP11", |s| s.architectures.push("SCMP_ARCH_PDP11".into())),
        ("SECCOMP_FILTER_FLAG_TEA", |s| s.flags.push("SECCOMP_FILTER_FLAG_TEA".into())),
        ("SCMP_CMP_LIKE", |s| s.syscalls[0].args = vec![argument(0, "LIKE", 0)]),
        ("above 5", |s| s.syscalls[0].args = vec![argument(6, "EQ", 0)]),
        ("names", |s| s.syscalls[0].names.clear()),
        ("4096", |s| s.syscalls[0].errno_ret = Some(4096)),
        ("SCMP_ACT_ALLOW", |s| {
            s.syscalls[0] = SeccompRule { errno_ret: Some(1), ..rule(&["read"], "ALLOW", vec![]) }
        }),
        ("defaultAction", |s| s.default_action = "SCMP_ACT_NOTIFY".into()),
        ("listenerPath", |s| s.syscalls[0].action = "SCMP_ACT_NOTIFY".into()),
        ("sendmsg", |s| s.syscalls[0] = rule(&["sendmsg"], "NOTIFY", vec![])),
    ];
    for (expected, change) in cases {
        let mut seccomp = profile("ALLOW", &[], vec![rule(&["read"], "ERRNO", vec![])]);
        change(&mut seccomp);
        let message = Filter::compile(&seccomp).unwrap_err().to_string();
        assert!(message.contains(expected), "{expected}: {message}");
    }
}

#[test]
fn a_listener_is_asked_for_only_where_a_rule_notifies() {
    let mut seccomp = profile("ALLOW", &["S390X", "MIPS"], vec![rule(&["mkdir"], "NOTIFY", vec![])]);
    seccomp.listener_path = Some("/run/agent".into());
    seccomp.flags = FLAGS.iter().map(|flag| (*flag).to_owned()).collect();
    assert!(Filter::compile(&seccomp).unwrap().has_listener());
    seccomp.syscalls.clear();
    let filter = Filter::compile(&seccomp).unwrap();
    assert!(!filter.has_listener());
    assert_eq!(filter.flags & libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, 0);
}

fn condition() -> impl Strategy<Value = SeccompArg> {
    let value = || prop_oneof![0_u64..4, Just(1 << 32), Just(u64::MAX), Just(0xffff_ffff), any::<u64>()];
    let ops = ["EQ", "NE", "GT", "GE", "LT", "LE", "MASKED_EQ"];
    (0_u32..4, value(), value(), prop::sample::select(ops.to_vec())).prop_map(
        |(index, value, value_two, op)| SeccompArg { index, value, value_two, op: format!("SCMP_CMP_{op}") },
    )
}

/// What a condition means for the argument as the kernel reads it.
fn holds(condition: &SeccompArg, call: &str, arguments: &[u64; 6]) -> bool {
    let bits = widths::mask(call, condition.index as usize);
    let read = arguments[condition.index as usize] & bits;
    // A negative number of 64 bits is the same number in fewer.
    let sign = (bits >> 1) + 1;
    let fit = |value: u64| if value | bits == u64::MAX && value & sign != 0 { value & bits } else { value };
    let value = fit(condition.value);
    match condition.op.trim_start_matches("SCMP_CMP_") {
        "EQ" => read == value,
        "NE" => read != value,
        "GT" => read > value,
        "GE" => read >= value,
        "LT" => read < value,
        "LE" => read <= value,
        _ => read & condition.value == fit(condition.value_two),
    }
}

proptest! {
    #[test]
    fn conditions_decide_as_they_say(
        call in prop::sample::select(vec!["openat2", "socket", "fchmod", "mmap", "clone"]),
        conditions in prop::collection::vec(condition(), 0..5),
        arguments in prop::array::uniform4(prop_oneof![0_u64..4, Just(1 << 32), Just(u64::MAX), any::<u64>()]),
    ) {
        let arguments = [arguments[0], arguments[1], arguments[2], arguments[3], 0, 0];
        let twice = conditions.iter().enumerate().any(|(at, one)| {
            conditions[..at].iter().any(|other| other.index == one.index)
        });
        let hold = |condition| holds(condition, call, &arguments);
        let expected = if twice { conditions.iter().any(hold) } else { conditions.iter().all(hold) };
        let filter = compile("ERRNO", &[], vec![rule(&[call], "ALLOW", conditions)]);
        prop_assert_eq!(native(&filter, call, arguments) == ALLOW, expected);
    }
}
