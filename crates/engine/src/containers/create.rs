//! Create: everything is checked before anything is made, and what is made is one record and one snapshot.

use std::sync::Arc;

use skiff_images::{Image, ImportOptions, Platform, Reference};
use skiff_types::ContainerId;
use tokio::sync::oneshot;

use super::{
    ahead, links,
    parts::{Parts, blocking, in_place, to_the_end},
    spare::{self, Kind, Spare},
};
use crate::{
    BuiltinImage, Error, Result, budget,
    container::Container,
    images::not_for,
    model::{
        ContainerConfig, ContainerRecord, CreateRequest, Created, EndpointSettings, HostConfig, MountKind,
        MountPoint, NetworkState, Timestamp,
    },
    names,
    records::durable,
    spec::SecurityOptions,
    validate::{self, NetworkMode},
};

pub(super) async fn create(parts: &Arc<Parts>, mut request: CreateRequest) -> Result<Created> {
    let checked = validate::create(&mut request, &parts.host, &parts.config)?;
    budget::admit(parts).await?;
    bring_builtin(parts, &request.config.image).await?;
    let image = image(parts, &request)?;
    if !request.host.storage_opt.is_empty() && !parts.snapshots.can_limit() {
        // Docker's words and status, for what it has.
        return Err(Error::Internal(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option, or ext4 with 'prjquota'".into(),
        ));
    }
    if !parts.last_use.image(&image.id) {
        return Err(skiff_images::Error::NotFound(request.config.image).into());
    }
    let merged = image.config.config.clone().unwrap_or_default();
    let args = super::merge::with_image(&mut request.config, &merged)?;
    name_others(parts, &mut request.host)?;
    let links = links::asked(parts, &request)?;
    request.host.links = None;
    let mut warnings = checked.warnings;
    if request.platform.is_empty() {
        warnings.extend(foreign(&image));
    }
    let binds = request.host.port_bindings.as_ref().is_some_and(|ports| !ports.is_empty());
    if binds && request.host.network_mode == "host" {
        warnings.push("Published ports are discarded when using host network mode".into());
    }
    let mut mounts = checked.mounts;
    inherit_mounts(parts, &request, &mut mounts)?;
    add_image_volumes(&request.config, &request.host.volume_driver, &mut mounts)?;
    find_images(parts, &mut mounts)?;
    parts.volumes.choose(&mut mounts)?;
    let network = networks(parts, &request)?;
    let apparmor_profile = SecurityOptions::read(&request.host, &parts.config)?.apparmor.unwrap_or_default();
    // Another's network brings another's name.
    let own_name = !matches!(validate::network_mode(&request.host.network_mode), NetworkMode::Container(_));
    let kind = (own_name && request.host.resources.cgroup_parent.is_empty()).then(|| Kind {
        chain: image.chain,
        lifetime: request.host.lifetime(),
        limit: storage_limit(parts, &request.host),
    });
    let spare = kind.as_ref().and_then(|kind| parts.spares.take(kind));
    let id = spare.as_ref().map_or_else(ContainerId::random, |spare| spare.id);
    let name = match reserve_name(parts, request.name.as_deref(), id) {
        Ok(name) => name,
        Err(e) => {
            blocking(move || drop(spare)).await?;
            return Err(e);
        }
    };
    fill_in_hostname(&mut request, id, &parts.host.name);
    let record = ContainerRecord {
        id,
        name,
        created: Timestamp::now(),
        image: image.id,
        args,
        network,
        links,
        config: request.config,
        host: request.host,
        state: Default::default(),
        restart_count: 0,
        stopped_by_user: false,
        mounts,
        driver: parts.snapshots.name().to_owned(),
        apparmor_profile,
        platform: "linux".into(),
    };
    let parts = parts.clone();
    to_the_end(async move {
        let mut record = record;
        if let Err(e) = in_place(|| parts.secrets.keep(&id, &mut record.host.secrets)) {
            parts.secrets.remove(&id);
            parts.registry.release(&record.name);
            blocking(move || drop(spare)).await?;
            return Err(e);
        }
        make(&parts, record, own_name, image, spare).await?;
        if let Some(kind) = kind {
            spare::expect_another(&parts, kind);
        }
        Ok(Created { id, warnings })
    })
    .await
}

/// Puts an image that the binary carries into the store, if it is the one asked for and not there.
async fn bring_builtin(parts: &Arc<Parts>, name: &str) -> Result<()> {
    if parts.images.resolve(name).is_ok() {
        return Ok(());
    }
    let Ok(wanted) = name.parse::<Reference>().map(Reference::or_latest) else { return Ok(()) };
    let named = |image: &&BuiltinImage| image.name.parse::<Reference>().is_ok_and(|name| name == wanted);
    let Some(image) = parts.config.builtin_images.iter().find(named).copied() else { return Ok(()) };
    let options = ImportOptions {
        reference: Some(wanted),
        changes: image.changes.iter().map(|change| (*change).to_owned()).collect(),
        message: "carried by the binary".to_owned(),
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..ImportOptions::default()
    };
    let images = parts.images.clone();
    blocking(move || {
        let mut layer = (image.layer)()
            .map_err(|e| Error::Internal(format!("cannot make the image {}: {e}", image.name)))?;
        Ok::<_, Error>(images.import(&mut layer, &options)?)
    })
    .await??;
    Ok(())
}

fn image(parts: &Parts, request: &CreateRequest) -> Result<Image> {
    let image = parts.images.get(&request.config.image)?;
    if request.platform.is_empty() {
        return Ok(image);
    }
    let wanted: Platform = request.platform.parse()?;
    match Platform::of(&image.config).fits(&wanted) {
        true => Ok(image),
        false => Err(not_for(&request.config.image, &image, &wanted)),
    }
}

/// The warning that an image is not for this machine.
fn foreign(image: &Image) -> Option<String> {
    let (have, host) = (Platform::of(&image.config), Platform::processor());
    (!have.fits(&host)).then(|| {
        format!(
            "The requested image's platform ({have}) does not match the detected host platform ({host}) and no specific platform was requested"
        )
    })
}

/// A crash in between leaves a snapshot without a record, which the next start removes, or a record without a snapshot, which gets
/// one when the daemon starts. Volumes are filled before the record is made: it says that they are.
async fn make(
    parts: &Arc<Parts>,
    record: ContainerRecord,
    own_name: bool,
    image: Image,
    spare: Option<Spare>,
) -> Result<()> {
    let container = Container::new(record);
    let without_volumes = container.record().mounts.is_empty();
    let committed = without_volumes.then(|| parts.records.put(&container.record()).at_once());
    let (made, prepared) = oneshot::channel();
    tokio::task::spawn_blocking({
        let (parts, container) = (parts.clone(), container.clone());
        move || {
            let mut ahead = container.ahead();
            let record = container.record().clone();
            let view = || Ok(image.chain.as_ref().map(|chain| parts.snapshots.view(chain)).transpose()?);
            let done = parts.volumes.make(&record, view).and_then(|volumes| {
                if spare.is_none() {
                    prepare(&parts, &record, &image)?;
                }
                Ok(volumes)
            });
            let good = done.is_ok();
            if made.send(done).is_ok() && good && own_name {
                *ahead = match spare {
                    Some(spare) => ahead::adopt(&parts, &record, spare),
                    None => ahead::make(&parts, &container, &record),
                };
            }
        }
    });
    let prepared = prepared.await.unwrap_or_else(|e| Err(Error::Internal(format!("internal failure: {e}"))));
    let made = match prepared {
        Ok(mut volumes) => {
            let queue = || parts.records.put_with_volumes(&container.record(), volumes.records());
            match durable(committed.unwrap_or_else(queue)).await {
                // Renames, if anything: quicker than another thread.
                Ok(()) => volumes.finish().map(|()| volumes),
                Err(e) => {
                    // Undoing them may take a plugin's time.
                    let _ = blocking(move || drop(volumes)).await;
                    Err(e)
                }
            }
        }
        failed => failed,
    };
    let volumes = match made {
        Ok(volumes) => volumes,
        Err(e) => {
            undo(parts, container).await;
            return Err(e);
        }
    };
    tokio::spawn(ahead::let_go(container.clone()));
    parts.registry.insert(container.clone());
    // From here on the container's record keeps them.
    drop(volumes);
    parts.tell(&container, "create", &[]);
    Ok(())
}

/// Removes what was made of a container that could not be created.
async fn undo(parts: &Arc<Parts>, container: Arc<Container>) {
    parts.registry.release(&container.name());
    // A commit that failed may have reached the disk all the same.
    parts.records.delete(&container.id).detach();
    let parts = parts.clone();
    // The snapshot may not be there; what stays although it should not is garbage of the next start.
    let _ = blocking(move || {
        drop(container.ahead().take());
        parts.secrets.remove(&container.id);
        parts.snapshots.remove(&container.id.to_string())
    })
    .await;
}

/// What a container may write into its root file system: what it says, or what the daemon does.
fn storage_limit(parts: &Parts, host: &HostConfig) -> Option<u64> {
    host.storage_size().ok().flatten().or(parts.config.storage_size).filter(|bytes| *bytes > 0)
}

/// Makes the container's snapshot. Blocks.
pub(super) fn prepare(parts: &Parts, record: &ContainerRecord, image: &Image) -> Result<()> {
    let limit = storage_limit(parts, &record.host);
    Ok(parts.snapshots.prepare(&record.id.to_string(), image.chain.as_ref(), record.lifetime(), limit)?)
}

fn reserve_name(parts: &Parts, asked: Option<&str>, id: ContainerId) -> Result<String> {
    if let Some(asked) = asked.filter(|name| !name.is_empty()) {
        let name = asked.strip_prefix('/').unwrap_or(asked);
        validate::name(name, asked)?;
        parts.registry.reserve(name, id)?;
        return Ok(name.to_owned());
    }
    let mut attempt = 0;
    loop {
        let name = names::random(attempt);
        if parts.registry.reserve(&name, id).is_ok() {
            return Ok(name);
        }
        attempt += 1;
    }
}

/// Containers whose namespaces are to be shared are noted by their ids, as names change. They need not run yet, and who lends
/// a network need not be there. Docker calls it a bad request, not a missing container.
fn name_others(parts: &Parts, host: &mut HostConfig) -> Result<()> {
    let found = |mode: &str| mode.strip_prefix("container:").map(|other| parts.registry.resolve(other));
    for mode in [&mut host.pid_mode, &mut host.ipc_mode] {
        if let Some(other) = found(mode) {
            *mode = format!("container:{}", other.map_err(|e| Error::Invalid(e.to_string()))?.id);
        }
    }
    if let Some(Ok(other)) = found(&host.network_mode) {
        host.network_mode = format!("container:{}", other.id);
    }
    Ok(())
}

/// Notes which images `--mount type=image` names.
fn find_images(parts: &Parts, mounts: &mut [MountPoint]) -> Result<()> {
    for mount in mounts.iter_mut().filter(|mount| mount.kind == MountKind::Image && mount.image.is_none()) {
        mount.image = Some(parts.images.get(&mount.name)?.id);
    }
    Ok(())
}

/// `--volumes-from container[:ro|rw]`.
fn inherit_mounts(parts: &Parts, request: &CreateRequest, mounts: &mut Vec<MountPoint>) -> Result<()> {
    for from in request.host.volumes_from.iter().flatten() {
        if from.is_empty() {
            return Err(Error::Invalid("volumes-from specification cannot be an empty string".to_owned()));
        }
        let (other, mode) = from.split_once(':').unwrap_or((from, "rw"));
        let writable = validate::volumes_from_mode(mode)?;
        let container = parts.registry.resolve(other).map_err(|e| Error::Invalid(e.to_string()))?;
        for mount in &container.record().mounts {
            if !mounts.iter().any(|m| m.destination == mount.destination) {
                mounts.push(MountPoint {
                    rw: mount.rw && writable,
                    mode: String::new(),
                    no_copy: true,
                    ..mount.clone()
                });
            }
        }
    }
    Ok(())
}

fn add_image_volumes(config: &ContainerConfig, driver: &str, mounts: &mut Vec<MountPoint>) -> Result<()> {
    for target in &config.volumes {
        let destination = validate::clean_path(target);
        if destination == "/" {
            return Err(Error::Invalid(
                "invalid mount config for type \"volume\": invalid specification: destination can't be '/'"
                    .into(),
            ));
        }
        if mounts.iter().any(|m| m.destination == destination) {
            continue;
        }
        mounts.push(MountPoint {
            kind: MountKind::Volume,
            destination,
            driver: driver.to_owned(),
            rw: true,
            anonymous: true,
            ..MountPoint::default()
        });
    }
    Ok(())
}

fn fill_in_hostname(request: &mut CreateRequest, id: ContainerId, host: &str) {
    if !request.config.hostname.is_empty() {
        return;
    }
    let mode = validate::network_mode(&request.host.network_mode);
    request.config.hostname = match mode {
        NetworkMode::Host => host.to_owned(),
        // Whoever shares another's network gets its name at the start.
        _ => id.short(),
    };
}

/// The container's places in networks: as asked for, by the networks' names where they are known; a network that does not
/// exist is found out at the start, as with Docker.
fn networks(parts: &Parts, request: &CreateRequest) -> Result<NetworkState> {
    let mode = validate::network_mode(&request.host.network_mode);
    let mut state = NetworkState::default();
    if matches!(mode, NetworkMode::Container(_)) {
        return Ok(state);
    }
    let main = match mode {
        NetworkMode::Bridge => "bridge",
        _ => &request.host.network_mode,
    };
    let main_name = parts.networks.resolve(main).map_or_else(|_| main.to_owned(), |n| n.name.clone());
    for (asked, config) in &request.endpoints {
        let network = parts.networks.resolve(if asked == "default" { "bridge" } else { asked });
        if let Ok(network) = &network {
            validate::check_endpoint(network, config).map_err(|faults| {
                let faults = validate::settings_faults(&faults);
                Error::Invalid(format!("invalid config for network {asked}: {faults}"))
            })?;
        }
        let name = network.map_or_else(|_| asked.clone(), |n| n.name.clone());
        let settings = EndpointSettings { config: config.clone(), ..EndpointSettings::default() };
        if state.networks.insert(name.clone(), settings).is_some() {
            return Err(Error::Invalid(format!("network {name} is specified more than once")));
        }
    }
    if state.networks.is_empty() {
        state.networks.insert(main_name.clone(), EndpointSettings::default());
    }
    if matches!(mode, NetworkMode::Host) && state.networks.keys().any(|name| name != "host") {
        return Err(Error::Invalid(
            "container sharing network namespace with another container or host cannot be connected to any other network"
                .into(),
        ));
    }
    if let Some(main) = state.networks.get_mut(&main_name).filter(|n| n.config.mac_address.is_empty()) {
        main.config.mac_address = request.config.mac_address.clone().unwrap_or_default();
    }
    Ok(state)
}
