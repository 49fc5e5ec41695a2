//! What daemons ask for.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    process::pidfd_send_signal,
};

use super::{
    child::Child,
    process,
    protocol::{Event, ExecRequest, Request, RequestError, Target},
    server::Server,
};

impl Server {
    /// Answers everything that a daemon has sent so far.
    pub(super) fn serve(&mut self, number: u32) {
        while let Some(at) = self.clients.iter().position(|c| c.number == number) {
            let Some((call, fds)) = self.clients[at].next() else { return };
            let result = match call.request {
                Request::Exec(request) => {
                    self.exec(request, fds);
                    continue;
                }
                request if self.foreign.is_some() && is_for_runtime(&request) => {
                    self.ask_runtime(&request, (number, call.sequence));
                    continue;
                }
                Request::Root => {
                    let root = self.root();
                    let fds = root.iter().flat_map(|(root, mounts)| [root.as_fd(), mounts.as_fd()]);
                    let fds: Vec<_> = fds.collect();
                    let result = if fds.is_empty() { Err(RequestError::NoSuchProcess) } else { Ok(()) };
                    self.clients[at].tell(&Event::Answer { sequence: call.sequence, result }, &fds);
                    continue;
                }
                request => self.answer(request, fds),
            };
            self.clients[at].tell(&Event::Answer { sequence: call.sequence, result }, &[]);
        }
    }

    fn answer(&mut self, request: Request, mut fds: Vec<OwnedFd>) -> Result<(), RequestError> {
        match request {
            Request::Signal { target, signal } => {
                let child = self.running(target)?;
                let signal =
                    skiff_sys::signal::from_number(signal).ok_or_else(|| system("kill", Errno::INVAL))?;
                pidfd_send_signal(child.pidfd(), signal).map_err(|e| match e {
                    Errno::SRCH => RequestError::NoSuchProcess,
                    e => system("kill", e),
                })
            }
            Request::Resize { target, size } => self.running(target)?.resize(size).map_err(|e| match e {
                Errno::NOTTY => RequestError::NoTerminal,
                e => system("resize", e),
            }),
            Request::Attach { target, streams } => {
                let socket = fds.pop().ok_or(RequestError::Malformed)?;
                self.running(target)?.attach(socket, streams);
                Ok(())
            }
            Request::CloseStdin { target } => {
                self.running(target)?.end_input();
                Ok(())
            }
            Request::Exec(_) | Request::Root => Err(RequestError::Malformed),
            // The daemon does these itself to what this process has made.
            Request::Pause | Request::Resume | Request::Update(_) => Err(RequestError::Malformed),
        }
    }

    /// Has the runtime that made the container do it; whoever asked is answered when it is done.
    fn ask_runtime(&mut self, request: &Request, from: (u32, u32)) {
        match request {
            Request::Pause => self.ask_foreign(from, &["pause".as_ref()], &[]),
            Request::Resume => self.ask_foreign(from, &["resume".as_ref()], &[]),
            Request::Update(resources) => self.update_foreign(from, resources),
            Request::Signal { signal, .. } => self.signal_foreign(from, *signal),
            _ => {}
        }
    }

    /// The root file system's mount, and the mount namespace, which is not held where something of the host's is mounted in it.
    fn root(&self) -> Option<(OwnedFd, OwnedFd)> {
        let root = match self.foreign {
            None => self.root.as_ref()?.try_clone().ok()?,
            // It was mounted in a namespace that is gone; the container has a mount of its own.
            Some(_) => self.root_of_init()?,
        };
        let mounts = match &self.mounts {
            Some(mounts) => mounts.try_clone().ok()?,
            None => {
                let init = self.children.first().filter(|child| child.exit.is_none())?;
                let path = format!("/proc/{}/ns/mnt", init.pid.as_raw_nonzero());
                // Not reaped: the number is still this process's.
                rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?
            }
        };
        Some((root, mounts))
    }

    fn root_of_init(&self) -> Option<OwnedFd> {
        let init = self.children.first().filter(|child| child.exit.is_none())?;
        let path = format!("/proc/{}/root", init.pid.as_raw_nonzero());
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
    }

    fn running(&mut self, target: Target) -> Result<&mut Child, RequestError> {
        let child = self.children.iter_mut().find(|c| c.target == target && c.exit.is_none());
        child.ok_or(RequestError::NoSuchProcess)
    }

    fn exec(&mut self, request: ExecRequest, mut fds: Vec<OwnedFd>) {
        let id = request.id;
        let attach = request.attach.filter(|_| !fds.is_empty()).map(|streams| (streams, fds.remove(0)));
        if self.foreign.is_some() {
            return self.exec_foreign(request, attach);
        }
        let event = match process::start_exec(self, &request, fds) {
            Ok(mut child) => {
                if let Some((streams, socket)) = attach {
                    child.attach(socket, streams);
                }
                let pid = child.pid.as_raw_nonzero().get();
                self.children.push(child);
                Event::ExecStarted { id, pid }
            }
            Err(error) => Event::ExecFailed { id, error },
        };
        self.tell_all(&event);
    }
}

/// Whether the runtime that made a container must do it. Further processes are children of this one like any other.
fn is_for_runtime(request: &Request) -> bool {
    matches!(
        request,
        Request::Pause | Request::Resume | Request::Update(_) | Request::Signal { target: Target::Init, .. }
    )
}

fn system(operation: &str, errno: Errno) -> RequestError {
    RequestError::System { operation: operation.to_owned(), errno: errno.raw_os_error() }
}
