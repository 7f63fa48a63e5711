//! From a profile to a program, and into the kernel.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::{FromRawFd, OwnedFd};

use nix::errno::Errno;

use super::architecture::{self, Abi, Multiplexed, X32};
use super::conditions::{self, Condition};
use super::program::{
    ARCHITECTURE, Instruction, LONGEST, NUMBER, Range, bisect, load, merge, ret, unless_equal_skip,
};
use crate::error::{Doing, Error, Remedy, Result};
use crate::oci::{Seccomp, SeccompRule};

/// What becomes of calls of an architecture that the profile does not list.
const FOREIGN: u32 = libc::SECCOMP_RET_KILL_PROCESS;

/// The kernel's answer to a call that it does not have.
const NO_SUCH_CALL: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();

/// Largest error number that a call can return.
const MAX_ERRNO: u32 = 4095;

/// Every action, by its name in a profile.
pub const ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// Every flag, by its name in a profile.
pub const FLAGS: &[&str] = &[
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// A compiled filter.
#[derive(Debug, Clone)]
pub struct Filter {
    program: Vec<libc::sock_filter>,
    flags: libc::c_ulong,
}

/// A rule of the profile for one call.
#[derive(Debug, Clone)]
struct Rule<'a> {
    name: &'a str,
    verdict: u32,
    source: &'a SeccompRule,
    /// Place in the file.
    position: usize,
    /// Which first argument of another call means this one.
    through: Option<Multiplexed>,
}

impl Filter {
    /// Compiles a filter for the native architecture and those that the profile lists; a call of any other one kills the process.
    ///
    /// Of several rules for a call, the first one in the file that matches decides. Names that an architecture does not have are
    /// passed over, because profiles list those of all. Where the default is to refuse, calls that are newer than the newest one
    /// that the profile names look as if the kernel did not have them, so that programs fall back to older ones.
    ///
    /// # Errors
    /// An unknown action, comparison, architecture or flag, named with its field.
    pub fn compile(seccomp: &Seccomp) -> Result<Self> {
        let default = action(&seccomp.default_action, seccomp.default_errno_ret)
            .map_err(|error| Error::new(format!("linux.seccomp.defaultAction: {error}")))?;
        if default == libc::SECCOMP_RET_USER_NOTIF {
            return Err(Error::new("linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default")
                .remedy("the call by which the listener is handed on would wait for the listener"));
        }
        let rules = by_name(seccomp)?;
        let flags = flags(seccomp)?;
        let abis = Abi::all(&seccomp.architectures)?;
        let mut program = vec![load(ARCHITECTURE)];
        for abi in abis.iter().filter(|abi| **abi != Abi::X32) {
            let mut segment = vec![load(NUMBER)];
            let x32 = (*abi == Abi::X86_64).then(|| abis.contains(&Abi::X32));
            segment.extend(bisect(&ranges(*abi, x32, &rules, default, hides_newer(seccomp))?));
            program.extend(unless_equal_skip(abi.token(), segment.len()));
            program.extend(segment);
        }
        program.push(ret(FOREIGN));
        if program.len() > LONGEST {
            return Err(Error::new(format!("linux.seccomp: {} instructions are too many", program.len()))
                .remedy(format!("the kernel takes {LONGEST}")));
        }
        Ok(Self { program, flags })
    }

    /// Whether calls are to wait for the verdict of a listener.
    pub fn has_listener(&self) -> bool {
        self.flags & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0
    }

    /// Installs it for the calling thread; returns the listener's descriptor if there is one. Needs no_new_privs or CAP_SYS_ADMIN.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn install(&self) -> Result<Option<OwnedFd>> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.program.len()).expect("checked when compiled"),
            filter: self.program.as_ptr().cast_mut(),
        };
        // SAFETY: the program outlives the call, and the kernel only reads it.
        let result = unsafe {
            libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, self.flags, &raw const program)
        };
        let result = Errno::result(result)
            .doing(|| "linux.seccomp: installing the filter")
            .or_advise(|| "set process.noNewPrivileges, or run with CAP_SYS_ADMIN")?;
        if !self.has_listener() {
            return Ok(None);
        }
        let listener = i32::try_from(result).expect("a descriptor");
        // SAFETY: the kernel just returned this descriptor, and nobody else owns it.
        Ok(Some(unsafe { OwnedFd::from_raw_fd(listener) }))
    }
}

/// The rules of every call that the profile names, in the order of the file.
fn by_name(seccomp: &Seccomp) -> Result<HashMap<&str, Vec<Rule<'_>>>> {
    let mut rules: HashMap<&str, Vec<Rule<'_>>> = HashMap::new();
    for (position, source) in seccomp.syscalls.iter().enumerate() {
        let field = |error: Error| Error::new(format!("linux.seccomp.syscalls[{position}]: {error}"));
        let verdict = action(&source.action, source.errno_ret).map_err(field)?;
        if source.names.is_empty() {
            return Err(field(Error::new("names is empty")));
        }
        for argument in &source.args {
            Condition::of(argument, "", true).map_err(field)?;
        }
        for name in &source.names {
            if verdict == libc::SECCOMP_RET_USER_NOTIF && name == "sendmsg" {
                return Err(field(Error::new("SCMP_ACT_NOTIFY cannot be used for sendmsg"))
                    .remedy("the listener is handed on by this call, which would wait for the listener"));
            }
            rules.entry(name).or_default().push(Rule { name, verdict, source, position, through: None });
        }
    }
    Ok(rules)
}

/// As runc decides it: a default that lets calls through needs no pretence, and ENOSYS itself is none.
fn hides_newer(seccomp: &Seccomp) -> bool {
    let lets_through =
        matches!(seccomp.default_action.as_str(), "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" | "SCMP_ACT_TRACE");
    !lets_through
}

/// The ranges of an architecture's numbers. `x32` says whether those with the bit of x32 are listed, where there are such.
fn ranges(
    abi: Abi,
    x32: Option<bool>,
    rules: &HashMap<&str, Vec<Rule<'_>>>,
    default: u32,
    hides_newer: bool,
) -> Result<Vec<Range>> {
    let verdict = |verdict| vec![Instruction(ret(verdict))];
    let mut all = table(abi, rules, default, hides_newer)?;
    match x32 {
        None => {}
        Some(listed) => {
            let (first, last) = (*architecture::X32_ONLY.start(), *architecture::X32_ONLY.end());
            let after = all.last().map(|range| range.code.clone()).unwrap_or_default();
            // No 64-bit program has a use for these numbers without the bit, and no later kernel has calls there.
            if all.last().is_some_and(|range| range.first <= first) {
                all.push(Range { first, code: verdict(NO_SUCH_CALL) });
                all.push(Range { first: last + 1, code: after });
            }
            if listed {
                let with_bit = table(Abi::X32, rules, default, hides_newer)?;
                all.extend(with_bit.into_iter().map(|range| Range { first: range.first | X32, ..range }));
            } else {
                all.push(Range { first: X32, code: verdict(FOREIGN) });
            }
            // What a tracer writes to skip a call is no call of x32.
            all.push(Range { first: u32::MAX, code: verdict(default) });
        }
    }
    Ok(merge(all))
}

/// What happens to each number of one table.
fn table(
    abi: Abi,
    rules: &HashMap<&str, Vec<Rule<'_>>>,
    default: u32,
    hides_newer: bool,
) -> Result<Vec<Range>> {
    let mut calls: BTreeMap<u32, Vec<Instruction>> = BTreeMap::new();
    let mut through: BTreeMap<&str, Vec<Rule<'_>>> = BTreeMap::new();
    if abi == Abi::X86 {
        through = multiplexed(rules);
    }
    let mut failed = None;
    abi.calls(|name, number| {
        let of_call = through.get(name).or_else(|| rules.get(name));
        if let Some(of_call) = of_call {
            match code(of_call, abi, default) {
                Ok(code) => drop(calls.insert(number, code)),
                Err(error) => failed = Some(error),
            }
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let default = vec![Instruction(ret(default))];
    let newest = calls.last_key_value().map(|(number, _)| *number);
    let mut ranges = vec![Range { first: 0, code: default.clone() }];
    for (number, code) in calls {
        if ranges.last().is_some_and(|range| range.first == number) {
            ranges.pop();
        }
        ranges.push(Range { first: number, code });
        ranges.push(Range { first: number + 1, code: default.clone() });
    }
    if let Some(newest) = newest.filter(|_| hides_newer) {
        ranges.pop();
        ranges.push(Range { first: newest + 1, code: vec![Instruction(ret(NO_SUCH_CALL))] });
    }
    Ok(ranges)
}

/// The rules of socketcall(2) and ipc(2) on i386: their own, and those of the calls that can be made through them.
fn multiplexed<'a>(rules: &HashMap<&'a str, Vec<Rule<'a>>>) -> BTreeMap<&'static str, Vec<Rule<'a>>> {
    let mut all: BTreeMap<&'static str, Vec<Rule<'a>>> = BTreeMap::new();
    for rule in rules.values().flatten() {
        match rule.name {
            "socketcall" => all.entry("socketcall").or_default().push(rule.clone()),
            "ipc" => all.entry("ipc").or_default().push(rule.clone()),
            name => {
                let Some(through) = architecture::multiplexed(name) else { continue };
                let rule = Rule { through: Some(through), ..rule.clone() };
                all.entry(through.name).or_default().push(rule);
            }
        }
    }
    // The order of the file decides. All names of one rule do the same.
    all.values_mut().for_each(|rules| rules.sort_by_key(|rule| rule.position));
    all
}

/// The code for one call.
fn code(rules: &[Rule<'_>], abi: Abi, default: u32) -> Result<Vec<Instruction>> {
    let mut code = Vec::new();
    for rule in rules {
        for alternative in alternatives(rule, abi)? {
            if alternative.is_empty() {
                // Nothing after it can match.
                code.push(Instruction(ret(rule.verdict)));
                return Ok(code);
            }
            code.extend(conditions::all(&alternative, rule.verdict).into_iter().map(Instruction));
        }
    }
    code.push(Instruction(ret(default)));
    Ok(code)
}

/// The sets of conditions of which one must hold. Conditions on different arguments must all hold; several ones on the same
/// argument make each condition an alternative, as under runc and crun.
fn alternatives(rule: &Rule<'_>, abi: Abi) -> Result<Vec<Vec<Condition>>> {
    if let Some(through) = rule.through {
        let selected = Condition::masked(0, through.selector_bits, u64::from(through.selector));
        // The call's own arguments lie in memory, where no filter can look: what depends on them is not let through.
        let lets_through = matches!(rule.verdict, libc::SECCOMP_RET_ALLOW | libc::SECCOMP_RET_LOG);
        let unknown = lets_through && !rule.source.args.is_empty();
        return Ok(if unknown { Vec::new() } else { vec![vec![selected]] });
    }
    let all: Vec<Condition> = rule
        .source
        .args
        .iter()
        .map(|argument| Condition::of(argument, rule.name, abi.is_64_bit()))
        .collect::<Result<_>>()?;
    let twice = |index| rule.source.args.iter().filter(|argument| argument.index == index).count() > 1;
    if rule.source.args.iter().any(|argument| twice(argument.index)) {
        return Ok(all.into_iter().map(|condition| vec![condition]).collect());
    }
    Ok(vec![all])
}

fn flags(seccomp: &Seccomp) -> Result<libc::c_ulong> {
    let mut flags = 0;
    let has_listener = seccomp.syscalls.iter().any(|rule| rule.action == "SCMP_ACT_NOTIFY");
    match (has_listener, seccomp.listener_path.is_some()) {
        (true, false) => {
            return Err(Error::new(
                "linux.seccomp.listenerPath: it is missing, but a rule has SCMP_ACT_NOTIFY",
            )
            .remedy("name the socket of the program that decides"));
        }
        (true, true) => flags |= libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
        (false, _) if seccomp.listener_metadata.is_some() && seccomp.listener_path.is_none() => {
            return Err(Error::new("linux.seccomp.listenerMetadata: there is no listenerPath to send it to"));
        }
        (false, _) => {}
    }
    for flag in &seccomp.flags {
        flags |= match flag.as_str() {
            "SECCOMP_FILTER_FLAG_LOG" => libc::SECCOMP_FILTER_FLAG_LOG,
            "SECCOMP_FILTER_FLAG_SPEC_ALLOW" => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            // Of no effect for a process with a single thread, and refused together with a listener.
            "SECCOMP_FILTER_FLAG_TSYNC" => 0,
            // It is about the listener alone, and refused without one.
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" if has_listener => {
                libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
            }
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV" => 0,
            other => {
                return Err(Error::new(format!("linux.seccomp.flags: '{other}' is unknown"))
                    .remedy(format!("known are {}", FLAGS.join(", "))));
            }
        };
    }
    Ok(flags)
}

fn action(name: &str, errno: Option<u32>) -> Result<u32> {
    let datum = |default: i32, largest: u32| {
        let number = errno.unwrap_or(default.cast_unsigned());
        if number <= largest {
            return Ok(number);
        }
        Err(Error::new(format!("errnoRet {number} is above {largest}")))
    };
    let verdict = match name {
        "SCMP_ACT_ERRNO" => return Ok(libc::SECCOMP_RET_ERRNO | datum(libc::EPERM, MAX_ERRNO)?),
        "SCMP_ACT_TRACE" => return Ok(libc::SECCOMP_RET_TRACE | datum(libc::EPERM, 0xffff)?),
        "SCMP_ACT_ALLOW" => libc::SECCOMP_RET_ALLOW,
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => libc::SECCOMP_RET_KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => libc::SECCOMP_RET_KILL_PROCESS,
        "SCMP_ACT_TRAP" => libc::SECCOMP_RET_TRAP,
        "SCMP_ACT_LOG" => libc::SECCOMP_RET_LOG,
        "SCMP_ACT_NOTIFY" => libc::SECCOMP_RET_USER_NOTIF,
        other => {
            return Err(Error::new(format!("action '{other}' is not supported"))
                .remedy(format!("known are {}", ACTIONS.join(", "))));
        }
    };
    match errno {
        // The specification asks for an error here.
        Some(_) => Err(Error::new(format!("errnoRet has no meaning for {name}"))
            .remedy("only SCMP_ACT_ERRNO and SCMP_ACT_TRACE carry a number")),
        None => Ok(verdict),
    }
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;
