//! `exec`.

use oci_spec::runtime::{Capability, LinuxCapabilities, Process, ProcessBuilder};

use super::args::{Exec, Global};
use super::foreground::Foreground;
use super::record::{self, Record, Status};
use super::{OciError, bundle, console, create, log};
use crate::apply::{self, Start, Stdio, Surroundings};
use crate::capabilities;
use crate::cgroups::BelowCgroup;
use crate::plan::{self, ExecPlan, HostFacts, PlanOptions};

/// Starts a further process in a container; waits for it unless it is to be detached.
pub(super) fn exec(global: &Global, args: &Exec) -> Result<u8, OciError> {
    let preserved = create::preserved(args.preserve_fds)?;
    let (directory, record) = record::find(global, &args.id)?;
    match record.status(&directory) {
        Status::Stopped => return Err(OciError::State("cannot exec in a stopped container".to_owned())),
        Status::Creating => {
            return Err(OciError::State("cannot exec in a container that is being created".to_owned()));
        }
        Status::Paused if !args.ignore_paused => {
            let reason = "cannot exec in a paused container (use --ignore-paused to override)";
            return Err(OciError::State(reason.to_owned()));
        }
        _ => {}
    }
    let process = process(global, args, &record)?;
    let plan = plan(args, &record, &process)?;
    check_console(args, &plan)?;
    let gone = || OciError::State("cannot exec in a stopped container".to_owned());
    let (init, init_fd) = record.open_process().ok_or_else(gone)?;
    let foreground = if args.detach { None } else { Some(Foreground::prepare(false)?) };
    let stdio = if plan.process.terminal { Stdio::Terminal } else { create::own_stdio() };
    let surroundings =
        Surroundings { fds: &[], stdio, preserved: &preserved, die_with_parent: false, start: Start::Parent };
    let spawned = apply::exec(&plan, (init, std::os::fd::AsFd::as_fd(&init_fd)), &surroundings)
        .map_err(OciError::Exec)?;
    log::debug(global, || format!("process {} is ready", spawned.pid.as_raw_nonzero()));
    if let (Some(master), Some(socket)) = (&spawned.console, &args.console_socket) {
        console::send(socket, master)?;
    }
    if let Some(master) = spawned.console.as_ref().filter(|_| args.console_socket.is_none()) {
        console::adopt(master);
    }
    create::write_pid(args.pid_file.as_deref(), spawned.pid)?;
    let (pid, pidfd, master) = spawned.start().map_err(OciError::Exec)?;
    match foreground {
        Some(foreground) => foreground.wait(pid, &pidfd, master.as_ref()),
        None => Ok(0),
    }
}

fn check_console(args: &Exec, plan: &ExecPlan) -> Result<(), OciError> {
    let reason = match (plan.process.terminal, args.console_socket.is_some(), args.detach) {
        (true, false, true) => {
            "cannot allocate tty if the runtime will detach without setting console socket"
        }
        (false, true, _) | (true, true, false) => {
            "cannot use console socket if the runtime will not detach or allocate tty"
        }
        _ => return Ok(()),
    };
    Err(OciError::Argument(reason.to_owned()))
}

fn plan(args: &Exec, record: &Record, process: &Process) -> Result<ExecPlan, OciError> {
    let options = PlanOptions {
        id: record.id.clone(),
        bundle: record.bundle.clone(),
        no_new_keyring: !record.new_keyring,
        rootless: record.rootless,
        ..PlanOptions::default()
    };
    let mut plan = plan::exec_plan(process, &record.spec, &options, &HostFacts::probe()?)?;
    let below = args.cgroup.iter().map(|text| BelowCgroup::parse(text, &plan.layout));
    plan.below = below.collect::<Result<_, _>>()?;
    Ok(plan)
}

/// The process of the file, or the container's own with what the flags change.
fn process(global: &Global, args: &Exec, record: &Record) -> Result<Process, OciError> {
    if let Some(path) = &args.process {
        return bundle::read_process(global, path, &record.spec);
    }
    if args.args.is_empty() {
        return Err(OciError::Argument("process args cannot be empty".to_owned()));
    }
    let base = record.spec.process().clone();
    let mut process = match base {
        Some(process) => process,
        None => ProcessBuilder::default().build().map_err(|error| OciError::Argument(error.to_string()))?,
    };
    process.set_args(Some(args.args.clone())).set_terminal(Some(args.tty));
    if let Some(cwd) = &args.cwd {
        process.set_cwd(cwd.clone());
    }
    let mut env = process.env().clone().unwrap_or_default();
    env.extend(args.env.iter().cloned());
    process.set_env(Some(env));
    if let Some(user) = &args.user {
        set_user(&mut process, user)?;
    }
    if !args.additional_gids.is_empty() {
        let mut user = process.user().clone();
        let mut gids = user.additional_gids().clone().unwrap_or_default();
        gids.extend(&args.additional_gids);
        user.set_additional_gids(Some(gids));
        process.set_user(user);
    }
    if args.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if args.apparmor.is_some() {
        process.set_apparmor_profile(args.apparmor.clone());
    }
    if args.process_label.is_some() {
        process.set_selinux_label(args.process_label.clone());
    }
    if !args.cap.is_empty() {
        let mut sets = process.capabilities().clone().unwrap_or_default();
        add_capabilities(&mut sets, &args.cap)?;
        process.set_capabilities(Some(sets));
    }
    Ok(process)
}

fn set_user(process: &mut Process, text: &str) -> Result<(), OciError> {
    let invalid = || OciError::Argument(format!("user {text:?} is not UID or UID:GID"));
    let (uid, gid) = match text.split_once(':') {
        Some((uid, gid)) => (uid, Some(gid.parse().map_err(|_| invalid())?)),
        None => (text, None),
    };
    let mut user = process.user().clone();
    user.set_uid(uid.parse().map_err(|_| invalid())?);
    if let Some(gid) = gid {
        user.set_gid(gid);
    }
    process.set_user(user);
    Ok(())
}

/// As runc: to all sets but the inheritable one; to the ambient one only what is inheritable.
fn add_capabilities(sets: &mut LinuxCapabilities, names: &[String]) -> Result<(), OciError> {
    let parse =
        |name: &String| capabilities::parse(name).map_err(|error| OciError::Argument(error.to_string()));
    let added: Vec<Capability> = names.iter().map(parse).collect::<Result<_, _>>()?;
    let with = |set: &Option<oci_spec::runtime::Capabilities>| {
        let mut set = set.clone().unwrap_or_default();
        set.extend(added.iter().copied());
        Some(set)
    };
    let (bounding, effective, permitted) =
        (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
    let inheritable = sets.inheritable().clone().unwrap_or_default();
    let mut ambient = sets.ambient().clone().unwrap_or_default();
    ambient.extend(added.iter().copied().filter(|one| inheritable.contains(one)));
    sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted).set_ambient(Some(ambient));
    Ok(())
}
