//! The heap of processes that live long and must stay small.

/// Asks the C library's allocator to give every page it does not need back to the kernel. Takes some microseconds
/// for a small heap.
pub fn trim_heap() {
    // SAFETY: `malloc_trim` may be called at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
