//! From a bundle to a container.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::sched::CloneFlags;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, bind, listen, socket};

use super::lifecycle::{Container, DYING, run_poststop};
use super::listener;
use super::state::{Home, Record, Status, to_json, with_short_path};
use crate::cgroup::{Group, Layout, Ticket};
use crate::error::{Doing, Error, Remedy, Result};
use crate::namespace::{self, Kind};
use crate::oci::{Bundle, Linux, Process, Resources, Spec, sysctl};
use crate::process::ahead::Ahead;
use crate::process::channel::{Channel, Message};
use crate::process::clone::{Child, Side, clone3};
use crate::process::credentials::{self, CapabilitySets};
use crate::process::entry::{self, Entry, joins_user};
use crate::process::interrupt::Interrupt;
use crate::process::outside::{id_maps, map_ids, open_sources, send_sources};
use crate::process::seccomp::Filter;
use crate::process::signal::Signal;
use crate::process::terminal::Console;
use crate::process::{Gate, Init, hooks, pidfd, protect};
use crate::rootfs::devices;
use crate::rootfs::proc::Proc;
use crate::rootfs::sources::IdMaps;

/// How a container is to be made, beside its bundle.
#[derive(Debug)]
pub struct Options<'a> {
    /// Directory of all states.
    pub root: &'a Path,
    /// Its id.
    pub id: &'a str,
    /// Where the terminal's master goes.
    pub console: Option<Console<'a>>,
    /// Never pivot.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Start the application at once, instead of waiting for `start`.
    pub start: bool,
}

/// A container just made, and its first process.
#[derive(Debug)]
pub struct Created {
    /// The container.
    pub container: Container,
    /// Its first process, a child of the caller.
    pub init: Child,
    /// What was passed over.
    pub warnings: Vec<String>,
}

/// What must be undone if the next step fails; forgotten once all have succeeded.
struct Undo<'a> {
    home: &'a Home,
    group: Group,
    init: Option<Child>,
    /// Once the environment of the container was made: hooks that follow its end run whatever went wrong.
    made: Option<Record>,
    armed: bool,
}

impl Undo<'_> {
    /// Makes a planned group and writes its limits.
    fn make_group(&mut self, planned: Group, resources: &Resources) -> Result<Group> {
        let made = make_group(planned, resources)?;
        self.group.extend(&made);
        // Whoever joins a frozen group stops until somebody else thaws it.
        if made.is_frozen() {
            return Err(Error::new("config.json: linux.cgroupsPath: the group is frozen")
                .remedy("thaw it, or the group above it that is frozen, or choose another one"));
        }
        made.write_limits(resources)?;
        Ok(made)
    }
}

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        if let Some(init) = &self.init {
            let _ = pidfd::signal(init.pidfd.as_fd(), Signal::KILL);
            let _ = pidfd::wait_exit(init.pidfd.as_fd(), DYING);
            let _ = pidfd::reap(&init.pidfd);
        }
        let _ = self.group.kill();
        let _ = self.group.remove();
        let _ = self.home.remove();
        if let Some(record) = &self.made {
            let _ = run_poststop(record, &mut |_| {});
        }
    }
}

impl Container {
    /// Makes a container from a bundle. Whatever fails, nothing of it is left on the host.
    ///
    /// The caller must have a single thread.
    ///
    /// # Errors
    /// Names the field or file, and the remedy where one is known.
    pub fn create(bundle: &Bundle, options: &Options<'_>) -> Result<Created> {
        let spec = &bundle.spec;
        let linux = spec.linux();
        // All that can be wrong in the configuration is found before anything is made.
        let process = spec.process.as_ref().ok_or_else(|| {
            Error::new("config.json: process is missing").remedy("without it there is nothing to start")
        })?;
        let (capabilities, warnings) = CapabilitySets::parse(process.capabilities.as_ref())?;
        let filter = linux.seccomp.as_ref().map(Filter::compile).transpose()?;
        process.rlimits.iter().try_for_each(|limit| credentials::resource(&limit.kind).map(drop))?;
        check_console(process, options)?;
        let joins = open_joined_namespaces(spec, &linux)?;

        // SAFETY: documented as this function's condition.
        let ahead = unsafe { Ahead::start(namespaces_made_ahead(&linux, &joins)) };

        let home = Home::claim(options.root, options.id)?;
        let mut undo = Undo { home: &home, group: Group::default(), init: None, made: None, armed: true };
        let layout = Layout::detect()?;
        let default = PathBuf::from(options.id);
        let path = linux.cgroups_path.as_deref().unwrap_or(&default);
        let mut resources = linux.resources.clone().unwrap_or_default().without_zeros();
        if !resources.devices.is_empty() {
            resources.devices.extend(devices::default_rules());
        }
        let planned = Group::plan(&layout, path)?;
        let mut record = Record {
            id: options.id.into(),
            pid: 0,
            pid_start: 0,
            bundle: bundle.dir.clone(),
            rootfs: bundle.rootfs.clone(),
            created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
            owner: nix::unistd::geteuid().as_raw(),
            cgroups: planned.directories(),
            spec: spec.clone(),
        };
        // Written down before anything else is made: whoever finds only this can remove the rest.
        home.write(&record)?;
        planned.refuse_missing_controllers(&resources)?;
        // The first process needs some of its groups only later. They are made while it works, on another CPU.
        let (first, late) =
            if meanwhile(&linux) { planned.split(&resources) } else { (planned, Group::default()) };
        let first = undo.make_group(first, &resources)?;
        let ticket = first.ticket(&resources)?;
        let mut shown = first;
        shown.extend(&late);
        let gate = if options.start { Gate::Open } else { Gate::Listening(listen_for_start(&home)?) };
        let (ours, theirs) = Channel::pair()?;
        // Only hooks read it, and to name the owner takes a look into the users' database.
        let state = match &spec.hooks {
            Some(_) => serde_json::to_value(record.show(Status::Creating))
                .map_err(|error| Error::new(format!("writing JSON: {error}")))?,
            None => serde_json::Value::Null,
        };
        let in_new_user_namespace = linux.makes(Kind::User);
        let in_user_namespace = in_new_user_namespace || joins_user(&joins);
        let in_two_steps = Entry::is_needed(&joins, in_new_user_namespace);
        let proc = Proc::host()?;
        let id_maps_of_init =
            if in_user_namespace { IdMaps::new() } else { id_maps(&proc, &spec.mounts, None)? };
        let (flags, unshare) = prepare_namespaces(&linux, &joins, &proc)?;
        let unshare = unshare - ahead.as_ref().map_or(CloneFlags::empty(), Ahead::made);
        let entry = Entry { joins: &joins, ticket: &ticket, process, flags };
        let mut init = Init {
            id: options.id,
            spec,
            process,
            bundle: &bundle.dir,
            rootfs: &bundle.rootfs,
            layout: &layout,
            group: &shown,
            late: &late,
            unshare,
            ahead: ahead.as_ref(),
            ticket: (!in_user_namespace).then_some(&ticket),
            joins: joins.iter().collect(),
            in_user_namespace,
            console: options.console,
            capabilities: &capabilities,
            filter: filter.as_ref(),
            id_maps: &id_maps_of_init,
            no_pivot: options.no_pivot,
            no_new_keyring: options.no_new_keyring,
            state: &state,
        };
        let first = if in_two_steps { CloneFlags::empty() } else { flags };
        // SAFETY: documented as this function's condition.
        let mut child = match unsafe { clone3(first, ticket.cgroup()) }
            .doing(|| namespace::making(first))
            .or_advise(|| namespace::MAKING_NEEDS)?
        {
            Side::Child => {
                protect::let_go();
                home.release();
                drop(ours);
                if in_two_steps {
                    init.joins = entry.pass(&theirs);
                }
                init.run(theirs, gate)
            }
            Side::Parent(child) => child,
        };
        drop((theirs, gate));
        if let Some(ahead) = &ahead {
            ahead.leave();
        }
        if in_two_steps {
            child = entry::receive(&ours, &child)?;
        }
        let pid = child.pid;
        undo.init = Some(child);
        if in_user_namespace {
            if !in_two_steps {
                attach(&undo.group, &ticket, pid)?;
                entry::set_oom_score(process, &proc, &pid.to_string())?;
            }
            if in_new_user_namespace {
                map_ids(&proc, pid, "linux", &linux.uid_mappings, &linux.gid_mappings)?;
            }
            ours.send(&Message::Go)?;
            if init.sources_come() {
                let maps = id_maps(&proc, &spec.mounts, Some(pid))?;
                let process = undo.init.as_ref().expect("it was set above");
                send_sources(&ours, &open_sources(process, &spec.mounts, &bundle.dir, &maps)?)?;
            }
        }
        let late = undo.make_group(late, &resources)?;
        if !undo.group.parts().is_empty() {
            undo.group.apply_device_filter(&resources)?;
        }
        // It may have failed already; its reason is read below.
        let _ = ours.send_files(&late.ticket(&resources)?.files());
        record.pid = pid;
        record.pid_start = pidfd::start_time(pid).unwrap_or(0);
        home.write(&record)?;
        if spec.hooks.is_some() {
            undo.made = Some(record.clone());
        }
        protect::let_go();
        let live = LiveHooks { bundle, record: &record };
        converse(&ours, &live, options.start)?;
        undo.armed = false;
        let group = std::mem::take(&mut undo.group);
        let init = undo.init.take().expect("it was set above");
        drop(undo);
        // The caller may watch it for days, while others pause, update or delete it.
        home.release();
        let container = Container { home, record, group };
        if options.start
            && let Err(error) = container.after_start()
        {
            // Nobody would know of it otherwise.
            if let Some(container) = container.hold_again() {
                container.delete(true)?;
            }
            return Err(error);
        }
        Ok(Created { container, init, warnings })
    }
}

struct LiveHooks<'a> {
    bundle: &'a Bundle,
    record: &'a Record,
}

impl LiveHooks<'_> {
    fn hand_on(&self, listener: Option<OwnedFd>) -> Result<()> {
        let listener = listener.ok_or_else(|| Error::new("linux.seccomp: no listener came"))?;
        let state = self.record.show(Status::Creating);
        let linux = self.bundle.spec.linux();
        listener::hand_on(linux.seccomp.as_ref(), &listener, self.record.pid, &state)
    }

    fn run(&self) -> Result<()> {
        let Some(wanted) = &self.bundle.spec.hooks else { return Ok(()) };
        let state = to_json(&self.record.show(Status::Creating))?;
        hooks::run("prestart", &wanted.prestart, &state)?;
        hooks::run("createRuntime", &wanted.create_runtime, &state)
    }
}

/// Talks to the first process until it is ready, or has become the application.
fn converse(channel: &Channel, hooks: &LiveHooks<'_>, start: bool) -> Result<()> {
    let expects_hooks = hooks
        .bundle
        .spec
        .hooks
        .as_ref()
        .is_some_and(|hooks| !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty());
    if !expects_hooks {
        // It may have failed already; then its reason is what is read next.
        let _ = channel.send(&Message::Go);
    }
    let interrupt = Interrupt::of_blocked()?;
    loop {
        interrupt.wait(channel.as_fd())?;
        let Some((message, file)) = channel.receive_with_file()? else {
            if start {
                return Ok(());
            }
            return Err(Error::new("the container's first process was killed before it was ready")
                .remedy("is linux.resources.memory.limit large enough for the runtime itself?"));
        };
        match message {
            Message::Hooks => {
                hooks.run()?;
                // One for the hooks, one for going on.
                channel.send(&Message::Go)?;
                channel.send(&Message::Go)?;
            }
            Message::Failed(kind, reason) => return Err(Error::new(reason).of_kind(kind)),
            Message::Ready => return Ok(()),
            Message::Listener => hooks.hand_on(file)?,
            Message::Go | Message::Process => {
                return Err(Error::new("the container's first process lost its way"));
            }
        }
    }
}

/// An ordinary user may have no group of his own; a container without limits runs all the same.
fn make_group(planned: Group, resources: &Resources) -> Result<Group> {
    let mut unlimited = resources.clone();
    // Device nodes cannot be made by an ordinary user anyway, so losing these rules loses nothing.
    unlimited.devices.clear();
    match planned.make() {
        Ok(()) => Ok(planned),
        Err(error)
            if unlimited == Resources::default()
                && !nix::unistd::geteuid().is_root()
                && matches!(error.errno(), Some(libc::EACCES | libc::EPERM | libc::EROFS)) =>
        {
            Ok(Group::default())
        }
        Err(error) => Err(error),
    }
}

fn check_console(process: &Process, options: &Options<'_>) -> Result<()> {
    match (process.terminal, options.console) {
        (true, None) => {
            Err(Error::new("config.json: process.terminal is set, but nobody would get the terminal")
                .remedy("name a socket with --console-socket, use run without --detach, or set it to false"))
        }
        (false, Some(_)) => Err(Error::new("--console-socket is given, but process.terminal is not set")),
        _ => Ok(()),
    }
}

fn open_joined_namespaces(spec: &Spec, linux: &Linux) -> Result<Vec<(File, Kind)>> {
    let mut joins = Vec::new();
    for kind in Kind::ALL {
        if let Some(path) = linux.namespace(kind).and_then(|namespace| namespace.path.as_ref()) {
            let file = namespace::open(path)
                .map_err(|error| Error::new(format!("config.json: linux.namespaces: {error}")))?;
            if let Some(field) = sets(spec, linux, kind)
                && is_own(&file, kind)?
            {
                let (path, kind) = (path.display(), kind.file());
                return Err(Error::new(format!(
                    "config.json: {field} would be set for the whole host: {path} is the runtime's own {kind} namespace"
                ))
                .remedy("make a namespace of its own, or drop the field"));
            }
            // The kernel refuses to join the user namespace that one is in.
            if kind == Kind::User && is_own(&file, kind)? {
                continue;
            }
            joins.push((file, kind));
        }
    }
    Ok(joins)
}

/// What the configuration sets for a whole namespace of this kind.
fn sets(spec: &Spec, linux: &Linux, kind: Kind) -> Option<String> {
    if kind == Kind::Uts {
        for (field, value) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
            if value.is_some() {
                return Some(field.into());
            }
        }
    }
    let name = linux.sysctl.keys().find(|name| sysctl::owner(name) == Some(kind))?;
    Some(format!("linux.sysctl: '{name}'"))
}

/// Whether a namespace is the one that the caller is in.
fn is_own(namespace: &File, kind: Kind) -> Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let meta = namespace.metadata().doing(|| "looking at a namespace")?;
    Ok(meta.ino() == namespace::id(std::process::id().cast_signed(), kind)?)
}

/// Whether the first process can work while its groups are made: one of another user namespace could not join them by itself,
/// and an ordinary user may have to do without.
fn meanwhile(linux: &Linux) -> bool {
    linux.namespace(Kind::User).is_none() && nix::unistd::geteuid().is_root()
}

/// Namespaces that can be made before anything else is known. One that a user namespace must own cannot.
fn namespaces_made_ahead(linux: &Linux, joins: &[(File, Kind)]) -> CloneFlags {
    if linux.makes(Kind::User) || joins_user(joins) || linux.makes(Kind::Time) {
        return CloneFlags::empty();
    }
    let made = Kind::ALL.into_iter().filter(|kind| linux.makes(*kind));
    Ahead::kinds(made.fold(CloneFlags::empty(), |all, kind| all | kind.flag()))
}

/// Does what must be done before the clone, and returns the flags for it, and those of the namespaces that the first process makes
/// itself. A network namespace takes longer than all the others together, and meanwhile there is other work to do.
fn prepare_namespaces(
    linux: &Linux,
    joins: &[(File, Kind)],
    proc: &Proc,
) -> Result<(CloneFlags, CloneFlags)> {
    // Both take in only those born after.
    for (file, kind) in joins.iter().filter(|(_, kind)| *kind == Kind::Pid) {
        namespace::join(file, *kind)?;
    }
    if linux.makes(Kind::Time) {
        // Offsets can be written only while nobody is inside, so the clone itself cannot make it.
        nix::sched::unshare(Kind::Time.flag()).doing(|| "making a time namespace")?;
        for (clock, offset) in &linux.time_offsets {
            let line = format!("{clock} {} {}", offset.secs, offset.nanosecs);
            proc.write_own("timens_offsets", &line)
                .doing(|| format!("config.json: linux.timeOffsets: writing '{line}'"))?;
        }
    }
    let all = Kind::ALL
        .into_iter()
        .filter(|kind| !matches!(kind, Kind::Time | Kind::Cgroup) && linux.makes(*kind))
        .fold(CloneFlags::empty(), |all, kind| all | kind.flag());
    // Only a clone makes a PID namespace for the process itself, and a user namespace must own the others.
    let in_user_namespace = linux.makes(Kind::User) || joins_user(joins);
    let at_once = if in_user_namespace { all } else { all & CloneFlags::CLONE_NEWPID };
    Ok((at_once, all - at_once))
}

/// The first process cannot join by itself once it is in a user namespace of its own.
fn attach(group: &Group, ticket: &Ticket, pid: i32) -> Result<()> {
    if ticket.is_empty() { Ok(()) } else { group.attach(pid) }
}

fn listen_for_start(home: &Home) -> Result<OwnedFd> {
    let doing = || "making the start socket";
    let socket =
        socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).doing(doing)?;
    with_short_path(home, |address| bind(socket.as_raw_fd(), address)).doing(doing)?;
    listen(&socket, Backlog::new(1).expect("one is allowed")).doing(doing)?;
    Ok(socket)
}
