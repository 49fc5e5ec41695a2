//! Standard output and standard error, written without stopping everything else when a reader is slow.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::FileType,
};

/// What a pipe takes at once without blocking if it takes anything (PIPE_BUF).
const PIPE_PIECE: usize = 4096;

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Output {
    fn with<T>(self, act: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
        match self {
            Self::Stdout => act(io::stdout().as_fd()),
            Self::Stderr => act(io::stderr().as_fd()),
        }
    }

    fn is_file(self) -> bool {
        self.with(|fd| {
            rustix::fs::fstat(fd).is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::RegularFile)
        })
    }

    fn ready(self, timeout: Option<&Timespec>) -> bool {
        self.with(|fd| {
            let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
            // An error of poll is left to write to report.
            !matches!(poll(&mut fds, timeout), Ok(0))
        })
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// A reader that has gone, a full disk.
    pub(crate) async fn write_all(self, mut bytes: &[u8]) -> io::Result<()> {
        let piece = if self.is_file() { usize::MAX } else { PIPE_PIECE };
        while !bytes.is_empty() {
            if !self.ready(Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
                tokio::task::spawn_blocking(move || self.ready(None)).await.map_err(io::Error::other)?;
            }
            let next = &bytes[..bytes.len().min(piece)];
            match self.with(|fd| rustix::io::write(fd, next)) {
                Ok(n) => bytes = &bytes[n..],
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(error) => {
                    let name = match self {
                        Self::Stdout => "stdout",
                        Self::Stderr => "stderr",
                    };
                    let why = match error {
                        rustix::io::Errno::PIPE => "broken pipe".to_owned(),
                        rustix::io::Errno::NOSPC => "no space left on device".to_owned(),
                        error => error.to_string(),
                    };
                    return Err(io::Error::new(error.kind(), format!("write /dev/{name}: {why}")));
                }
            }
        }
        Ok(())
    }
}
