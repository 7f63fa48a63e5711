//! From a bundle to a container.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sched::CloneFlags;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, bind, listen, socket};

use super::asked::Asked;
use super::converse::{LiveHooks, converse};
use super::lifecycle::{Container, DYING, run_poststop};
use super::state::{Home, Record, Status, with_short_path};
use crate::cgroup::{Group, Layout, Ticket};
use crate::error::{Doing, Error, Remedy, Result};
use crate::namespace::{self, Kind};
use crate::oci::{Bundle, Linux, Resources};
use crate::process::ahead::Ahead;
use crate::process::channel::{Channel, Message};
use crate::process::clone::{Child, Side, clone3};
use crate::process::entry::{self, Entry, joins_user};
use crate::process::outside::{id_maps, map_ids, open_sources, send_sources};
use crate::process::signal::Signal;
use crate::process::terminal::Console;
use crate::process::{Gate, Init, pidfd, protect, sources_come};
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
    /// Makes those groups that the first process needs at once. It needs the others only later: they are made while it works, on another
    /// CPU.
    fn first_groups(&mut self, layout: Layout, planned: Group, asked: &Asked<'_>) -> Result<Groups> {
        planned.refuse_missing_controllers(&asked.resources)?;
        let (first, late) = if meanwhile(&asked.linux) {
            planned.split(&asked.resources)
        } else {
            (planned, Group::default())
        };
        let first = self.make_group(first, &asked.resources)?;
        let ticket = first.ticket(&asked.resources)?;
        let mut shown = first;
        shown.extend(&late);
        Ok(Groups { layout, shown, late, ticket })
    }

    /// All steps have succeeded: nothing is undone.
    fn keep(mut self) -> (Group, Child) {
        self.armed = false;
        let init = self.init.take().expect("a container that was made has a first process");
        (std::mem::take(&mut self.group), init)
    }

    /// Makes a planned group and writes its limits.
    fn make_group(&mut self, planned: Group, resources: &Resources) -> Result<Group> {
        let made = make_group(planned, resources)?;
        self.group.extend(&made);
        // A process that joins a frozen group stops until the group is thawed.
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
        let (asked, warnings) = Asked::of(bundle, options.console.is_some())?;
        // SAFETY: documented as this function's condition.
        let ahead = unsafe { Ahead::start(namespaces_made_ahead(&asked.linux, &asked.joins)) };
        let home = Home::claim(options.root, options.id)?;
        let mut undo = Undo { home: &home, group: Group::default(), init: None, made: None, armed: true };
        let layout = Layout::detect()?;
        let default = PathBuf::from(options.id);
        let planned = Group::plan(&layout, asked.linux.cgroups_path.as_deref().unwrap_or(&default))?;
        let mut record = new_record(bundle, options, &planned);
        // Written before anything else is made, so that the rest can be removed from this record alone.
        home.write(&record)?;
        let groups = undo.first_groups(layout, planned, &asked)?;
        let making =
            Making { bundle, options, asked: &asked, groups: &groups, home: &home, ahead: ahead.as_ref() };
        let (ours, child, proc) = making.first_process(&record)?;
        let pid = child.pid;
        undo.init = Some(child);
        if asked.in_user_namespace {
            making.let_in(&undo, &ours, &proc, pid)?;
        }
        let late = undo.make_group(groups.late.clone(), &asked.resources)?;
        if !undo.group.parts().is_empty() {
            undo.group.apply_device_filter(&asked.resources)?;
        }
        // It may have failed already; its reason is read below.
        let _ = ours.send_files(&late.ticket(&asked.resources)?.files());
        record.pid = pid;
        record.pid_start = pidfd::start_time(pid).unwrap_or(0);
        home.write(&record)?;
        if asked.spec.hooks.is_some() {
            undo.made = Some(record.clone());
        }
        protect::let_go();
        converse(&ours, &LiveHooks { spec: asked.spec, record: &record }, options.start)?;
        let (group, init) = undo.keep();
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

/// The groups of a container while it is made.
struct Groups {
    layout: Layout,
    /// All of them, those that are still to be made too.
    shown: Group,
    /// Made while the first process works.
    late: Group,
    /// By which the first process joins those that are made.
    ticket: Ticket,
}

/// What the steps have in common.
struct Making<'a> {
    bundle: &'a Bundle,
    options: &'a Options<'a>,
    asked: &'a Asked<'a>,
    groups: &'a Groups,
    home: &'a Home,
    /// Namespaces that were made before the rest was known.
    ahead: Option<&'a Ahead>,
}

impl Making<'_> {
    /// Clones the first process, which goes on in [`Init::run`].
    ///
    /// The caller must have a single thread, as that of [`Container::create`] has.
    fn first_process(&self, record: &Record) -> Result<(Channel, Child, Proc)> {
        let Self { bundle, options, asked, groups, home, ahead } = *self;
        let gate = if options.start { Gate::Open } else { Gate::Listening(listen_for_start(home)?) };
        let (ours, theirs) = Channel::pair()?;
        let state = state_for_hooks(asked, record)?;
        let proc = Proc::host()?;
        let id_maps =
            if asked.in_user_namespace { IdMaps::new() } else { id_maps(&proc, &asked.spec.mounts, None)? };
        let (flags, unshare) = prepare_namespaces(&asked.linux, &asked.joins, &proc)?;
        let unshare = unshare - ahead.map_or(CloneFlags::empty(), Ahead::made);
        let entry = Entry { joins: &asked.joins, ticket: &groups.ticket, process: asked.process, flags };
        let mut init = Init {
            id: options.id,
            spec: asked.spec,
            process: asked.process,
            bundle: &bundle.dir,
            rootfs: &bundle.rootfs,
            layout: &groups.layout,
            group: &groups.shown,
            late: &groups.late,
            unshare,
            ahead,
            ticket: (!asked.in_user_namespace).then_some(&groups.ticket),
            joins: asked.joins.iter().collect(),
            in_user_namespace: asked.in_user_namespace,
            console: options.console,
            capabilities: &asked.capabilities,
            filter: asked.filter.as_ref(),
            id_maps: &id_maps,
            no_pivot: options.no_pivot,
            keyring: record.keyring.as_deref(),
            state: &state,
        };
        let first = if asked.in_two_steps { CloneFlags::empty() } else { flags };
        // SAFETY: documented as this function's condition.
        let child = match unsafe { clone3(first, groups.ticket.cgroup()) }
            .doing(|| namespace::making(first))
            .or_advise(|| namespace::MAKING_NEEDS)?
        {
            Side::Child => {
                protect::let_go();
                home.release();
                drop(ours);
                if asked.in_two_steps {
                    init.joins = entry.pass(&theirs);
                }
                init.run(theirs, gate)
            }
            Side::Parent(child) => child,
        };
        drop((theirs, gate));
        if let Some(ahead) = ahead {
            ahead.leave();
        }
        let child = if asked.in_two_steps { entry::receive(&ours, &child)? } else { child };
        Ok((ours, child, proc))
    }

    /// Does for a first process in another user namespace what it has no rights to do itself.
    fn let_in(&self, undo: &Undo<'_>, ours: &Channel, proc: &Proc, pid: i32) -> Result<()> {
        let Self { bundle, asked, groups, .. } = *self;
        if !asked.in_two_steps {
            // It cannot join by itself once it is in a user namespace of its own.
            if !groups.ticket.is_empty() {
                undo.group.attach(pid)?;
            }
            entry::set_oom_score(asked.process, proc, &pid.to_string())?;
        }
        if asked.in_new_user_namespace {
            map_ids(proc, pid, "linux", &asked.linux.uid_mappings, &asked.linux.gid_mappings)?;
        }
        ours.send(&Message::Go)?;
        if sources_come(asked.spec, asked.in_user_namespace) {
            let maps = id_maps(proc, &asked.spec.mounts, Some(pid))?;
            let process = undo.init.as_ref().ok_or_else(|| Error::new("there is no first process"))?;
            send_sources(ours, &open_sources(process, &asked.spec.mounts, &bundle.dir, &maps)?)?;
        }
        Ok(())
    }
}

/// The state that hooks read. Without any it is not formed: to name the owner takes a look into the users' database.
fn state_for_hooks(asked: &Asked<'_>, record: &Record) -> Result<serde_json::Value> {
    match &asked.spec.hooks {
        Some(_) => serde_json::to_value(record.show(Status::Creating))
            .map_err(|error| Error::new(format!("writing JSON: {error}"))),
        None => Ok(serde_json::Value::Null),
    }
}

/// What is known of a container before its first process.
fn new_record(bundle: &Bundle, options: &Options<'_>, planned: &Group) -> Record {
    let now = SystemTime::now();
    // Another container of the same id, in another state directory, must not find it.
    let moment = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let keyring = || format!("_ses.{}.{moment:x}.{}", options.id, std::process::id());
    Record {
        id: options.id.into(),
        pid: 0,
        pid_start: 0,
        bundle: bundle.dir.clone(),
        rootfs: bundle.rootfs.clone(),
        created: humantime::format_rfc3339_nanos(now).to_string(),
        owner: nix::unistd::geteuid().as_raw(),
        cgroups: planned.directories(),
        spec: bundle.spec.clone(),
        keyring: (!options.no_new_keyring).then(keyring),
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

fn listen_for_start(home: &Home) -> Result<OwnedFd> {
    let doing = || "making the start socket";
    let socket =
        socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).doing(doing)?;
    with_short_path(home, |address| bind(socket.as_raw_fd(), address)).doing(doing)?;
    listen(&socket, Backlog::new(1).expect("one is allowed")).doing(doing)?;
    Ok(socket)
}
