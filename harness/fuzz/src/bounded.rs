//! An allocator that ends the program where a parser asks for too much.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most that one allocation may have, in bytes. Inputs have at most a MiB, so a parser that wants more believes a number
/// that somebody wrote into the input.
const LARGEST: usize = 64 << 20;

/// The most that all allocations together may have, in bytes.
const MOST: usize = 384 << 20;

static LIVE: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator with a limit. A program that passes it is aborted, which a fuzzer takes for a finding.
#[derive(Debug)]
pub struct Bounded;

fn count(size: usize) {
    let live = LIVE.fetch_add(size, Ordering::Relaxed).saturating_add(size);
    if size > LARGEST || live > MOST {
        // Nothing here may allocate: the limit would be met again.
        let _ = std::io::stderr().write_all(b"a parser allocates beyond the limit of this program\n");
        std::process::abort();
    }
}

// SAFETY: all calls go to the system's allocator with the arguments as they came.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of this trait.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
