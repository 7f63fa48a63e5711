//! The first process of a container: it builds the container around itself and becomes the application.

use std::convert::Infallible;
use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::{Gid, Uid, setresgid, setresuid, setsid};

use super::ahead::Ahead;
use super::channel::{Channel, Message};
use super::credentials::CapabilitySets;
use super::entry::set_oom_score;
use super::finish::{DEFAULT_PATH, Finish, reset_signals};
use super::hooks::{self, Inside};
use super::keyring;
use super::label::Labels;
use super::outside::{is_waited_for, receive_sources};
use super::scheduling;
use super::seccomp::Filter;
use super::terminal::{Console, Terminal};
use crate::cgroup::{Group, Layout, Ticket};
use crate::error::{Doing, Error, Remedy, Result};
use crate::namespace::{self, Kind};
use crate::oci::{Hook, Hooks, Mount, Process, Spec};
use crate::rootfs::mounts::{self, Mounts};
use crate::rootfs::null::{self, Null};
use crate::rootfs::proc::Proc;
use crate::rootfs::resolve::Root;
use crate::rootfs::sources::{IdMaps, Sources, is_bind};
use crate::rootfs::surroundings::{CgroupNamespace, Surroundings};
use crate::rootfs::{devices, hide, switch, sysctl};

/// When the application may start.
#[derive(Debug)]
pub enum Gate {
    /// As soon as the runtime has noted the container: `run`.
    Open,
    /// When somebody connects to this listening socket: `create`, then `start`.
    Listening(OwnedFd),
}

/// All that the first process needs, read, checked and opened by the runtime before it was cloned.
#[derive(Debug)]
pub struct Init<'a> {
    /// The container's id.
    pub id: &'a str,
    /// Its configuration.
    pub spec: &'a Spec,
    /// Its application.
    pub process: &'a Process,
    /// The bundle's directory.
    pub bundle: &'a Path,
    /// The root file system on the host.
    pub rootfs: &'a Path,
    /// The hierarchies of the host.
    pub layout: &'a Layout,
    /// Its control groups.
    pub group: &'a Group,
    /// How to join them, unless the runtime moves it in.
    pub ticket: Option<&'a Ticket>,
    /// Those of its groups that the runtime makes meanwhile, to be joined once they are there.
    pub late: &'a Group,
    /// Namespaces that it makes itself while the runtime makes these groups.
    pub unshare: CloneFlags,
    /// Namespaces that a helper makes meanwhile.
    pub ahead: Option<&'a Ahead>,
    /// Namespaces to join, in order.
    pub joins: Vec<&'a (File, Kind)>,
    /// Whether it begins in the container's user namespace, new or joined: then it waits until that is ready.
    pub in_user_namespace: bool,
    /// Where the terminal's master goes.
    pub console: Option<Console<'a>>,
    /// Capabilities of the application.
    pub capabilities: &'a CapabilitySets,
    /// System call filter of the application.
    pub filter: Option<&'a Filter>,
    /// Mappings of mounts that show other ids.
    pub id_maps: &'a IdMaps,
    /// Never pivot, for hosts that run from an initramfs.
    pub no_pivot: bool,
    /// The name of its session keyring; nothing if it keeps the caller's.
    pub keyring: Option<&'a str>,
    /// The state as hooks get it, without the PID that only the runtime knows.
    pub state: &'a serde_json::Value,
}

impl Init<'_> {
    /// Never returns: either the application runs, or the reason why not was sent.
    pub fn run(&self, channel: Channel, gate: Gate) -> ! {
        let failed = match self.prepare_and_execute(&channel, gate) {
            Err((error, heard_by)) => (error, heard_by),
            Ok(never) => match never {},
        };
        let (error, connection) = failed;
        let _ = connection.as_ref().unwrap_or(&channel).send(&Message::from(&error));
        // SAFETY: ends this process alone, without running the parent's exit handlers a second time.
        unsafe { libc::_exit(1) }
    }

    fn prepare_and_execute(
        &self,
        channel: &Channel,
        gate: Gate,
    ) -> Result<Infallible, (Error, Option<Channel>)> {
        let linux = self.spec.linux();
        let mut finish = Finish {
            process: self.process,
            linux: &linux,
            capabilities: self.capabilities,
            filter: self.filter,
            listener: None,
        };
        let told_runtime = |error| (error, None);
        // What the container has at this path later may be anything.
        let hooks = self.hooks();
        let has_hooks = !hooks.create_container.is_empty() || !hooks.start_container.is_empty();
        let null = if has_hooks { Some(null::open_device().map_err(told_runtime)?) } else { None };
        let (terminal, labels) = self.prepare(channel, null.as_ref()).map_err(told_runtime)?;
        let program = self.settle(&finish, terminal.as_ref()).map_err(told_runtime)?;
        // The runtime notes the container's state meanwhile; without that note nobody could ever delete it.
        channel.wait_go().map_err(told_runtime)?;
        let starter = match gate {
            Gate::Open => None,
            Gate::Listening(socket) => {
                channel.send(&Message::Ready).map_err(told_runtime)?;
                Some(accept(&socket).map_err(told_runtime)?)
            }
        };
        // The listener of a filter is sent to the process that waits for the start.
        finish.listener = Some(starter.as_ref().unwrap_or(channel));
        let started = || {
            self.run_hooks_inside("startContainer", &hooks.start_container, "created", null.as_ref())?;
            finish.execute(&program, &labels)
        };
        match started() {
            Ok(never) => match never {},
            Err(error) => Err((error, starter)),
        }
    }

    /// From a bare clone to a process in the container's namespaces and root.
    fn prepare(&self, channel: &Channel, null: Option<&File>) -> Result<(Option<Terminal>, Labels)> {
        reset_signals()?;
        // All of this is the host's still: an image cannot have put anything else in its place.
        let proc = Proc::host()?;
        let labels = Labels::open(self.process, &proc)?;
        if !self.in_user_namespace {
            // Before the change of user, which would take the file away.
            set_oom_score(self.process, &proc, "self")?;
        }
        if let Some(ticket) = self.ticket {
            ticket.join()?;
        }
        let linux = self.spec.linux();
        if self.in_user_namespace {
            channel.wait_go()?;
            become_mapped_root()?;
        }
        let sources = if sources_come(self.spec, self.in_user_namespace) {
            receive_sources(channel, &self.spec.mounts)?
        } else {
            Sources::new()
        };
        for (namespace, kind) in &self.joins {
            namespace::join(namespace, *kind)?;
        }
        namespace::make(self.unshare)?;
        if let Some(ahead) = self.ahead {
            ahead.join()?;
        }
        setsid().doing(|| "starting a session")?;
        if let Some(name) = self.keyring {
            keyring::make(name)?;
        }
        self.name()?;
        if linux.makes(Kind::Network) {
            namespace::loopback_up()?;
        }
        let terminal = if linux.makes(Kind::Mount) {
            self.build_root(channel, proc, sources, null)?
        } else {
            self.change_root(channel, &proc, null)?
        };
        Ok((terminal, labels))
    }

    /// Without a mount namespace of its own a container can only change its root directory.
    fn change_root(&self, channel: &Channel, proc: &Proc, null: Option<&File>) -> Result<Option<Terminal>> {
        self.join_groups(channel)?;
        self.run_create_hooks(channel, null)?;
        sysctl::apply(&self.spec.linux().sysctl, proc)?;
        let root = Root::open(self.rootfs)?;
        self.make_cwd(&root)?;
        switch::change_root(self.rootfs)?;
        if self.process.terminal { self.open_terminal(devices::ptmx(&root)?).map(Some) } else { Ok(None) }
    }

    /// The specification does not say who makes a missing working directory; all runtimes do.
    fn make_cwd(&self, root: &Root) -> Result<()> {
        root.ensure_dir(&self.process.cwd, 0o755)
            .map(drop)
            .map_err(|error| Error::new(format!("config.json: process.cwd: {error}")))
    }

    /// Waits until the runtime has made the remaining groups, and joins them.
    fn join_groups(&self, channel: &Channel) -> Result<()> {
        self.late.ticket_of(channel.receive_files()?)?.join()?;
        scheduling::run_anywhere()?;
        if self.spec.linux().makes(Kind::Cgroup) {
            // Now, not at the clone: the root of a cgroup namespace is the group of the process that makes it.
            nix::sched::unshare(CloneFlags::CLONE_NEWCGROUP).doing(|| "making a cgroup namespace")?;
        }
        Ok(())
    }

    fn name(&self) -> Result<()> {
        if let Some(name) = &self.spec.hostname {
            nix::unistd::sethostname(name).doing(|| format!("config.json: hostname: setting '{name}'"))?;
        }
        if let Some(name) = &self.spec.domainname {
            rustix::system::setdomainname(name.as_bytes())
                .doing(|| format!("config.json: domainname: setting '{name}'"))?;
        }
        Ok(())
    }

    fn build_root(
        &self,
        channel: &Channel,
        host: Proc,
        sources: Sources,
        output: Option<&File>,
    ) -> Result<Option<Terminal>> {
        let linux = self.spec.linux();
        let null = if linux.masked_paths.is_empty() { None } else { Some(Null::open()?) };
        let propagation = linux.rootfs_propagation.as_deref();
        let root = switch::prepare(self.rootfs, propagation)?;
        let around = Surroundings {
            bundle: self.bundle,
            group: self.group,
            layout: self.layout,
            cgroup_namespace: self.cgroup_namespace(),
            id_maps: self.id_maps,
            label: linux.mount_label.as_deref().filter(|label| !label.is_empty()),
        };
        let mut mounts = Mounts::new(&root, &around, sources);
        self.fill_root(channel, &root, &mut mounts)?;
        let terminal =
            if self.process.terminal { Some(self.open_terminal(devices::ptmx(&root)?)?) } else { None };
        if let Some(terminal) = &terminal {
            devices::console(&root, &mounts, &terminal.slave)?;
        }
        self.make_cwd(&root)?;
        self.run_create_hooks(channel, output)?;
        mounts.finish()?;
        // In some containers the host's procfs has parts that something is mounted over.
        sysctl::apply(&linux.sysctl, mounts.proc().unwrap_or(&host))?;
        hide::read_only(&root, &linux.readonly_paths)?;
        if let Some(null) = &null {
            hide::mask(&root, &linux.masked_paths, null)?;
        }
        if self.spec.root.as_ref().is_some_and(|root| root.readonly) {
            hide::read_only_root(&root)?;
        }
        // A descriptor of the host's tree must not be left for others in the container to find.
        drop((mounts, null, host));
        if self.no_pivot {
            switch::move_root(&root)?;
        } else {
            switch::pivot_to(&root)?;
        }
        drop(root);
        switch::set_root_propagation(propagation)?;
        Ok(terminal)
    }

    fn cgroup_namespace(&self) -> CgroupNamespace {
        let linux = self.spec.linux();
        match linux.namespace(Kind::Cgroup) {
            None => CgroupNamespace::Host,
            Some(_) if linux.makes(Kind::Cgroup) && !self.in_user_namespace => CgroupNamespace::New,
            Some(_) => CgroupNamespace::Other,
        }
    }

    /// Makes mounts and device nodes, in an order in which nobody waits for the groups without need.
    fn fill_root(&self, channel: &Channel, root: &Root, mounts: &mut Mounts<'_>) -> Result<()> {
        let all = &self.spec.mounts;
        // A mount of a cgroup file system shows the groups that its maker is in.
        let before = all.iter().position(mounts::is_cgroup).unwrap_or(all.len());
        let (first, rest) = all.split_at(before);
        first.iter().enumerate().try_for_each(|(number, mount)| mounts.make(number, mount))?;
        let is_elsewhere = |mount: &Mount| mounts::is_cgroup(mount) && mount.destination.starts_with("/sys");
        let nodes_first = rest.iter().all(is_elsewhere);
        if nodes_first {
            self.make_devices(root, mounts)?;
        }
        self.join_groups(channel)?;
        rest.iter().enumerate().try_for_each(|(number, mount)| mounts.make(before + number, mount))?;
        if nodes_first { Ok(()) } else { self.make_devices(root, mounts) }
    }

    fn make_devices(&self, root: &Root, mounts: &Mounts<'_>) -> Result<()> {
        // Modes of nodes and directories are those asked for, whatever the caller's mask.
        let mask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
        let made = devices::make(root, mounts, &self.spec.linux().devices);
        nix::sys::stat::umask(mask);
        made
    }

    /// Hooks in the runtime namespace are run by the parent first, which also moves network devices; then those in the container's.
    fn run_create_hooks(&self, channel: &Channel, null: Option<&File>) -> Result<()> {
        let hooks = self.hooks();
        if is_waited_for(self.spec) {
            channel.send(&Message::Hooks)?;
            channel.wait_go()?;
        }
        if hooks.create_container.is_empty() {
            return Ok(());
        }
        // They begin in the container's root, as under runc.
        nix::unistd::chdir(self.rootfs).doing(|| "entering the container's root")?;
        self.run_hooks_inside("createContainer", &hooks.create_container, "creating", null)
    }

    /// Runs hooks of the container's namespaces, which know its first process by another PID than the runtime.
    fn run_hooks_inside(&self, point: &str, hooks: &[Hook], status: &str, null: Option<&File>) -> Result<()> {
        let Some(null) = null.filter(|_| !hooks.is_empty()) else { return Ok(()) };
        let mut state = self.state.clone();
        state["pid"] = std::process::id().into();
        state["status"] = status.into();
        let path = self.process.env.iter().rev().find_map(|entry| entry.strip_prefix("PATH="));
        let inside = Inside { path: path.unwrap_or(DEFAULT_PATH), null };
        hooks::run_inside(point, hooks, &state.to_string(), &inside)
    }

    fn hooks(&self) -> std::borrow::Cow<'_, Hooks> {
        self.spec.hooks.as_ref().map_or_else(Default::default, std::borrow::Cow::Borrowed)
    }

    fn open_terminal(&self, master: OwnedFd) -> Result<Terminal> {
        Terminal::open_for(self.process.user.uid, self.console, master)
    }

    fn settle(&self, finish: &Finish<'_>, terminal: Option<&Terminal>) -> Result<std::path::PathBuf> {
        if let Some(terminal) = terminal {
            terminal.take_over(self.process.console_size)?;
        }
        finish.enter_cwd()?;
        finish.find_program()
    }
}

/// In a fresh user namespace nobody is root until ids are mapped, and even then one must say so.
pub(super) fn become_mapped_root() -> Result<()> {
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    let doing = || "becoming root of the user namespace";
    setresgid(gid, gid, gid).doing(doing).or_advise(|| "map group 0 in linux.gidMappings")?;
    setresuid(uid, uid, uid).doing(doing).or_advise(|| "map user 0 in linux.uidMappings")
}

fn accept(socket: &OwnedFd) -> Result<Channel> {
    loop {
        match nix::sys::socket::accept4(socket.as_raw_fd(), nix::sys::socket::SockFlag::SOCK_CLOEXEC) {
            Err(Errno::EINTR) => {}
            accepted => {
                let fd = accepted.doing(|| "waiting for start")?;
                // SAFETY: the kernel just returned this descriptor, and nobody else owns it.
                return Ok(Channel::from_socket(unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
    }
}

/// Whether the runtime opens the sources of bind mounts, because the first process may not be able to.
pub fn sources_come(spec: &Spec, in_user_namespace: bool) -> bool {
    in_user_namespace && spec.linux().makes(Kind::Mount) && spec.mounts.iter().any(is_bind)
}
