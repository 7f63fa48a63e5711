//! Memory for a program that lives for milliseconds: the first allocations come from an arena, one after the other, and only the last one is ever
//! given back. That is faster than a heap that keeps books, and it touches fewer pages, which a clone would have to copy. What does not fit
//! any more comes from the system, so a command that lives for days, such as `run` or `events`, wastes no more than the arena.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the start of a container needs, and some room. Pages that are not used cost nothing.
const SIZE: usize = 512 * 1024;

/// Every allocation has what malloc(3) promises: nix takes bytes for buffers of control messages and relies on it.
const ALIGNMENT: usize = 16;

/// The allocator.
pub(crate) struct Arena {
    memory: UnsafeCell<[u8; SIZE]>,
    /// How much of it is given out.
    used: AtomicUsize,
}

// SAFETY: each part of the memory belongs to one allocation alone, and `used` changes atomically.
unsafe impl Sync for Arena {}

impl Arena {
    pub(crate) const fn new() -> Self {
        Self { memory: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) }
    }

    fn start(&self) -> *mut u8 {
        self.memory.get().cast()
    }

    /// Where an allocation lies in the arena, if it does.
    fn offset(&self, pointer: *mut u8) -> Option<usize> {
        pointer.addr().checked_sub(self.start().addr()).filter(|offset| *offset < SIZE)
    }

    /// Moves the end of what is used from one place to another, if it is still there.
    fn move_end(&self, from: usize, to: usize) -> bool {
        self.used.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

// SAFETY: an allocation is a part of the arena that no other has, or the system's. Which of the two it is can be seen by its address.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        loop {
            let used = self.used.load(Ordering::Acquire);
            let address = self.start().addr() + used;
            let padding = address.next_multiple_of(layout.align().max(ALIGNMENT)) - address;
            let end = used.checked_add(padding).and_then(|begin| begin.checked_add(layout.size()));
            match end.filter(|end| *end <= SIZE) {
                // SAFETY: the caller's conditions are the same.
                None => return unsafe { System.alloc(layout) },
                Some(end) if self.move_end(used, end) => {
                    // SAFETY: the end is inside the arena, so this is.
                    return unsafe { self.start().add(used + padding) };
                }
                Some(_) => {}
            }
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        match self.offset(pointer) {
            Some(offset) => {
                self.move_end(offset + layout.size(), offset);
            }
            // SAFETY: it came from there, with this layout.
            None => unsafe { System.dealloc(pointer, layout) },
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(pointer) else {
            // SAFETY: it came from there, with this layout; the size is the caller's.
            return unsafe { System.realloc(pointer, layout, size) };
        };
        let end = offset.checked_add(size).filter(|end| *end <= SIZE);
        if size <= layout.size() || end.is_some_and(|end| self.move_end(offset + layout.size(), end)) {
            return pointer;
        }
        // SAFETY: the caller's condition: the size is not 0 and does not overflow with this alignment.
        let layout_of_new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the same.
        let new = unsafe { self.alloc(layout_of_new) };
        if !new.is_null() {
            // SAFETY: both are at least as large as the old one, and the new one overlaps nothing.
            unsafe { std::ptr::copy_nonoverlapping(pointer, new, layout.size()) };
        }
        new
    }
}
