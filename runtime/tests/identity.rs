//! Who the processes of a container are, and which system calls they have: seen from inside.

mod support;

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use support::programs::{Abi, TEXT, write_call, write_cat, write_idle};
use support::{Bundle, is_root, said, skip};

const MKDIR: [u64; 3] = [TEXT, 0o755, 0];
const EPERM: i32 = 1;
/// 128 + SIGSYS.
const KILLED: i32 = 128 + 31;

impl Bundle {
    fn program(&self, name: &str) -> PathBuf {
        self.dir.path().join("rootfs").join(name)
    }

    /// Runs a program that was written to `/app`; its status and what it said.
    fn run(&self) -> (i32, String) {
        let output = self.call(&["run", &self.id()]);
        (output.status.code().unwrap(), said(&output))
    }

    /// Starts a container that waits, for `exec`.
    fn idle(&mut self) {
        write_idle(&self.program("idle"));
        self.config["process"]["args"] = json!(["/idle"]);
        let output = self.call(&["run", "--detach", &self.id()]);
        assert!(output.status.success(), "{}", said(&output));
    }

    fn exec(&self, options: &[&str], command: &[&str]) -> (i32, String) {
        let id = self.id();
        let output = self.call(&[&["exec"], options, &[&id], command].concat());
        (output.status.code().unwrap(), said(&output))
    }

    fn delete(&self) {
        let output = self.call(&["delete", "--force", &self.id()]);
        assert!(output.status.success(), "{}", said(&output));
        self.nothing_is_left();
    }

    fn without_arguments(&mut self) {
        self.config["process"]["args"] = json!(["/app"]);
    }
}

/// The line of a status file.
fn line<'a>(status: &'a str, key: &str) -> &'a str {
    let found = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
    found.unwrap_or_else(|| panic!("{key} is missing in {status}"))
}

fn is_x86() -> bool {
    if !cfg!(target_arch = "x86_64") {
        skip("programs for x86");
    }
    cfg!(target_arch = "x86_64")
}

#[test]
fn ids_that_mean_something_else_are_refused() {
    if !is_root() || !is_x86() {
        return;
    }
    type Change = fn(&mut Value);
    let cases: [(&str, Change); 8] = [
        ("process.user.uid", |user| user["uid"] = json!(4_294_967_295_u32)),
        ("process.user.uid", |user| user["uid"] = json!(2_147_483_648_u32)),
        ("process.user.gid", |user| user["gid"] = json!(4_294_967_295_u32)),
        ("process.user.additionalGids", |user| user["additionalGids"] = json!([5, 4_294_967_295_u32])),
        ("process.user.uid", |user| user["uid"] = json!(-1)),
        ("process.user.gid", |user| user["gid"] = json!(4_294_967_296_u64)),
        ("process.user.additionalGids", |user| user["additionalGids"] = json!([-1])),
        ("process.user.uid", |user| user["uid"] = json!("0")),
    ];
    for (field, change) in cases {
        let mut bundle = Bundle::new();
        change(&mut bundle.config["process"]["user"]);
        let (status, said) = bundle.run();
        assert!(status == 1 && said.contains(field), "{field}: {said}");
        bundle.nothing_is_left();
    }
    let mut bundle = Bundle::new();
    write_cat(&bundle.program("status"), "/proc/self/status");
    bundle.idle();
    for user in
        ["4294967295", "33:4294967295", "2147483648", "-1", "33:-1", "", ":5", "5:", "4294967296", "www"]
    {
        let option = format!("--user={user}");
        let (status, said) = bundle.exec(&[&option], &["/status"]);
        assert!(status == 255 && said.contains("--user"), "{user}: {status} {said}");
    }
    for gid in ["4294967295", "-1", "x"] {
        let option = format!("--additional-gids={gid}");
        let (status, said) = bundle.exec(&[&option], &["/status"]);
        assert!(status != 0 && said.contains("additional-gids"), "{gid}: {status} {said}");
    }
    let process = json!({"cwd": "/", "args": ["/status"], "user": {"uid": 4_294_967_295_u32, "gid": 0}});
    std::fs::write(bundle.dir.path().join("process.json"), process.to_string()).unwrap();
    let (status, said) = bundle.exec(&["--process=process.json"], &[]);
    assert!(status == 255 && said.contains("process.user.uid"), "{said}");
    // The largest one that is taken.
    let (status, said) = bundle.exec(&["--user=2147483647:2147483646"], &["/status"]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(line(&said, "Uid"), ["2147483647"; 4].join("\t"));
    assert_eq!(line(&said, "Gid"), ["2147483646"; 4].join("\t"));
    bundle.delete();
}

#[test]
fn exec_adds_capabilities_without_making_them_inheritable() {
    if !is_root() || !is_x86() {
        return;
    }
    let mut bundle = Bundle::new();
    write_cat(&bundle.program("status"), "/proc/self/status");
    bundle.idle();
    let sets = |options: &[&str]| {
        let (status, said) = bundle.exec(options, &["/status"]);
        assert_eq!(status, 0, "{said}");
        ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
            .map(|set| u64::from_str_radix(line(&said, set), 16).unwrap())
    };
    // CAP_AUDIT_WRITE (29), CAP_KILL (5), CAP_NET_BIND_SERVICE (10) are the configuration's.
    let own = 1 << 29 | 1 << 5 | 1 << 10;
    assert_eq!(sets(&[]), [0, own, own, own, 0]);
    let more = own | 1 << 12;
    assert_eq!(sets(&["--cap=CAP_NET_ADMIN"]), [0, more, more, more, 0]);
    // Another user than root keeps what is ambient alone.
    assert_eq!(sets(&["--cap=CAP_NET_ADMIN", "--user=1000"]), [0, 0, 0, more, 0]);
    let (status, said) = bundle.exec(&["--cap=CAP_MAKE_TEA"], &["/status"]);
    assert!(status == 255 && said.contains("CAP_MAKE_TEA"), "{said}");
    bundle.delete();
}

#[test]
fn ambient_capabilities_are_in_force_for_any_user() {
    if !is_root() || !is_x86() {
        return;
    }
    let mut bundle = Bundle::new();
    write_cat(&bundle.program("app"), "/proc/self/status");
    bundle.without_arguments();
    bundle.config["process"]["user"]["uid"] = json!(1000);
    let (_, status) = bundle.run();
    assert_eq!(line(&status, "CapEff"), "0000000000000000");
    let kill = json!(["CAP_KILL"]);
    bundle.config["process"]["capabilities"]["inheritable"] = kill.clone();
    bundle.config["process"]["capabilities"]["ambient"] = kill;
    let (_, status) = bundle.run();
    assert_eq!((line(&status, "CapEff"), line(&status, "CapAmb")), ("0000000000000020", "0000000000000020"));
    bundle.config["process"]["capabilities"]["inheritable"] = json!([]);
    // Buildah asks for it like this. The kernel refuses to raise it.
    let (status, said) = bundle.run();
    assert!(
        status == 0 && said.contains("ambient: not permitted and inheritable, passed over: CAP_KILL"),
        "{said}"
    );
    assert_eq!(line(&said, "CapAmb"), "0000000000000000");
    bundle.nothing_is_left();
}

/// A filter that lets everything through but mkdir.
fn no_mkdir(architectures: &[&str]) -> Value {
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": architectures,
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": EPERM}],
    })
}

#[test]
fn no_other_door_leads_past_a_filter() {
    if !is_root() || !is_x86() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.without_arguments();
    let made = bundle.program("made");
    for (abi, number) in [(Abi::X86_64, 83), (Abi::I386, 39), (Abi::Int80, 39)] {
        write_call(&bundle.program("app"), abi, number, MKDIR, "/made");
        bundle.config["linux"]["seccomp"] = Value::Null;
        let (status, said) = bundle.run();
        if abi != Abi::X86_64 && !made.exists() {
            skip(&format!("this kernel runs no i386 programs ({status}: {said})"));
            continue;
        }
        assert!(status == 0 && made.exists(), "{abi:?}: {said}");
        std::fs::remove_dir(&made).unwrap();
        bundle.config["linux"]["seccomp"] = no_mkdir(&["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
        assert_eq!((bundle.run().0, made.exists()), (EPERM, false), "{abi:?}");
        // Calls of an architecture that is not listed kill.
        bundle.config["linux"]["seccomp"] = no_mkdir(&["SCMP_ARCH_X86_64"]);
        let expected = if abi == Abi::X86_64 { EPERM } else { KILLED };
        assert_eq!((bundle.run().0, made.exists()), (expected, false), "{abi:?}");
    }
    // x32's mkdir: the number of x86-64 with a bit set.
    write_call(&bundle.program("app"), Abi::X86_64, 0x4000_0000 | 83, MKDIR, "/made");
    assert_eq!((bundle.run().0, made.exists()), (KILLED, false));
    bundle.nothing_is_left();
}

#[test]
fn arguments_are_compared_as_the_kernel_reads_them() {
    if !is_root() || !is_x86() {
        return;
    }
    let mut bundle = Bundle::new();
    bundle.without_arguments();
    let family = |family: u64| {
        json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{
                "names": ["socket"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 13,
                "args": [{"index": 0, "value": family, "op": "SCMP_CMP_EQ"}],
            }],
        })
    };
    // socket(AF_UNIX, SOCK_STREAM, 0), with and without bits above an int.
    for argument in [1, 1 | 1 << 32, 1 | u64::MAX << 32] {
        write_call(&bundle.program("app"), Abi::X86_64, 41, [argument, 1, 0], "");
        bundle.config["linux"]["seccomp"] = family(2);
        let (status, said) = bundle.run();
        assert_eq!(status, 0, "the kernel takes {argument:#x}: {said}");
        bundle.config["linux"]["seccomp"] = family(1);
        assert_eq!(bundle.run().0, 13, "{argument:#x}");
    }
    bundle.nothing_is_left();
}

#[test]
fn a_filter_that_cannot_be_understood_is_refused_by_its_field() {
    if !is_root() {
        return;
    }
    for (expected, key, value) in [
        ("SCMP_ARCH_PDP11", "architectures", json!(["SCMP_ARCH_PDP11"])),
        ("SECCOMP_FILTER_FLAG_TEA", "flags", json!(["SECCOMP_FILTER_FLAG_TEA"])),
        ("errnoRet", "syscalls", json!([{"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1}])),
    ] {
        let mut bundle = Bundle::new();
        bundle.config["linux"]["seccomp"] = no_mkdir(&[]);
        bundle.config["linux"]["seccomp"][key] = value;
        let (status, said) = bundle.run();
        assert!(status == 1 && said.contains(expected), "{said}");
        bundle.nothing_is_left();
    }
}

#[test]
fn a_host_that_runs_the_test_programs_is_the_control() {
    if !is_x86() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("call");
    // getpid, then a call that no kernel has.
    for (number, expected) in [(39, 0), (511, 38)] {
        write_call(&program, Abi::X86_64, number, [0; 3], "");
        assert_eq!(Command::new(&program).status().unwrap().code(), Some(expected));
    }
    let file = dir.path().join("file");
    std::fs::write(&file, "what it holds").unwrap();
    write_cat(&program, file.to_str().unwrap());
    assert_eq!(Command::new(&program).output().unwrap().stdout, b"what it holds");
}
