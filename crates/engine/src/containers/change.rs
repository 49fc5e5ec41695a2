//! Rename, resize, update: what changes a container without starting or stopping it.

use std::sync::Arc;

use skiff_runtime::{
    cgroups::{Cgroup, CgroupPath},
    monitor::protocol::{Request, Target, WindowSize},
    plan,
    spec::LinuxResources,
};

use super::parts::{Parts, blocking, to_the_end};
use crate::{
    Error, Result,
    container::{Container, Live},
    model::{ContainerRecord, UpdateRequest},
    records::durable,
    spec, validate,
};

pub(super) async fn rename(parts: &Arc<Parts>, reference: &str, name: &str) -> Result<()> {
    if reference.is_empty() || name.is_empty() {
        return Err(Error::Invalid("Neither old nor new names may be empty".into()));
    }
    let container = parts.registry.resolve(reference)?;
    let name = name.strip_prefix('/').unwrap_or(name).to_owned();
    let parts = parts.clone();
    to_the_end(async move {
        let _order = container.order.lock().await;
        let old = container.name();
        if old == name {
            return Err(Error::Invalid("Renaming a container with the same name as its current name".into()));
        }
        let label = "Error when allocating new name";
        validate::name(&name, &format!("/{name}")).map_err(|e| e.labelled(label))?;
        parts.registry.reserve(&name, container.id).map_err(|e| e.labelled(label))?;
        if let Err(e) = call(&parts, &container, &old, &name).await {
            // Nothing more can be done about a store that cannot be written.
            let _ = call(&parts, &container, &name, &old).await;
            parts.registry.release(&name);
            return Err(e);
        }
        parts.registry.release(&old);
        parts.tell(&container, "rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    })
    .await
}

/// Calls a container otherwise, wherever its name is known.
async fn call(parts: &Parts, container: &Container, old: &str, new: &str) -> Result<()> {
    let other = |names: &[String]| {
        let mut out: Vec<String> = Vec::with_capacity(names.len());
        for name in names.iter().map(|name| if name == old { new } else { name }) {
            if !out.iter().any(|known| known == name) {
                out.push(name.to_owned());
            }
        }
        out
    };
    let endpoints = parts.network.rename(&container.id, new, |endpoint| other(&endpoint.names));
    let change = |record: &mut ContainerRecord| {
        record.name = new.to_owned();
        for names in record.network.networks.values_mut().filter_map(|n| n.state.dns_names.as_mut()) {
            *names = other(names);
        }
    };
    let (_, renamed) =
        container.commit(change, |record| parts.records.put_with_endpoints(record, &endpoints));
    durable(renamed).await
}

pub(super) async fn resize(parts: &Parts, reference: &str, height: u16, width: u16) -> Result<()> {
    let container = parts.registry.resolve(reference)?;
    let live = container.live()?;
    let size = WindowSize { rows: height, columns: width };
    let resized = live.link.ask(Request::Resize { target: Target::Init, size }, &[]).await?;
    // Docker does not mind that there is no terminal.
    match resized {
        Ok(()) | Err(skiff_runtime::monitor::protocol::RequestError::NoTerminal) => {}
        Err(e) => return Err(Error::Internal(format!("cannot resize: {e}"))),
    }
    parts.tell(&container, "resize", &[("height", height.to_string()), ("width", width.to_string())]);
    Ok(())
}

pub(super) async fn update(
    parts: &Arc<Parts>,
    reference: &str,
    mut request: UpdateRequest,
) -> Result<Vec<String>> {
    if let Some(policy) = &request.restart_policy {
        validate::restart_policy(policy)?;
    }
    let container = parts.registry.resolve(reference)?;
    let parts = parts.clone();
    to_the_end(async move {
        let mut warnings = Vec::new();
        let swap_given = request.resources.memory_swap != 0;
        // A swap limit of its own is measured against the memory limit there is.
        let memory_given = request.resources.memory != 0;
        if !memory_given && swap_given {
            request.resources.memory = container.record().host.resources.memory;
        }
        let checked = validate::resources(&mut request.resources, &parts.host, &mut warnings);
        checked?;
        if !swap_given {
            request.resources.memory_swap = 0;
        }
        if !memory_given {
            request.resources.memory = 0;
        }
        apply(&parts, &container, request).await?;
        Ok(warnings)
    })
    .await
}

async fn apply(parts: &Arc<Parts>, container: &Arc<Container>, request: UpdateRequest) -> Result<()> {
    let _order = container.order.lock().await;
    let label = || format!("Cannot update container {}", container.id);
    let before = container.record().host.clone();
    if container.is_being_removed() {
        return Err(Error::Conflict("container is marked for removal and cannot be \"update\"".into())
            .labelled(label()));
    }
    if before.auto_remove
        && request.restart_policy.as_ref().is_some_and(|p| !matches!(p.name.as_str(), "" | "no"))
    {
        return Err(Error::Conflict(
            "Restart policy cannot be updated because AutoRemove is enabled for the container".into(),
        )
        .labelled(label()));
    }
    let resources =
        validate::resources_update(&before.resources, &request.resources).map_err(|e| e.labelled(label()))?;
    if let Ok(live) = container.live() {
        let limits = spec::limits(&resources, &parts.host)?;
        let written = match live.foreign {
            true => have_limits_written(&live, &limits).await?,
            false => {
                let (parts, cgroup) = (parts.clone(), live.cgroup.clone());
                blocking(move || write_limits(&parts, &cgroup, &limits)).await?
            }
        };
        written.map_err(|e| Error::Internal(e).labelled(label()))?;
    }
    let change = |record: &mut ContainerRecord| {
        record.host.resources = resources;
        if let Some(policy) = request.restart_policy {
            record.host.restart_policy = policy;
        }
    };
    let (_, changed) = container.commit(change, |record| parts.records.put(record));
    durable(changed).await?;
    parts.tell(container, "update", &[]);
    Ok(())
}

/// Limits of a container that another runtime has made.
async fn have_limits_written(
    live: &Live,
    limits: &LinuxResources,
) -> Result<std::result::Result<(), String>> {
    let json = serde_json::to_vec(limits).map_err(|e| Error::Internal(e.to_string()))?;
    Ok(live.link.ask(Request::Update(json), &[]).await?.map_err(|e| e.to_string()))
}

fn write_limits(parts: &Parts, cgroup: &str, limits: &LinuxResources) -> std::result::Result<(), String> {
    let layout = &parts.host.facts.cgroups;
    let path = CgroupPath::parse(cgroup).map_err(|e| e.to_string())?;
    let group = Cgroup::open(layout, &path);
    let current = group.current().map_err(|e| e.to_string())?;
    let steps = plan::plan_resources(limits, layout, current).map_err(|e| e.to_string())?;
    group.apply(&steps).map_err(|e| e.to_string())
}
