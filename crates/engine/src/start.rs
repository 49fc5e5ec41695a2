//! Starting and ending the engine.

use std::{
    collections::{BTreeMap, HashSet},
    net::IpAddr,
    sync::Arc,
};

use skiff_images::ImageStore;
use skiff_network::{AddressPool, EndpointRecord, NetConfig, Network, Opener};
use skiff_runtime::launcher::Launcher;
use skiff_state::{Batch, Database};
use skiff_types::{ContainerId, NetworkId};
use tokio::sync::{Notify, Semaphore};

use crate::{
    BridgeConfig, Config, Containers, Error, Events, Execs, Images, Networks, Registries, Result, Stats,
    System, Volumes,
    budget::{self, Budget},
    container::Container,
    containers::{Departed, Forwarders, LauncherSlot, MOST_AHEAD, Parts, Spares, blocking, noted},
    host::Host,
    last_use::{self, LastUse},
    metrics::Counters,
    model::{ContainerRecord, Timestamp, UserNetwork},
    networks::NetworkIndex,
    prune::Turn,
    records::{
        Boot, CONTAINERS, ENDPOINTS, ENGINE, Endpoints, IDENTITY, Identity, LAST_USE, NETWORKS, Records,
        SCHEMA, VOLUMES,
    },
    registry::Registry,
    seccomp::Filters,
    secrets::Secrets,
};

/// The services, wired.
#[derive(Clone)]
pub struct Engine {
    /// Containers.
    pub containers: Containers,
    /// Processes started inside containers.
    pub execs: Execs,
    /// Images.
    pub images: Images,
    /// Registries: pull, push, sign in, search.
    pub registries: Registries,
    /// Networks.
    pub networks: Networks,
    /// Volumes.
    pub volumes: Volumes,
    /// What happened.
    pub events: Events,
    /// The daemon and its host.
    pub system: System,
    /// What containers use.
    pub stats: Stats,
    records: Records,
    spares: Arc<Spares>,
    last_use: Arc<LastUse>,
}

impl Engine {
    /// Opens the store, probes the host, starts the launcher and takes over what runs. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// A store that is damaged, newer or in use, a kernel without what containers need, a launcher that does not start.
    pub async fn start(config: Config) -> Result<Engine> {
        let handle = tokio::runtime::Handle::current();
        let opened = blocking(move || {
            let _context = handle.enter();
            open(config)
        })
        .await??;
        let Opened { parts, events } = opened;
        collect_garbage(&parts);
        last_use::keep(&parts);
        let engine = Self {
            images: Images::new(&parts),
            registries: Registries::new(&parts),
            networks: Networks::new(parts.clone()),
            volumes: parts.volumes.clone(),
            execs: Execs::new(parts.clone()),
            system: System::new(parts.clone(), events.clone()),
            stats: Stats::new(parts.clone()),
            records: parts.records.clone(),
            spares: parts.spares.clone(),
            last_use: parts.last_use.clone(),
            containers: Containers::new(parts.clone()),
            events,
        };
        engine.containers.reconcile().await?;
        budget::keep(&parts);
        Ok(engine)
    }

    /// Writes what is not written yet and lets go. Containers go on.
    pub async fn shutdown(&self) {
        let (records, spares) = (self.records.clone(), self.spares.clone());
        self.last_use.write().await;
        let close = move || {
            spares.close();
            records.close();
        };
        // Nobody is left to be told of a panic.
        let _ = blocking(close).await;
    }
}

struct Opened {
    parts: Arc<Parts>,
    events: Events,
}

/// Everything that blocks. The launcher's copy of our binary is made while the stores are opened.
fn open(config: Config) -> Result<Opened> {
    let launcher = std::thread::spawn(Launcher::spawn);
    for dir in [&config.root, &config.run] {
        private_dir(dir)?;
        private_dir(&dir.join("containers"))?;
    }
    let host = Host::probe()?;
    let store = Database::open(&config.root.join("state.redb"), &SCHEMA)
        .map_err(|e| Error::Internal(store_text(&e)))?;
    let read = |e: skiff_state::OpenError| Error::Internal(store_text(&e));
    let identity = store.all(&ENGINE).map_err(read)?.pop().map(|(_, identity)| identity);
    let boot = Boot::read(&store)?;
    let mut containers: BTreeMap<_, _> = store.all(&CONTAINERS).map_err(read)?.into_iter().collect();
    let mut endpoints: BTreeMap<_, _> = store.all(&ENDPOINTS).map_err(read)?.into_iter().collect();
    let noted = |record: &ContainerRecord| noted::read(record, &config.run_dir(&record.id));
    let noted: Vec<_> = match boot.is_new {
        true => Vec::new(),
        false => containers.values().filter_map(noted).collect(),
    };
    for (record, own) in &noted {
        containers.insert(record.id.to_string(), record.clone());
        endpoints.insert(record.id.to_string(), Endpoints::All(own.clone()));
    }
    // A child of a parent link is there for as long as its container is known to run: one without a container would be for ever.
    let known: HashSet<ContainerId> = containers.values().map(|record| record.id).collect();
    let endpoints = endpoints.into_values().flat_map(Vec::from);
    let endpoints =
        endpoints.filter(|endpoint: &EndpointRecord| known.contains(&endpoint.container)).collect();
    let made: Vec<UserNetwork> = store.all(&NETWORKS).map_err(read)?.into_iter().map(|(_, n)| n).collect();
    let volumes = store.all(&VOLUMES).map_err(read)?.into_iter().map(|(_, v)| v).collect();
    let last_use = store.all(&LAST_USE).map_err(read)?;
    let writer = store.into_writer().map_err(read)?;
    let identity = match identity {
        Some(identity) => identity,
        None => {
            let identity = new_identity();
            writer.commit(Batch::new().put(&ENGINE, IDENTITY, &identity)).wait()?;
            identity
        }
    };
    let snapshots = skiff_snapshots::open(&config.root.join("snapshots"), config.storage_driver.as_deref())?;
    if config.storage_size.is_some() && !snapshots.can_limit() {
        return Err(Error::Internal(
            "Storage option overlay2.size not supported: the file system does not enforce project quotas"
                .into(),
        ));
    }
    let images = Arc::new(ImageStore::open(&config.root.join("images"), snapshots.clone())?);
    let carried = made.iter().filter_map(|network| network.network.clone()).collect();
    let network = Arc::new(Network::open(
        NetConfig { run: config.run.clone(), ..net_config(&config.bridge, identity.bridge)? },
        carried,
        endpoints,
    )?);
    let bridge = network.bridge().zip(network.net(&identity.bridge));
    let networks = NetworkIndex::new(&identity, bridge, made);
    let registry = Arc::new(Registry::default());
    for mut record in containers.into_values() {
        if registry.reserve(&record.name, record.id).is_err() {
            // Not to be, but no reason for all the others not to come up.
            let name = std::mem::replace(&mut record.name, record.id.short());
            tracing::error!(container = record.name, "two containers are called {name}: this one is renamed");
            registry.reserve(&record.name, record.id)?;
        }
        registry.insert(Container::new(record));
    }
    let launcher = launcher
        .join()
        .map_err(|_| Error::Internal("cannot start the launcher".into()))?
        .map_err(|e| Error::Internal(format!("cannot start the launcher: {e}")))?;
    let events = Events::open(&config.root);
    let records = Records::new(writer);
    for (record, endpoints) in &noted {
        records.put_with_endpoints(record, endpoints).detach();
    }
    let intents = records.clone();
    network.keep_intents_by(move |container, endpoints| {
        if let Err(e) = intents.put_endpoints(container, endpoints).wait() {
            tracing::warn!("what is about to be made for container {} is not kept: {e}", container.short());
        }
    });
    let volumes = Volumes::open(
        &config.root.join("volumes"),
        volumes,
        records.clone(),
        events.clone(),
        registry.clone(),
    )?;
    let init_binary = match &config.init_path {
        Some(path) => path.clone(),
        None => std::env::current_exe()?,
    };
    let parts = Parts {
        host,
        identity,
        boot,
        registry,
        records: records.clone(),
        events: events.clone(),
        images,
        snapshots,
        network,
        networks,
        volumes,
        launcher: LauncherSlot::new(launcher),
        filters: Filters::default(),
        opener: Opener::default(),
        secrets: Secrets::new(&config.run),
        init_binary,
        pruning: Turn::default(),
        counters: Counters::default(),
        forwarders: Forwarders::new(&config.root),
        garbage: Arc::new(Notify::new()),
        departed: Departed::default(),
        ahead: Arc::new(Semaphore::new(MOST_AHEAD)),
        spares: Arc::default(),
        last_use: LastUse::new(last_use, records.clone()),
        budget: Budget::new(config.disk_budget),
        config,
    };
    Ok(Opened { parts: Arc::new(parts), events })
}

/// The directories of containers are nobody else's business: 0710, as Docker's.
fn private_dir(dir: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if !dir.exists() {
        fs_err::create_dir_all(dir)?;
        fs_err::set_permissions(dir, std::fs::Permissions::from_mode(0o710))?;
    }
    Ok(())
}

fn store_text(error: &skiff_state::OpenError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn new_identity() -> Identity {
    Identity {
        id: uuid(),
        created: Timestamp::now(),
        bridge: NetworkId::random(),
        host: NetworkId::random(),
        none: NetworkId::random(),
    }
}

/// A random UUID, as Docker's engine id looks.
fn uuid() -> String {
    let mut b: [u8; 16] = rand::random();
    b[6] = b[6] & 0x0f | 0x40;
    b[8] = b[8] & 0x3f | 0x80;
    let hex: String = b.iter().map(|b| format!("{b:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn net_config(bridge: &BridgeConfig, id: NetworkId) -> Result<NetConfig> {
    let bad = |what: &str, value: &str| Error::Invalid(format!("invalid {what}: {value}"));
    let net = |what: &str, value: &Option<String>| {
        value.as_ref().map(|v| v.parse().map_err(|_| bad(what, v))).transpose()
    };
    let net6 = |what: &str, value: &Option<String>| {
        let value = value.as_ref().filter(|_| bridge.ipv6);
        value
            .map(|v| v.parse().map_err(|_| bad(what, &format!("{v:?} is not a valid IPv6 subnet"))))
            .transpose()
    };
    let mut pools = Vec::new();
    for (base, size) in &bridge.default_address_pools {
        let pool =
            AddressPool { base: base.parse().map_err(|_| bad("default address pool", base))?, size: *size };
        if !pool.fits() {
            return Err(bad("default address pool", &format!("{base}: subnets of size {size} do not fit")));
        }
        pools.push(pool);
    }
    Ok(NetConfig {
        bridge: bridge.name.clone(),
        bip: net("bridge IP", &bridge.bip)?,
        fixed_cidr: net("fixed CIDR", &bridge.fixed_cidr)?,
        ipv6: bridge.ipv6,
        bip6: net6("bip6", &bridge.bip6)?,
        fixed_cidr6: net6("fixed-cidr-v6", &bridge.fixed_cidr6)?,
        default_gateway6: bridge.default_gateway6.filter(|_| bridge.ipv6),
        default_address_pools: pools,
        icc: bridge.icc,
        ip_masq: bridge.ip_masquerade,
        ip_forward: bridge.ip_forward,
        ip_forward_no_drop: bridge.ip_forward_no_drop,
        allow_direct_routing: bridge.allow_direct_routing,
        userland_proxy: bridge.userland_proxy,
        default_gateway: bridge.default_gateway,
        firewall: bridge.firewall,
        respect_host: bridge.respect_host,
        default_bind_address: bridge.default_binding.unwrap_or(IpAddr::from([0, 0, 0, 0])),
        mtu: bridge.mtu,
        ..NetConfig::new(id)
    })
}

/// Frees what was removed, some time after it was.
fn collect_garbage(parts: &Arc<Parts>) {
    /// So that many removals cost one collection.
    const DELAY: std::time::Duration = std::time::Duration::from_millis(100);
    let (garbage, snapshots) = (parts.garbage.clone(), Arc::downgrade(&parts.snapshots));
    tokio::spawn(async move {
        loop {
            garbage.notified().await;
            tokio::time::sleep(DELAY).await;
            let Some(snapshots) = snapshots.upgrade() else { return };
            match blocking(move || snapshots.collect_garbage()).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => tracing::warn!("cannot collect garbage of snapshots: {e}"),
                Err(e) => tracing::warn!("cannot collect garbage of snapshots: {e}"),
            }
        }
    });
}
