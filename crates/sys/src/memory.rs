//! Memory of processes that live long and must stay small.

use std::{fs::File, io::Read};

use rustix::fs::{Mode, OFlags};

/// Has all threads share so many heaps. By itself the C library makes eight for each processor, and what lives long lies thinly spread over
/// all that ever had a thread: pages that can never be given back. To be called before there are threads.
pub fn share_heaps(count: u8) {
    // SAFETY: `mallopt` may be called at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, count.into());
    }
}

/// Asks the C library's allocator to give every page it does not need back to the kernel. Takes some microseconds
/// for a small heap.
pub fn trim_heap() {
    // SAFETY: `malloc_trim` may be called at any time.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Lets go of the pages of the own program that are mapped: code that ran once, at the start, would otherwise count as in
/// use for ever. They stay in the page cache while there is room, and what is needed again is mapped again, 16 pages at a time.
/// Takes less than a millisecond.
pub fn unmap_idle_code() {
    let mut smaps = String::new();
    let opened = rustix::fs::open("/proc/self/smaps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    // Without /proc everything stays as it is.
    let _ = opened.map(|file| File::from(file).read_to_string(&mut smaps));
    for (start, end) in untouched_mappings(&smaps) {
        let at = std::ptr::with_exposed_provenance_mut(start);
        // SAFETY: the range is a whole mapping of a file that cannot be written through and of which no page is this
        // process's own, so the kernel reads the very same bytes again when they are touched.
        unsafe { libc::madvise(at, end - start, libc::MADV_DONTNEED) };
    }
}

/// The mappings of a `smaps` file (proc_pid_smaps(5)) that are private, come from a file, cannot be written, and have no page that
/// differs from the file's.
fn untouched_mappings(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(first), Some(second)) = (words.next(), words.next()) else { continue };
        if first == "Anonymous:" && second != "0" {
            current = None;
        } else if first == "Swap:" && second == "0" {
            // Comes after the other, and counts pages of its own that are not there at the moment.
            found.extend(current.take());
        } else if !first.ends_with(':') {
            let range = first.split_once('-').and_then(|(start, end)| {
                Some((usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?))
            });
            let of_file = words.nth(2).is_some_and(|inode| inode != "0");
            current = range.filter(|_| matches!(second, "r--p" | "r-xp") && of_file);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_equals_its_file_is_let_go() {
        let smaps = "\
55d0-55e0 r-xp 00000000 08:01 42 /bin/x
Size: 4 kB
Anonymous: 0 kB
Swap: 0 kB
55e0-55f0 r--p 00001000 08:01 42 /bin/x
Anonymous: 8 kB
Swap: 0 kB
5580-5590 r--p 00001000 08:01 42 /bin/x
Anonymous: 0 kB
Swap: 8 kB
55f0-5600 rw-p 00002000 08:01 42 /bin/x
Anonymous: 0 kB
Swap: 0 kB
5600-5610 r--p 00000000 00:00 0 [vvar]
Anonymous: 0 kB
Swap: 0 kB
5610-5620 r--p 00000000 00:01 7 /memfd:y (deleted)
Anonymous: 0 kB
Swap: 0 kB
";
        assert_eq!(untouched_mappings(smaps), [(0x55d0, 0x55e0), (0x5610, 0x5620)]);
    }

    #[test]
    fn the_program_goes_on() {
        let before = "still here".to_owned();
        unmap_idle_code();
        assert_eq!(before, "still here");
    }
}
