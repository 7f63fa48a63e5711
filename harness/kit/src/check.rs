//! What a check is.

use record::Scope;

use crate::engine::EngineFixture;
use crate::fault::Fault;
use crate::kernel::KernelFixture;
use crate::need::Need;
use crate::runtime::RuntimeFixture;
pub use crate::trouble::{Checked, Trouble};

/// The body of a check.
#[derive(Debug, Clone, Copy)]
pub enum Body {
    /// Observed with the core's building blocks, in a process with namespaces of its own.
    Kernel(fn(&mut KernelFixture) -> Checked),
    /// Observed from inside and outside the containers of a subject.
    Runtime(fn(&mut RuntimeFixture) -> Checked),
    /// Observed by the commands of an engine, and from inside and outside its containers.
    Engine(fn(&mut EngineFixture) -> Checked),
}

/// One check of the catalogue. It is made by [`Check::of_runtime`], [`Check::of_engine`] or [`Check::of_kernel`].
///
/// ```
/// use kit::check::{Check, Checked};
/// use kit::fault;
/// use kit::need::Need;
/// use kit::runtime::RuntimeFixture;
/// use kit::verbs::tasks;
///
/// fn counts_threads(runtime: &mut RuntimeFixture) -> Checked {
///     let mut container = runtime.container().pids(16).start()?;
///     let made = container.ask(tasks::threads_until_refused(64))?;
///     runtime.seen.expect_eq("error of the thread that was refused", &made.errno, &libc::EAGAIN);
///     container.close().map(drop)
/// }
///
/// const CHECK: Check = Check::of_runtime(
///     "pids.max.counts-threads",
///     "threads count as processes do",
///     "Documentation/admin-guide/cgroup-v2.rst, PID",
///     counts_threads,
/// )
/// .needs(&[Need::Controller("pids")])
/// .faults(&[fault::PIDS_LIMIT_NOT_WRITTEN]);
///
/// assert!(CHECK.all_needs().any(|need| need == Need::Groups), "every check of a runtime needs groups");
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Check {
    /// Stable and public: reports, filters and history use it.
    pub id: &'static str,
    /// What it looks at.
    pub scope: Scope,
    /// The sentence that it proves.
    pub claim: &'static str,
    /// The kernel document, man page or section of the OCI specification that says so.
    pub source: &'static str,
    /// What must hold for every check of its scope.
    usual: &'static [Need],
    /// What must hold beside that.
    special: &'static [Need],
    /// Ways to break what it looks at; under each it must fail.
    pub faults: &'static [Fault],
    /// Where its tolerance comes from; empty if it has none.
    pub tolerance: &'static str,
    /// Whether it measures time, and so must run alone.
    pub timing: bool,
    /// What it does.
    pub body: Body,
}

impl Check {
    /// A check of a runtime's containers. Like every check it needs root, and control groups for the containers.
    pub const fn of_runtime(
        id: &'static str,
        claim: &'static str,
        source: &'static str,
        body: fn(&mut RuntimeFixture) -> Checked,
    ) -> Self {
        let usual = &[Need::Root, Need::Groups];
        Self { usual, ..Self::new(id, Scope::Runtime, claim, source, Body::Runtime(body)) }
    }

    /// A check of an engine. It needs overlay mounts and control groups.
    pub const fn of_engine(
        id: &'static str,
        claim: &'static str,
        source: &'static str,
        body: fn(&mut EngineFixture) -> Checked,
    ) -> Self {
        let usual = &[Need::Root, Need::Groups, Need::Filesystem("overlay")];
        Self { usual, ..Self::new(id, Scope::Engine, claim, source, Body::Engine(body)) }
    }

    /// A check of the kernel alone.
    pub const fn of_kernel(
        id: &'static str,
        claim: &'static str,
        source: &'static str,
        body: fn(&mut KernelFixture) -> Checked,
    ) -> Self {
        Self::new(id, Scope::Kernel, claim, source, Body::Kernel(body))
    }

    const fn new(
        id: &'static str,
        scope: Scope,
        claim: &'static str,
        source: &'static str,
        body: Body,
    ) -> Self {
        let usual = &[Need::Root];
        Self {
            id,
            scope,
            claim,
            source,
            usual,
            special: &[],
            faults: &[],
            tolerance: "",
            timing: false,
            body,
        }
    }

    /// What must hold to try it, beside what every check of its scope needs.
    #[must_use]
    pub const fn needs(mut self, needs: &'static [Need]) -> Self {
        self.special = needs;
        self
    }

    /// All that must hold to try it.
    pub fn all_needs(&self) -> impl Iterator<Item = Need> {
        self.usual.iter().chain(self.special).copied()
    }

    /// Ways to break what it looks at.
    #[must_use]
    pub const fn faults(mut self, faults: &'static [Fault]) -> Self {
        self.faults = faults;
        self
    }

    /// It measures time, with a tolerance that comes from there.
    #[must_use]
    pub const fn timing(mut self, tolerance: &'static str) -> Self {
        self.timing = true;
        self.tolerance = tolerance;
        self
    }
}
