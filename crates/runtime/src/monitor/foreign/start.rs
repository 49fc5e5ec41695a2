//! A start by the runtime's program.

use std::{
    ffi::OsStr,
    os::fd::{AsFd, OwnedFd},
};

use rustix::process::{Pid, Signal};
use skiff_sys::signal;

use super::{Console, Foreign, ForeignRuntime, STARTING, attach::attach, process, refused};
use crate::{
    apply::StageError,
    launcher::{Place, StartMessage},
    monitor::{
        cgroup::Watched,
        process::{open_log, split, streams as stream_failure},
        reactor::Reactor,
        server::{Born, Server},
        stdio::{self, Ends},
    },
};

/// Has the program make and start the container, and puts everything in its place that outlives the start.
///
/// # Errors
/// What the program said, or what kept it from being asked. Nothing of the container is left then.
pub(in crate::monitor) fn start(
    place: &Place,
    message: StartMessage,
    runtime: &ForeignRuntime,
    fds: Vec<OwnedFd>,
) -> Result<Server, StageError> {
    // The launcher ignores it, which would take the exit statuses of our children from us.
    signal::default(Signal::CHILD).map_err(stream_failure)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(stream_failure)?;
    let (listener, attached, fds) = split(&message, fds)?;
    let reactor = Reactor::new().map_err(stream_failure)?;
    let log = open_log(&message.log)?;
    let mut foreign = Foreign::new(message.id.to_string(), &message.run_dir, runtime)?;
    let cgroup = Watched::new(&place.layout, &place.path);
    let started = foreign.start(runtime, message.stdio, &fds);
    let (init, ends) = started.inspect_err(|_| {
        foreign.delete();
        cgroup.kill_all();
        Watched::new(&place.layout, &place.path).remove();
    })?;
    // Held although it is mounted nowhere any more: see the field.
    let root = fds.into_iter().next();
    let foreign = Some(foreign);
    let born = Born { reactor, log, listener, attached, init, ends, cgroup, root, after: None, foreign };
    Ok(Server::new(message, born))
}

impl Foreign {
    fn start(
        &mut self,
        runtime: &ForeignRuntime,
        stdio: crate::monitor::protocol::Stdio,
        fds: &[OwnedFd],
    ) -> Result<((Pid, OwnedFd), Ends), StageError> {
        let prepared = stdio::Prepared::new(stdio).map_err(stream_failure)?;
        let (pid_file, bundle) = (self.file("pid"), self.bundle.clone());
        let console = stdio.terminal.map(|_| Console::listen(&self.bundle)).transpose()?;
        let mut options: Vec<&OsStr> = vec!["create".as_ref(), "--bundle".as_ref(), bundle.as_ref()];
        options.extend(["--pid-file".as_ref(), pid_file.as_os_str()]);
        if let Some(console) = &console {
            options.extend(["--console-socket".as_ref(), console.path.as_os_str()]);
        }
        let enter = || attach(&bundle, &runtime.attached, fds);
        let created = self.run((&options, &[]), super::streams(&prepared), enter, true)?;
        created.wait(STARTING).map_err(|error| with_stderr(error, &prepared))?;
        let process = process(&pid_file)?;
        let master = console.map(Console::receive).transpose()?;
        let ends = prepared.into_ours(master).map_err(stream_failure)?;
        self.ask(&["start".as_ref()], &[])?.wait(STARTING)?;
        Ok((process, ends))
    }
}

/// A program that keeps no log says on its standard error, which is the container's, what is wrong.
fn with_stderr(error: StageError, prepared: &stdio::Prepared) -> StageError {
    let stdio::Prepared::Pipes { ours, .. } = prepared else { return error };
    let Some(stderr) = &ours.stderr else { return error };
    let mut text = [0; 1024];
    let said = match rustix::io::read(stderr.as_fd(), &mut text) {
        Ok(length) => String::from_utf8_lossy(&text[..length]).trim().to_owned(),
        Err(_) => String::new(),
    };
    match error.detail.starts_with("exit status") && !said.is_empty() {
        true => refused(format!("{}: {said}", error.detail)),
        false => error,
    }
}
