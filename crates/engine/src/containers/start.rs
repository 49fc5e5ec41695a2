//! Start: the intent is committed while the container comes up, so that the flush costs nothing.

use std::sync::Arc;

use skiff_network::EndpointRecord;
use skiff_runtime::{
    cgroups::CgroupPath,
    launcher::{Launch, Place, StartRequest, Started, Starting},
    monitor::{
        foreign::ForeignRuntime,
        protocol::{EncodedPlan, Stdin, Stdio, WindowSize},
    },
    plan::{self, PlanOptions, Rootfs},
    spec::{LinuxNamespaceType, Spec},
};

use super::{
    WaitOutcome, ahead, endpoint, etc, exit, foreign, forwarding, health, links, logging, mounts,
    mounts::Ready,
    noted,
    parts::{Parts, in_place, to_the_end},
    remove, stop,
};
use crate::{
    Error, Result, Runtime, apparmor, cdi,
    container::{Container, Live},
    failure,
    link::link,
    model::{ContainerRecord, Link, Status, Timestamp},
    records::durable,
    spec::{self, SecurityOptions, Shared, Surroundings},
    users::{self, Accounts},
    validate::{self, NetworkMode},
};

pub(super) async fn start(parts: &Arc<Parts>, reference: &str) -> Result<()> {
    let container = parts.registry.resolve(reference)?;
    let parts = parts.clone();
    to_the_end(async move { run(&parts, &container, Reason::Asked).await }).await
}

/// Why a container is started.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Somebody asked for it: the restart policy counts from here.
    Asked,
    /// Its restart policy says so.
    Policy,
}

/// Starts a container that may be started.
pub(super) async fn run(parts: &Arc<Parts>, container: &Arc<Container>, reason: Reason) -> Result<()> {
    let order = container.order.lock().await;
    may_start(container, reason)?;
    container.tidied().await;
    let started = bring_up(parts, container, reason).await;
    if let Err(e) = &started {
        let (text, exit_code) = match e {
            Error::NotStarted { text, exit_code } => (text.clone(), *exit_code),
            other => (other.to_string(), failure::NOT_STARTED),
        };
        let change = |record: &mut ContainerRecord| {
            record.state.status =
                if record.state.finished_at.is_some() { Status::Exited } else { Status::Created };
            record.state.exit_code = exit_code;
            record.state.error.clone_from(&text);
        };
        let (failed, committed) =
            container.commit(change, |record| parts.records.put_with_endpoints(record, &[]));
        committed.detach();
        drop(order);
        match failed.host.auto_remove {
            // Whoever waits for the removal has been told why by the start.
            true => remove::quietly(parts, container).await,
            false => container.not_started(WaitOutcome { exit_code: exit_code.into(), error: Some(text) }),
        }
    }
    started
}

fn may_start(container: &Container, reason: Reason) -> Result<()> {
    if container.is_being_removed() {
        return Err(Error::Conflict("container is marked for removal and cannot be started".into()));
    }
    match container.status() {
        Status::Paused => Err(Error::Conflict("cannot start a paused container, try unpause instead".into())),
        Status::Running => Err(Error::NotModified),
        // Whoever asks for a start does not wait for the policy's next try.
        Status::Restarting if reason == Reason::Asked => Ok(()),
        Status::Removing | Status::Dead => {
            Err(Error::Conflict("container is marked for removal and cannot be started".into()))
        }
        _ => Ok(()),
    }
}

async fn bring_up(parts: &Arc<Parts>, container: &Arc<Container>, reason: Reason) -> Result<()> {
    if reason == Reason::Asked {
        container.back_off(|quick| *quick = 0);
    }
    container.unhealthy.store(false, std::sync::atomic::Ordering::Release);
    let others = Others::find(parts, container)?;
    let run_dir = parts.run_dir(&container.id);
    noted::forget(&run_dir)?;
    let apparmor = apparmor::profile(&container.record().host, &parts.config, &parts.host.facts)?;
    let change = |record: &mut ContainerRecord| {
        record.state.status = Status::Starting;
        record.state.error.clear();
        record.state.cgroup = spec::cgroup_path(record, &parts.config);
        record.apparmor_profile = apparmor;
        record.stopped_by_user = false;
        if reason == Reason::Asked {
            record.restart_count = 0;
        }
        if let Some(net) = &others.net_of {
            record.config.hostname.clone_from(&net.record().config.hostname);
        }
    };
    let (record, intent) = container.commit(change, |record| parts.records.put(record));
    let intent = intent.at_once();
    let cgroup = record.state.cgroup.clone();
    let up = in_place(|| {
        launch(parts, container, &record, &others).inspect_err(|_| {
            // A monitor that was killed on the way has left its cgroup.
            exit::remove_cgroup(parts, &record.state.cgroup);
            parts.secrets.ended(&record.id, &record.host.secrets);
            if parts.volumes.release(&record.id, &record.mounts) {
                parts.volumes.tell_released(&record);
            }
        })
    });
    let Up { started, endpoints, links, sources, foreign } = match up {
        Ok(up) => up,
        Err(e) => {
            parts.network.release(&container.id);
            in_place(|| endpoint::part(parts, container));
            return Err(e);
        }
    };
    let (link, reader) = link(started.connection)?;
    let at = timestamp(started.started_at);
    let change = |record: &mut ContainerRecord| {
        let state = &mut record.state;
        state.status = Status::Running;
        state.pid = started.pid;
        state.exit_code = 0;
        state.oom_killed = false;
        state.started_at = Some(at);
        record.links = links;
        health::began(record);
        endpoint::began(record, parts, &endpoints);
        mounts::set_sources(record, &sources);
    };
    let queue = |record: &ContainerRecord| parts.records.put_with_endpoints(record, &endpoints);
    let (record, committed) = container.commit(change, queue);
    // That it runs, its monitor says too; its addresses and where its volumes are nobody else knows.
    let is_known = (endpoints.is_empty() && sources.is_empty())
        || noted::write(&record, &endpoints, &run_dir)
            .inspect_err(|e| tracing::warn!(container = record.name, "cannot note its start: {e}"))
            .is_ok();
    container.stopping.store(false, std::sync::atomic::Ordering::Release);
    let live = Live { pid: started.pid, pidfd: started.pidfd, link, cgroup, foreign };
    container.began(Arc::new(live));
    endpoint::tell(parts, container, "connect");
    parts.tell(container, "start", &[]);
    health::keep_checking(parts, container);
    forwarding::began(parts, container);
    // Only now: nobody hears of the end before the beginning.
    tokio::spawn(exit::supervise(parts.clone(), container.clone(), reader));
    let intended = match is_known {
        true => {
            // Whoever asked for the start is answered before the commit.
            let intended = durable(intent).await;
            committed.unhurried().detach();
            intended
        }
        false => durable(intent).await.and(durable(committed).await),
    };
    if intended.is_err() {
        container.stopping.store(true, std::sync::atomic::Ordering::Release);
        stop::kill_and_wait(parts, container).await?;
    }
    intended
}

/// A moment as the runtime tells it.
pub(super) fn timestamp(time: skiff_runtime::monitor::protocol::UnixTime) -> Timestamp {
    Timestamp::new(time.seconds, time.nanoseconds as i32).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Containers whose namespaces are joined; all of them run.
#[derive(Default)]
struct Others {
    pid: Option<Shared>,
    ipc: Option<Shared>,
    net: Option<Shared>,
    net_of: Option<Arc<Container>>,
}

impl Others {
    fn find(parts: &Parts, container: &Container) -> Result<Self> {
        let record = container.record();
        let mut out = Self::default();
        let of = |mode: &str| mode.strip_prefix("container:").map(str::to_owned);
        if let NetworkMode::Container(other) = validate::network_mode(&record.host.network_mode) {
            let other = parts
                .registry
                .resolve(&other)
                .map_err(|e| Error::Internal(format!("joining network namespace of container: {e}")))?;
            let live = other.live().map_err(|_| {
                let status = other.status().as_str();
                Error::Conflict(format!(
                    "cannot join network namespace of a non running container: container {} is {status}",
                    other.name()
                ))
            })?;
            out.net = Some(Shared { pid: live.pid, shm: None });
            out.net_of = Some(other);
        }
        if let Some(other) = of(&record.host.pid_mode) {
            let joined = parts.registry.resolve(&other).and_then(|o| o.live());
            let live = joined.map_err(|e| Error::Internal(format!("failed to join PID namespace: {e}")))?;
            out.pid = Some(Shared { pid: live.pid, shm: None });
        }
        if let Some(other) = of(&record.host.ipc_mode) {
            let label = "failed to join IPC namespace";
            let other = parts.registry.resolve(&other).map_err(|e| e.labelled(label))?;
            let live = other.live().map_err(|e| e.labelled(label))?;
            let mode = other.record().host.ipc_mode.clone();
            if !matches!(mode.as_str(), "shareable" | "host") {
                return Err(Error::Invalid(format!(
                    "{label}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)"
                )));
            }
            let shm = parts.dir(&other.id).join("shm").to_string_lossy().into_owned();
            out.ipc = Some(Shared { pid: live.pid, shm: Some(shm) });
        }
        Ok(out)
    }
}

struct Up {
    started: Started,
    links: Vec<Link>,
    endpoints: Vec<EndpointRecord>,
    /// Where volumes are that a driver has mounted.
    sources: Vec<(String, String)>,
    /// Another runtime has started it.
    foreign: bool,
}

/// Everything that blocks, in one go. What it makes is undone by the caller (addresses) or goes with its descriptors.
fn launch(parts: &Parts, container: &Container, record: &ContainerRecord, others: &Others) -> Result<Up> {
    let (root, starting) = ahead::take_or_make(parts, container, record)?;
    let accounts = Accounts::read(std::os::fd::AsFd::as_fd(&root));
    let groups = record.host.group_add.as_deref().unwrap_or_default();
    let user = users::resolve(&accounts, &record.config.user, groups)?;
    let dir = parts.dir(&record.id);
    let network = endpoint::attach(parts, record)?;
    let on_bridge = network.endpoints.iter().any(|endpoint| endpoint.network == parts.identity.bridge);
    let linked = links::at_start(parts, record, on_bridge)?;
    let record = linked.as_ref().unwrap_or(record);
    etc::finish(parts, record, &dir, &network.endpoints, others.net_of.as_deref())?;
    let ready = match record.mounts.is_empty() && record.host.ipc_mode != "shareable" {
        true => Ready::default(),
        false => mounts::prepare(parts, record, &dir)?,
    };
    let changed =
        (!ready.sources.is_empty() || !ready.mounts.is_empty()).then(|| mounts::with_sources(record, &ready));
    let record = changed.as_ref().unwrap_or(record);
    parts.secrets.prepare(&record.id, &record.host.secrets)?;
    let secrets = parts.secrets.of(&record.id);
    let surroundings = Surroundings {
        host: &parts.host,
        daemon: &parts.config,
        dir: &dir,
        init_binary: &parts.init_binary,
        secrets: &secrets,
        user,
        pid: others.pid.clone(),
        ipc: others.ipc.clone(),
        net: others.net.clone(),
    };
    let mut spec = spec::make(record, &surroundings)?;
    if let Some(requests) = record.host.resources.device_requests.as_deref().filter(|r| !r.is_empty()) {
        let devices = cdi::Devices::read(&parts.config.cdi_spec_dirs);
        devices.inject(&devices.asked_for(requests)?, &mut spec)?;
    }
    let launch = match parts.config.runtime(&record.host.runtime) {
        Some(Runtime::Own) => Launch::Plan(plan(parts, record, &spec, network.netns.is_some(), &ready)?),
        Some(Runtime::Program { path, args }) => {
            let bundle = ForeignRuntime::bundle(&parts.run_dir(&record.id));
            let spec = foreign::bundle(parts, record, spec, &bundle, network.netns.is_some(), &ready)?;
            Launch::Foreign(ForeignRuntime { program: path, args, spec: spec.json, attached: spec.attached })
        }
        None => {
            let name = &record.host.runtime;
            return Err(Error::Invalid(format!("unknown or invalid runtime name: {name}")));
        }
    };
    let foreign = matches!(launch, Launch::Foreign(_));
    let log = logging::at_start(parts, record)?;
    let request = StartRequest {
        id: record.id,
        run_dir: parts.run_dir(&record.id),
        launch,
        fds: std::iter::once(root)
            .chain(network.netns)
            .chain(ready.mounts.into_iter().map(|(_, fd)| fd))
            .collect(),
        stdio: stdio(record),
        log,
        attach: container.take_early(),
        host_mounts: !record.mounts.is_empty(),
    };
    let started = starting.start(request).map_err(failure::start)?;
    links::target_started(parts, &record.id);
    Ok(Up {
        started,
        endpoints: network.endpoints,
        links: record.links.clone(),
        sources: ready.sources,
        foreign,
    })
}

/// Lets a monitor make the cgroup while the rest is prepared here.
pub(super) fn begin(parts: &Parts, cgroup: &str) -> Result<Starting> {
    let path = CgroupPath::parse(cgroup).map_err(|e| Error::Internal(e.to_string()))?;
    parts.launcher.begin(&Place { layout: parts.host.facts.cgroups.clone(), path }).map_err(failure::start)
}

/// The root file system is descriptor 0, the network namespace descriptor 1; mounts follow.
fn plan(
    parts: &Parts,
    record: &ContainerRecord,
    spec: &Spec,
    netns: bool,
    ready: &Ready,
) -> Result<EncodedPlan> {
    let security = SecurityOptions::read(&record.host, &parts.config)?;
    let granted = spec::capabilities(record, &parts.host)?;
    let options = PlanOptions {
        id: record.id.to_string(),
        bundle: parts.run_dir(&record.id),
        rootfs: Some(Rootfs::Fd(0)),
        namespace_fds: if netns { vec![(LinuxNamespaceType::Network, 1)] } else { Vec::new() },
        seccomp: parts.filters.get(&security.seccomp, granted)?,
        ..PlanOptions::default()
    };
    let mut plan = plan::plan(spec, &options, &parts.host.facts).map_err(|e| failure::plan(&e))?;
    mounts::use_descriptors(&mut plan, &ready.mounts, if netns { 2 } else { 1 });
    EncodedPlan::new(&plan).map_err(|e| Error::Internal(format!("cannot encode the plan: {e}")))
}

fn stdio(record: &ContainerRecord) -> Stdio {
    let config = &record.config;
    let stdin = match (config.open_stdin, config.stdin_once) {
        (false, _) => Stdin::Null,
        (true, true) => Stdin::Once,
        (true, false) => Stdin::Open,
    };
    let [height, width] = record.host.console_size;
    let size = WindowSize { rows: height as u16, columns: width as u16 };
    Stdio { stdin, terminal: config.tty.then_some(size) }
}
