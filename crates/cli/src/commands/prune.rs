//! `container prune`, `image prune`, `system prune`.

use serde::Deserialize;
use skiff_client::Client;

use super::Call;
use crate::{
    confirm::confirm,
    failure::{Failure, Outcome},
    format::{natural, size},
    options::filters,
    say,
};

/// What one kind of object gave back: lines about what is gone, and bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Freed {
    lines: String,
    space: u64,
}

pub(super) const SURE: &str = "Are you sure you want to continue?";

/// Names under a heading, as docker lists them; nothing without names.
fn list(heading: &str, names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!("{heading}\n{}\n", names.join("\n")) }
}

fn total(space: u64) {
    say::line(&format!("Total reclaimed space: {}", size::human(space as f64, 4)));
}

fn told(freed: &Freed) {
    if !freed.lines.is_empty() {
        say::line(&freed.lines);
    }
}

async fn containers(client: &Client, pairs: &[String]) -> Result<Freed, Failure> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Answer {
        containers_deleted: Option<Vec<String>>,
        space_reclaimed: u64,
    }
    let answer: Answer = client.prune("containers", filters::to_json(pairs).as_deref()).await?;
    let lines = list("Deleted Containers:", &answer.containers_deleted.unwrap_or_default());
    Ok(Freed { lines, space: answer.space_reclaimed })
}

async fn images(client: &Client, pairs: &[String], all: bool) -> Result<Freed, Failure> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Answer {
        images_deleted: Option<Vec<Deleted>>,
        space_reclaimed: u64,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Deleted {
        untagged: String,
        deleted: String,
    }
    let mut pairs = pairs.to_vec();
    pairs.push(format!("dangling={}", !all));
    let answer: Answer = client.prune("images", filters::to_json(&pairs).as_deref()).await?;
    let line = |step: Deleted| match step.untagged.as_str() {
        "" => format!("deleted: {}", step.deleted),
        name => format!("untagged: {name}"),
    };
    let steps: Vec<String> = answer.images_deleted.into_iter().flatten().map(line).collect();
    Ok(Freed { lines: list("Deleted Images:", &steps), space: answer.space_reclaimed })
}

async fn networks(client: &Client, pairs: &[String]) -> Result<Freed, Failure> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Answer {
        networks_deleted: Option<Vec<String>>,
    }
    let answer: Answer = if_there(client.prune("networks", filters::to_json(pairs).as_deref()).await)?;
    let lines = list("Deleted Networks:", &answer.networks_deleted.unwrap_or_default());
    Ok(Freed { lines, space: 0 })
}

async fn volumes(client: &Client, pairs: &[String]) -> Result<Freed, Failure> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Answer {
        volumes_deleted: Option<Vec<String>>,
        space_reclaimed: u64,
    }
    let answer: Answer = if_there(client.prune("volumes", filters::to_json(pairs).as_deref()).await)?;
    let lines = list("Deleted Volumes:", &answer.volumes_deleted.unwrap_or_default());
    Ok(Freed { lines, space: answer.space_reclaimed })
}

async fn build_cache(client: &Client, pairs: &[String], all: bool) -> Result<Freed, Failure> {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    struct Answer {
        caches_deleted: Option<Vec<String>>,
        space_reclaimed: u64,
    }
    let answer: Answer = if_there(client.prune_build(all, filters::to_json(pairs).as_deref()).await)?;
    let lines = list("Deleted build cache objects:", &answer.caches_deleted.unwrap_or_default());
    Ok(Freed { lines, space: answer.space_reclaimed })
}

/// An engine without a kind of object has none of it to remove.
fn if_there<T: Default>(answer: Result<T, skiff_client::Error>) -> Result<T, Failure> {
    match answer {
        Err(error) if error.status() == Some(501) => Ok(T::default()),
        answer => Ok(answer?),
    }
}

/// `docker container prune`.
pub(super) async fn container_prune(call: Call<'_>) -> Outcome {
    let question = format!("WARNING! This will remove all stopped containers.\n{SURE}");
    if !call.matches.on("force") && !confirm(&question) {
        return Ok(());
    }
    let client = call.session.engine().await?;
    let freed = containers(&client, &call.matches.all("filter")).await?;
    told(&freed);
    total(freed.space);
    Ok(())
}

/// `docker image prune`.
pub(super) async fn image_prune(call: Call<'_>) -> Outcome {
    let all = call.matches.on("all");
    let which = if all {
        "all images without at least one container associated to them"
    } else {
        "all dangling images"
    };
    let question = format!("WARNING! This will remove {which}.\n{SURE}");
    if !call.matches.on("force") && !confirm(&question) {
        return Ok(());
    }
    let client = call.session.engine().await?;
    let freed = images(&client, &call.matches.all("filter"), all).await?;
    told(&freed);
    total(freed.space);
    Ok(())
}

/// `docker system prune`.
pub(super) async fn system_prune(call: Call<'_>) -> Outcome {
    let (all, with_volumes) = (call.matches.on("all"), call.matches.on("volumes"));
    let pairs = call.matches.all("filter");
    if with_volumes && pairs.iter().any(|pair| pair.starts_with("until=")) {
        return Err("ERROR: The \"until\" filter is not supported with \"--volumes\"".into());
    }
    if !call.matches.on("force") && !confirm(&warning(all, with_volumes, &pairs)) {
        return Ok(());
    }
    let client = call.session.engine().await?;
    let mut space = 0;
    let mut count = |freed: Freed| {
        told(&freed);
        space += freed.space;
    };
    count(containers(&client, &pairs).await?);
    count(networks(&client, &pairs).await?);
    if with_volumes {
        count(volumes(&client, &pairs).await?);
    }
    count(images(&client, &pairs, all).await?);
    count(build_cache(&client, &pairs, all).await?);
    total(space);
    Ok(())
}

fn warning(all: bool, volumes: bool, pairs: &[String]) -> String {
    let mut items = vec!["all stopped containers", "all networks not used by at least one container"];
    if volumes {
        items.push("all anonymous volumes not used by at least one container");
    }
    items.extend(match all {
        true => ["all images without at least one container associated to them", "all build cache"],
        false => ["all dangling images", "unused build cache"],
    });
    let mut text = "WARNING! This will remove:\n".to_owned();
    for item in items {
        text.push_str(&format!("  - {item}\n"));
    }
    if !pairs.is_empty() {
        let mut pairs = pairs.to_vec();
        pairs.sort_by(|a, b| natural::compare(a, b));
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        for pair in pairs {
            text.push_str(&format!("  - {pair}\n"));
        }
    }
    format!("{text}\n{SURE}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded from docker 28.5.2.
    #[test]
    fn the_warning_says_what_goes() {
        assert_eq!(
            warning(true, true, &[]),
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n  \
             - all anonymous volumes not used by at least one container\n  - all images without at least one container \
             associated to them\n  - all build cache\n\nAre you sure you want to continue?"
        );
        let filtered = warning(false, false, &["until=1h".to_owned(), "label=a".to_owned()]);
        assert!(
            filtered.ends_with(
                "  - unused build cache\n\n  Items to be pruned will be filtered with:\n  - label=a\n  - until=1h\n\nAre \
                 you sure you want to continue?"
            ),
            "{filtered}"
        );
    }

    #[test]
    fn nothing_gone_says_nothing() {
        assert_eq!(list("Deleted Containers:", &[]), "");
        assert_eq!(
            list("Deleted Containers:", &["a".to_owned(), "b".to_owned()]),
            "Deleted Containers:\na\nb\n"
        );
    }
}
