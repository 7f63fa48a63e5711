//! From a bundle to a container.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sched::CloneFlags;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, bind, listen, socket};

use super::asked::Asked;
use super::converse::{LiveHooks, converse};
use super::lifecycle::Container;
use super::state::{Home, Record, Status, with_short_path};
use super::undo::{Groups, Undo, without_groups};
use crate::cgroup::{Group, Layout};
use crate::error::{Doing, Error, Remedy, Result};
use crate::namespace::{self, Kind};
use crate::oci::{Bundle, Linux};
use crate::process::ahead::Ahead;
use crate::process::channel::{Channel, Message};
use crate::process::clone::{Child, Side, clone3};
use crate::process::entry::{self, Entry, joins_user};
use crate::process::mapping::map_ids;
use crate::process::outside::{id_maps, open_sources, send_sources};
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

impl Container {
    /// Makes a container from a bundle. Whatever fails, nothing of it is left on the host.
    ///
    /// The caller must have a single thread.
    ///
    /// # Errors
    /// Names the field or file, and the remedy where one is known.
    pub fn create(bundle: &Bundle, options: &Options<'_>) -> Result<Created> {
        let (asked, mut warnings) = Asked::of(bundle, options.console.is_some())?;
        // SAFETY: documented as this function's condition.
        let ahead = unsafe { Ahead::start(namespaces_made_ahead(&asked.linux, &asked.joins)) };
        let home = Home::claim(options.root, options.id)?;
        let mut undo = Undo::new(&home);
        let layout = Layout::detect()?;
        let default = PathBuf::from(options.id);
        let planned = Group::plan(&layout, asked.linux.cgroups_path.as_deref().unwrap_or(&default))?;
        let mut record = new_record(bundle, options, &planned);
        // Written before anything else is made, so that the rest can be removed from this record alone.
        home.write(&record)?;
        let wanted = planned.parts().len();
        let groups = undo.first_groups(layout, planned, &asked)?;
        let making =
            Making { bundle, options, asked: &asked, groups: &groups, home: &home, ahead: ahead.as_ref() };
        let (ours, child, proc) = making.first_process(&record)?;
        let pid = child.pid;
        undo.init = Some(child);
        if asked.in_user_namespace {
            making.let_in(&undo, &ours, &proc, pid)?;
        }
        let late = undo.make_group(groups.late.clone(), &asked)?;
        if undo.group.parts().len() < wanted {
            warnings.push(without_groups(&undo.group));
        }
        if !undo.group.parts().is_empty() {
            undo.group.apply_device_filter(&asked.resources)?;
        }
        // It may have failed already; its reason is read below.
        let _ = ours.send_files(&late.ticket(&asked.resources)?.files());
        record.pid = pid;
        record.pid_start = pidfd::start_time(pid).unwrap_or(0);
        // Some that were planned may not have been allowed.
        record.cgroups = undo.group.directories();
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
    /// The step before the first process, for one that is cloned into these namespaces.
    fn entry(&self, flags: CloneFlags) -> Entry<'_> {
        let Self { asked, groups, .. } = *self;
        Entry {
            joins: &asked.joins,
            ticket: &groups.ticket,
            process: asked.process,
            linux: &asked.linux,
            flags,
        }
    }

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
        let entry = self.entry(flags);
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
    // Only a clone makes a PID namespace for the process itself, and a user namespace must own the others. An IPC namespace waits until
    // ids are mapped: the root of its message queues belongs to the user who makes it, who is nobody before.
    let in_user_namespace = linux.makes(Kind::User) || joins_user(joins);
    let at_once =
        if in_user_namespace { all - CloneFlags::CLONE_NEWIPC } else { all & CloneFlags::CLONE_NEWPID };
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
