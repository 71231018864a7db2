//! An allocator that ends the program at 1 GiB.
//!
//! libFuzzer looks at the memory of its process once a second, and sees single allocations only where a sanitizer tells it of
//! them. This sees all, at once.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const MOST: usize = 1 << 30;

static HELD: AtomicUsize = AtomicUsize::new(0);

struct Bounded;

#[global_allocator]
static BOUNDED: Bounded = Bounded;

/// Counts an allocation before it is made.
fn add(size: usize) {
    if HELD.fetch_add(size, Relaxed).saturating_add(size) > MOST {
        // The words are written without allocating; aborting makes libFuzzer keep the input.
        let words = b"more than 1 GiB of memory asked for\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), words);
        std::process::abort();
    }
}

// SAFETY: everything is left to the system's allocator; only sizes are counted beside it.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as the caller has promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as the caller has promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller has promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        HELD.fetch_sub(layout.size(), Relaxed);
        add(size);
        // SAFETY: as the caller has promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
