//! `stats`: what containers use, once or as a table that stays up to date.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::Deserialize;
use skiff_client::{Client, ListContainers};

use super::Call;
use crate::{
    failure::{Failure, Outcome},
    format::size,
    listing::{Listing, short_id},
    options::filters,
    say,
    template::Value,
};

const TABLE: &str = "table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}";

/// Time between two tables.
const EVERY: Duration = Duration::from_millis(500);
/// How long the first figures are waited for.
const FIRST: Duration = Duration::from_secs(4);

static LISTING: Listing = Listing {
    row_type: "container.statsContext",
    headers: &[
        ("Container", "CONTAINER"),
        ("Name", "NAME"),
        ("ID", "CONTAINER ID"),
        ("CPUPerc", "CPU %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("MemPerc", "MEM %"),
        ("NetIO", "NET I/O"),
        ("BlockIO", "BLOCK I/O"),
        ("PIDs", "PIDS"),
    ],
};

/// The answer, as far as it is shown.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Stats {
    name: String,
    id: String,
    pids_stats: Pids,
    blkio_stats: BlockIo,
    cpu_stats: Cpu,
    precpu_stats: Cpu,
    memory_stats: Memory,
    networks: Option<BTreeMap<String, Interface>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Pids {
    current: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct BlockIo {
    io_service_bytes_recursive: Option<Vec<BlockIoEntry>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct BlockIoEntry {
    op: String,
    value: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Cpu {
    cpu_usage: CpuUsage,
    system_cpu_usage: u64,
    online_cpus: u32,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct CpuUsage {
    total_usage: u64,
    percpu_usage: Option<Vec<u64>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Memory {
    usage: u64,
    limit: u64,
    stats: Option<BTreeMap<String, u64>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Interface {
    rx_bytes: u64,
    tx_bytes: u64,
}

impl Stats {
    /// Per cent of one processor.
    fn cpu(&self) -> f64 {
        let delta = |now: u64, before: u64| now as f64 - before as f64;
        let (now, before) = (&self.cpu_stats, &self.precpu_stats);
        let used = delta(now.cpu_usage.total_usage, before.cpu_usage.total_usage);
        let all = delta(now.system_cpu_usage, before.system_cpu_usage);
        let cpus = match now.online_cpus {
            0 => now.cpu_usage.percpu_usage.as_ref().map_or(0, Vec::len) as f64,
            cpus => f64::from(cpus),
        };
        if used > 0.0 && all > 0.0 { used / all * cpus * 100.0 } else { 0.0 }
    }

    /// Without the part of the page cache that would be given up first.
    fn memory(&self) -> u64 {
        let usage = self.memory_stats.usage;
        let stats = self.memory_stats.stats.as_ref();
        let inactive = ["total_inactive_file", "inactive_file"]
            .iter()
            .find_map(|key| stats?.get(*key).copied().filter(|inactive| *inactive < usage));
        usage - inactive.unwrap_or(0)
    }

    fn memory_share(&self) -> f64 {
        match self.memory_stats.limit {
            0 => 0.0,
            limit => self.memory() as f64 / limit as f64 * 100.0,
        }
    }

    fn network(&self) -> (u64, u64) {
        let all = || self.networks.iter().flatten().map(|(_, interface)| interface);
        (all().map(|i| i.rx_bytes).sum(), all().map(|i| i.tx_bytes).sum())
    }

    fn block_io(&self) -> (u64, u64) {
        let of = |first: char| {
            let entries = self.blkio_stats.io_service_bytes_recursive.iter().flatten();
            entries.filter(|e| e.op.to_ascii_lowercase().starts_with(first)).map(|e| e.value).sum()
        };
        (of('r'), of('w'))
    }
}

/// A container that is watched.
#[derive(Clone, Debug, Default)]
struct Watched {
    /// As it was asked for.
    container: String,
    stats: Option<Stats>,
    /// Why there are none.
    error: Option<String>,
}

type Shared = Arc<Mutex<Vec<Watched>>>;

/// `docker stats`.
pub(super) async fn stats(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let all = matches.on("all");
    let once = matches.on("no-stream");
    let truncate = !matches.on("no-trunc");
    let format = match matches.text("format") {
        "" if session.config.stats_format.is_empty() => TABLE,
        "" => session.config.stats_format.as_str(),
        "table" => TABLE,
        given => given,
    };
    LISTING.render(format, &[row(&Watched::default(), truncate)])?;
    let client = session.engine().await?;
    if once {
        return self::once(&client, args, all, format, truncate).await;
    }
    let watched = Shared::default();
    let names = if args.is_empty() { containers(&client, all).await? } else { args.to_vec() };
    for name in names {
        watch(&client, &watched, name);
    }
    if args.is_empty() {
        tokio::spawn(follow(client.clone(), watched.clone(), all));
    }
    live(&watched, !args.is_empty(), format, truncate).await
}

async fn containers(client: &Client, all: bool) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Listed {
        id: String,
    }
    let bytes = client.containers(ListContainers { all, ..ListContainers::default() }).await?;
    let listed: Vec<Listed> =
        serde_json::from_slice(&bytes).map_err(|e| Failure::new(format!("decoding the list: {e}")))?;
    Ok(listed.into_iter().map(|container| container.id).collect())
}

async fn once(client: &Arc<Client>, args: &[String], all: bool, format: &str, truncate: bool) -> Outcome {
    let names = if args.is_empty() { containers(client, all).await? } else { args.to_vec() };
    let asked = names.into_iter().map(|name| {
        let client = client.clone();
        async move {
            let stats = client.container_stats_once::<Stats>(&name).await;
            (name, stats)
        }
    });
    let (mut rows, mut errors) = (Vec::new(), Vec::new());
    for (container, stats) in futures_util::future::join_all(asked).await {
        match stats {
            Ok(stats) => rows.push(row(&Watched { container, stats: Some(stats), error: None }, truncate)),
            // One that was removed while all of them were asked for is none of all.
            Err(error) if args.is_empty() && error.is_not_found() => {}
            Err(error) => errors.push(error.to_string()),
        }
    }
    if !errors.is_empty() {
        return Err(Failure::new(errors.join("\n")));
    }
    LISTING.print(format, &rows)
}

/// Watches a container from now on, in a task of its own. It leaves the table when its stream ends.
fn watch(client: &Arc<Client>, watched: &Shared, container: String) {
    {
        let mut all = watched.lock().expect("no panic under this lock");
        if all.iter().any(|w| w.container == container) {
            return;
        }
        all.push(Watched { container: container.clone(), ..Watched::default() });
    }
    let (client, watched) = (client.clone(), watched.clone());
    tokio::spawn(async move {
        let change = |change: &dyn Fn(&mut Watched)| {
            let mut all = watched.lock().expect("no panic under this lock");
            if let Some(entry) = all.iter_mut().find(|w| w.container == container) {
                change(entry);
            }
        };
        let ended = async {
            let mut lines = client.container_stats(&container).await?;
            while let Some(stats) = lines.next::<Stats>().await? {
                change(&|entry| entry.stats = Some(stats.clone()));
            }
            Ok::<_, skiff_client::Error>(())
        };
        match ended.await {
            Ok(()) => forget(&watched, &container),
            Err(error) => change(&|entry| (entry.stats, entry.error) = (None, Some(error.to_string()))),
        }
    });
}

fn forget(watched: &Shared, container: &str) {
    watched.lock().expect("no panic under this lock").retain(|w| w.container != container);
}

/// Containers come and go while everything is watched.
async fn follow(client: Arc<Client>, watched: Shared, all: bool) {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Event {
        #[serde(rename = "Action")]
        action: String,
        #[serde(rename = "Actor")]
        actor: Actor,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Actor {
        #[serde(rename = "ID")]
        id: String,
    }
    let filters = filters::to_json(&["type=container".to_owned()]);
    let Ok(mut events) = client.events(None, None, filters.as_deref()).await else { return };
    while let Ok(Some(event)) = events.next::<Event>().await {
        match event.action.as_str() {
            "start" => watch(&client, &watched, event.actor.id),
            "create" if all => watch(&client, &watched, event.actor.id),
            "destroy" => forget(&watched, &event.actor.id),
            "die" if !all => forget(&watched, &event.actor.id),
            _ => {}
        }
    }
}

/// Shows the table again and again, in place.
async fn live(watched: &Shared, named: bool, format: &str, truncate: bool) -> Outcome {
    let began = tokio::time::Instant::now();
    let snapshot = || watched.lock().expect("no panic under this lock").clone();
    // The first table has figures, unless they do not come.
    while snapshot().iter().any(|w| w.stats.is_none() && w.error.is_none()) && began.elapsed() < FIRST {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let errors: Vec<String> = snapshot().into_iter().filter_map(|w| w.error).collect();
    if named && !errors.is_empty() {
        return Err(Failure::new(errors.join("\n")));
    }
    let mut clock = tokio::time::interval(EVERY);
    loop {
        clock.tick().await;
        let now = snapshot();
        if named && now.is_empty() {
            return Ok(());
        }
        let rows: Vec<Value> = now.iter().map(|w| row(w, truncate)).collect();
        let text = LISTING.render(format, &rows)?;
        // Home; each line with what is left of its former self erased; nothing below.
        let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
        say::print(format!("\x1b[H{lines}\x1b[J").as_bytes());
    }
}

fn row(watched: &Watched, truncate: bool) -> Value {
    let stats = watched.stats.as_ref();
    let shown = |text: &dyn Fn(&Stats) -> String, none: &str| {
        Value::text(stats.map_or_else(|| none.to_owned(), text))
    };
    let pair = |(a, b): (u64, u64)| format!("{} / {}", size::human(a as f64, 3), size::human(b as f64, 3));
    let id = stats.map_or("", |stats| stats.id.as_str());
    let name = stats.and_then(|stats| stats.name.strip_prefix('/')).filter(|name| !name.is_empty());
    LISTING.row(vec![
        ("BlockIO", shown(&|s| pair(s.block_io()), "--")),
        ("CPUPerc", shown(&|s| format!("{:.2}%", s.cpu()), "--")),
        ("Container", Value::text(&watched.container)),
        ("ID", Value::text(if truncate { short_id(id) } else { id })),
        ("MemPerc", shown(&|s| format!("{:.2}%", s.memory_share()), "--")),
        (
            "MemUsage",
            shown(
                &|s| {
                    let limit = s.memory_stats.limit as f64;
                    format!("{} / {}", size::binary(s.memory() as f64), size::binary(limit))
                },
                "-- / --",
            ),
        ),
        ("Name", Value::text(name.unwrap_or("--"))),
        ("NetIO", shown(&|s| pair(s.network()), "--")),
        ("PIDs", shown(&|s| s.pids_stats.current.to_string(), "--")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(json: &str) -> Stats {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn rates_and_shares_are_dockers() {
        let v1 = stats(
            r#"{"cpu_stats":{"cpu_usage":{"total_usage":500},"system_cpu_usage":4000,"online_cpus":2},
                "precpu_stats":{"cpu_usage":{"total_usage":250},"system_cpu_usage":2000},
                "memory_stats":{"usage":1000,"limit":2000,"stats":{"total_inactive_file":500}},
                "networks":{"eth0":{"rx_bytes":1,"tx_bytes":2},"eth1":{"rx_bytes":10,"tx_bytes":20}},
                "blkio_stats":{"io_service_bytes_recursive":[{"op":"Read","value":3},{"op":"write","value":4},{"op":"Total","value":7}]}}"#,
        );
        assert_eq!((v1.cpu(), v1.memory(), v1.memory_share()), (25.0, 500, 25.0));
        assert_eq!((v1.network(), v1.block_io()), ((11, 22), (3, 4)));
        let idle = stats(r#"{"name":"/web","blkio_stats":{"io_service_bytes_recursive":null}}"#);
        assert_eq!((idle.cpu(), idle.memory(), idle.memory_share()), (0.0, 0, 0.0));
    }
}
