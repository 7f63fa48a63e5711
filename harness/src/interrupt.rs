//! The end of a run by a signal: the first one ends the checks and lets the run clean up and write what is known, a
//! second one ends the program at once.

use std::io;
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicI32, AtomicI64, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};

const SIGNALS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

static CAUGHT: AtomicI32 = AtomicI32::new(0);
static TELL: AtomicI32 = AtomicI32::new(-1);
static FIRST: AtomicI64 = AtomicI64::new(i64::MAX / 4);

/// In ms.
const ONE_MOMENT: i64 = 500;

/// In ms; safe in a handler.
fn now() -> i64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| time.tv_sec() * 1_000 + time.tv_nsec() / 1_000_000)
}

/// The signal that ends this run, if one came.
pub fn caught() -> Option<Signal> {
    Signal::try_from(CAUGHT.load(Ordering::SeqCst)).ok()
}

/// The exit status of a program that a signal ended, as shells say it.
pub fn status() -> Option<u8> {
    caught().and_then(|signal| u8::try_from(128 + signal as i32).ok())
}

/// From now on a signal is caught; `act` hears of the first one, in a thread of its own. A signal that the caller had
/// ignored stays ignored, as under nohup(1).
///
/// # Errors
/// The system has no descriptors or threads left.
pub fn watch(act: impl FnOnce(Signal) + Send + 'static) -> io::Result<()> {
    let (mut heard, tell) = io::pipe()?;
    // Never closed: the handler may write to it at any time.
    TELL.store(tell.into_raw_fd(), Ordering::SeqCst);
    let action = SigAction::new(SigHandler::Handler(catch), SaFlags::SA_RESTART, SigSet::empty());
    for signal in SIGNALS {
        // SAFETY: the handler does what signal-safety(7) allows and nothing else.
        let before = unsafe { sigaction(signal, &action) }?;
        if matches!(before.handler(), SigHandler::SigIgn) {
            // SAFETY: it puts back what was there.
            unsafe { sigaction(signal, &before) }?;
        }
    }
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if io::Read::read_exact(&mut heard, &mut [0]).is_ok()
            && let Some(signal) = caught()
        {
            act(signal);
        }
        // The reader stays open: a write must never raise SIGPIPE.
        std::mem::forget(heard);
    })?;
    Ok(())
}

extern "C" fn catch(number: std::ffi::c_int) {
    if CAUGHT.swap(number, Ordering::SeqCst) != 0 {
        // timeout(1) and shells may send the first one twice, to the process and to its group.
        if now() < FIRST.load(Ordering::SeqCst) + ONE_MOMENT {
            return;
        }
        if let Ok(signal) = Signal::try_from(number) {
            let usual = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
            // SAFETY: sigaction and raise are safe in a handler; the signal arrives when this one returns.
            let _ = unsafe { sigaction(signal, &usual) };
            let _ = raise(signal);
        }
        return;
    }
    FIRST.store(now(), Ordering::SeqCst);
    // SAFETY: the descriptor is never closed; write is safe in a handler.
    let tell = unsafe { std::os::fd::BorrowedFd::borrow_raw(TELL.load(Ordering::SeqCst)) };
    let _ = nix::unistd::write(tell, b"!");
}
