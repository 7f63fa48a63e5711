//! A filter's action "notify": a process outside decides about a call.

use kit::verbs::bare::{self, Called, Way};
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg};
use runtime::oci::Seccomp;
use serde_json::{Value, json};

use super::seccomp_rules::{rule, with_profile};
use kit::check::{Check, Checked, Trouble};
use kit::fault::{self, in_fixture};
use kit::need::Need;
use kit::runtime::RuntimeFixture;

const CONNECTION_KEPT: &str = "the connection kept";
const DESCRIPTOR_KEPT: &str = "the agent's descriptor outlives the agent";

pub(crate) const CHECKS: &[Check] = &[Check::of_runtime(
    "sec.seccomp.notify",
    "a call with the action notify reaches the agent, which answers it; an agent that dies does not hang the caller",
    "seccomp_unotify(2); OCI config-linux.md, Seccomp, listenerPath; runc's tests/integration/seccomp-notify.bats; runc#4796",
    notify,
)
.needs(&[Need::Seccomp])
.faults(&[
    fault::config("no listener", |spec| spec.linux.get_or_insert_default().seccomp = None),
    in_fixture(DESCRIPTOR_KEPT),
    in_fixture(CONNECTION_KEPT),
])];

/// How long an answer may take in which nobody waits for anything.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a connection that nobody needs any more may stay open.
const CLOSED_WITHIN: Duration = Duration::from_millis(500);

fn notify(runtime: &mut RuntimeFixture) -> Checked {
    runtime.driver().needs_bundles("processes by the numbers that the host has for them")?;
    let socket = runtime.directory("agent")?.join("socket");
    let listener = UnixListener::bind(&socket)?;
    let keep = runtime.has(DESCRIPTOR_KEPT);
    let profile = Seccomp {
        default_action: "SCMP_ACT_ALLOW".into(),
        listener_path: Some(socket.clone()),
        listener_metadata: Some("plimsoll".into()),
        syscalls: vec![rule(&["mkdirat", "mkdir"], "SCMP_ACT_NOTIFY", None, &[])],
        ..Seccomp::default()
    };
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let accepted = listener.accept().map_err(Trouble::from);
        let taken = accepted.and_then(|(stream, _)| Ok((take_listener(&stream)?, stream)));
        let _ = sender.send(taken);
    });
    let mut container = runtime.container().with(with_profile(profile)).start()?;
    // Nothing else wakes the thread if the subject never connects.
    let connected = match receiver.recv_timeout(PATIENCE) {
        Ok(taken) => Some(taken?),
        Err(_) => {
            drop(UnixStream::connect(&socket)?);
            None
        }
    };
    runtime.seen.expect_eq("the agent got a descriptor", &connected.is_some(), &true);
    let Some(((agent, state), stream)) = connected else { return container.close().map(drop) };
    expect_closed(runtime, &stream)?;
    let told = &state["state"]["id"];
    runtime.seen.expect_json("id of the container that it was told", told, &json!(container.id));
    runtime.seen.expect_json("metadata that it was told", &state["metadata"], &json!("plimsoll"));
    runtime.seen.expect_json("process that it was told", &state["pid"], &json!(container.pid));
    let arguments = ["4294967196", "@/tmp/new", "448"];
    let question = bare::system_call(Way::Native, libc::SYS_mkdirat, &arguments);
    container.tell(&question)?;
    let number = answer_one(&agent, libc::EDOM)?;
    runtime.seen.expect_eq("the call that the agent was asked about", &i64::from(number), &libc::SYS_mkdirat);
    let seen = container.answer(&question)?;
    runtime.seen.expect_eq("what the caller got", &seen, &Called::Error(libc::EDOM));
    // And without an agent the call ends too.
    let kept = keep.then(|| agent.try_clone()).transpose()?;
    container.tell(&question)?;
    wait_for_question(&agent)?;
    drop(agent);
    let what = "what the caller got after the agent's end";
    match container.answer_within(&question, PATIENCE)? {
        Some(seen) => runtime.seen.expect_eq(what, &seen, &Called::Error(libc::ENOSYS)),
        None => {
            runtime.seen.expect(what, "nothing", Called::Error(libc::ENOSYS), false);
            drop(kept);
            container.answer(&question)?;
        }
    }
    container.close()?;
    Ok(())
}

/// Expects that the subject has closed its end of the connection, as the next read says; the container runs on.
fn expect_closed(runtime: &mut RuntimeFixture, stream: &UnixStream) -> Checked {
    let kept_open = runtime.has(CONNECTION_KEPT).then(UnixStream::pair).transpose()?;
    let mut end = kept_open.as_ref().map_or(stream, |(ours, _)| ours);
    end.set_read_timeout(Some(CLOSED_WITHIN))?;
    let closed = matches!(end.read(&mut [0]), Ok(0));
    runtime.seen.expect_eq("the connection to the agent is closed while the container runs", &closed, &true);
    Ok(())
}

/// The listener's descriptor and the state that come by the socket.
fn take_listener(stream: &UnixStream) -> Result<(OwnedFd, Value), Trouble> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = vec![0; 64 * 1024];
    let mut space = nix::cmsg_space!([i32; 4]);
    let mut taken = None;
    let length = {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message = recvmsg::<UnixAddr>(stream.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
        for part in message.cmsgs()? {
            if let ControlMessageOwned::ScmRights(fds) = part {
                for fd in fds {
                    // SAFETY: the kernel just made it for this process, and nobody else has it.
                    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                    taken.get_or_insert(fd);
                }
            }
        }
        message.bytes
    };
    let mut text = bytes[..length].to_vec();
    let mut rest = stream;
    // The state may come in pieces, and the sender need not close the connection behind it.
    let state = loop {
        match serde_json::from_slice(&text) {
            Ok(state) => break state,
            Err(error) if error.is_eof() => {
                let length = rest.read(&mut bytes)?;
                if length == 0 {
                    return Err(error.into());
                }
                text.extend(&bytes[..length]);
            }
            Err(error) => return Err(error.into()),
        }
    };
    let fd = taken.ok_or_else(|| Trouble::Subject("the agent's socket got no descriptor".into()))?;
    Ok((fd, state))
}

/// Waits until somebody is asked about.
fn wait_for_question(agent: &OwnedFd) -> Result<(), Trouble> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    if poll(&mut [PollFd::new(agent.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
        return Err(Trouble::Subject("the agent was asked about nothing".into()));
    }
    Ok(())
}

/// Requests of linux/seccomp.h: `_IOWR('!', 0, struct seccomp_notif)` and `_IOWR('!', 1, struct seccomp_notif_resp)`.
const RECEIVE: libc::c_ulong = 0xc050_2100;
const SEND: libc::c_ulong = 0xc018_2101;

/// Takes one question, answers it with an error, and returns the number of the call.
fn answer_one(agent: &OwnedFd, error: i32) -> Result<i32, Trouble> {
    wait_for_question(agent)?;
    // SAFETY: all zeroes is a valid value, which the kernel asks for.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the request writes one such structure through the pointer.
    let result = unsafe { libc::ioctl(agent.as_raw_fd(), RECEIVE as _, &raw mut asked) };
    Errno::result(result)?;
    let mut answer = libc::seccomp_notif_resp { id: asked.id, val: 0, error: -error, flags: 0 };
    // SAFETY: the request reads one such structure through the pointer.
    let result = unsafe { libc::ioctl(agent.as_raw_fd(), SEND as _, &raw mut answer) };
    Errno::result(result)?;
    Ok(asked.data.nr)
}
