//! `tag` and `rmi`.

use serde::Deserialize;
use skiff_client::Query;

use super::Call;
use crate::{
    failure::{Failure, Outcome},
    options::platform::Platform,
    reference::Reference,
    say,
};

/// `docker tag`.
pub(super) async fn tag(call: Call<'_>) -> Outcome {
    let [source, target] = call.args else { return Ok(()) };
    let wrong = |which: &str, name: &str, e: String| {
        Failure::new(format!("Error parsing reference: {name:?} is not a valid {which}: {e}"))
    };
    Reference::parse(source).map_err(|e| wrong("repository/tag", source, e))?;
    match Reference::parse(target).map_err(|e| wrong("repository/tag", target, e))? {
        Reference::Named { digest: None, .. } => {}
        _ => return Err("refusing to create a tag with a digest reference".into()),
    }
    let client = call.session.engine().await?;
    let (repository, tag) = super::create::split_tag(target);
    Ok(client.image_tag(source, repository, tag).await?)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Removed {
    #[serde(default)]
    deleted: String,
    #[serde(default)]
    untagged: String,
}

/// `docker rmi`.
pub(super) async fn rm(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let mut query = Query::new().flag("force", matches.on("force")).flag("noprune", matches.on("no-prune"));
    for platform in matches.all("platform") {
        query = query.with("platforms", Platform::parse(&platform)?.to_json());
    }
    let client = session.engine().await?;
    let (mut errors, mut fatal) = (Vec::new(), false);
    for name in args {
        match client.image_remove(name, query.clone()).await {
            Ok(bytes) => {
                let removed: Vec<Removed> =
                    serde_json::from_slice(&bytes).map_err(|e| Failure::new(e.to_string()))?;
                for item in removed {
                    match item.deleted.as_str() {
                        "" => say::line(&format!("Untagged: {}", item.untagged)),
                        deleted => say::line(&format!("Deleted: {deleted}")),
                    }
                }
            }
            Err(error) => {
                fatal |= !error.is_not_found();
                errors.push(error.to_string());
            }
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let message = errors.join("\n");
    // By force, it is enough that they are gone.
    if matches.on("force") && !fatal {
        say::error(&message);
        return Ok(());
    }
    Err(Failure::new(message))
}
