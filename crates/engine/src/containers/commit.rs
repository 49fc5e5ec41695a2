//! Commit: an image of what a container changed.

use std::sync::Arc;

use skiff_images::{CommitOptions, ContainerConfig as ImageConfig, Reference, apply_changes};

use super::{
    merge,
    parts::{Parts, blocking, to_the_end},
    stop,
};
use crate::{
    Error, Result,
    container::Container,
    images::{self, image_config},
    model::{Actor, ContainerConfig, ContainerRecord, EventKind, Status},
};

/// What `commit` is asked for.
#[derive(Clone, Debug, Default)]
pub struct CommitRequest {
    /// The container, by name or id.
    pub container: String,
    /// The new image's name; empty for none.
    pub repository: String,
    /// The new image's tag; empty for `latest`.
    pub tag: String,
    /// Who made it.
    pub author: String,
    /// What is said about it.
    pub comment: String,
    /// Whether the container stands still meanwhile.
    pub pause: bool,
    /// Dockerfile instructions that change the configuration.
    pub changes: Vec<String>,
    /// A configuration that goes before the container's; none for the container's own.
    pub config: Option<ContainerConfig>,
}

pub(super) async fn commit(parts: &Arc<Parts>, request: CommitRequest) -> Result<String> {
    let reference = images::new_name(&request.repository, &request.tag)?;
    if request.container.is_empty() {
        return Err(Error::Invalid("invalid name or ID supplied: \"\"".into()));
    }
    let container = parts.registry.resolve(&request.container)?;
    let config = config(&container.record(), &request)?;
    let parts = parts.clone();
    to_the_end(async move {
        // The room that the image needs is not found where it comes from.
        let _needed = container.needed();
        may_commit(&container)?;
        let held = match request.pause && container.status() == Status::Running {
            true => Held::pause(&parts, &container).await,
            false => None,
        };
        let done = make(&parts, &container, &request, reference, config).await;
        if let Some(held) = held {
            held.release().await;
        }
        done
    })
    .await
}

fn may_commit(container: &Container) -> Result<()> {
    let id = container.id;
    if container.status() == Status::Dead {
        return Err(Error::Conflict(format!("You cannot commit container {id} which is Dead")));
    }
    if container.is_being_removed() {
        return Err(Error::Conflict(format!("You cannot commit container {id} which is being removed")));
    }
    Ok(())
}

/// A container that stands still while it is committed. Its record does not say so: should this daemon be killed, the next
/// one finds a container that is to run, and lets it.
struct Held<'a> {
    parts: &'a Arc<Parts>,
    container: &'a Arc<Container>,
}

impl<'a> Held<'a> {
    /// Nothing if it cannot be paused: it may have ended, or somebody else has paused it.
    async fn pause(parts: &'a Arc<Parts>, container: &'a Arc<Container>) -> Option<Self> {
        stop::hold(parts, container).await.ok()?;
        Some(Self { parts, container })
    }

    async fn release(self) {
        // It may have ended meanwhile, or somebody has let it go.
        let _ = stop::unpause(self.parts, &self.container.id.to_string()).await;
    }
}

/// The new image's configuration: what the request says, then the instructions, then what the container has.
fn config(record: &ContainerRecord, request: &CommitRequest) -> Result<ImageConfig> {
    let of_container = image_config(&record.config);
    let mut config = request.config.as_ref().map_or_else(|| of_container.clone(), image_config);
    apply_changes(&mut config, &request.changes)?;
    let mut merged = images::container_config(&config);
    // Nothing to run is no mistake of an image.
    let _ = merge::with_image(&mut merged, &of_container);
    Ok(image_config(&merged))
}

async fn make(
    parts: &Arc<Parts>,
    container: &Arc<Container>,
    request: &CommitRequest,
    reference: Option<Reference>,
    config: ImageConfig,
) -> Result<String> {
    let record = container.record().clone();
    let labels = config.labels.clone().unwrap_or_default();
    let name = reference.as_ref().map(|r| r.clone().or_latest().familiar());
    let options = CommitOptions {
        parent: record.image,
        reference,
        config,
        container: record.id.to_string(),
        container_config: image_config(&record.config),
        author: request.author.clone(),
        comment: request.comment.clone(),
        created: None,
        engine_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let id = {
        let parts = parts.clone();
        blocking(move || {
            let mut changes = parts.snapshots.diff(&record.id.to_string())?;
            Ok::<_, Error>(parts.images.commit(&mut *changes, &options)?)
        })
        .await??
    };
    let id = id.digest().to_string();
    let tell = |action: &str, name: &str| {
        let mut attributes = labels.clone();
        attributes.insert("name".into(), name.to_owned());
        parts.events.publish(EventKind::Image, action, Actor { id: id.clone(), attributes });
    };
    tell("create", &id);
    if let Some(name) = &name {
        tell("tag", name);
    }
    let told = [
        ("comment", request.comment.clone()),
        ("imageID", id.clone()),
        ("imageRef", name.unwrap_or_default()),
    ];
    parts.tell(container, "commit", &told);
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::tests::record;

    fn of(config: Option<ContainerConfig>, changes: &[&str]) -> ImageConfig {
        let mut record = record(&"a".repeat(64), "c");
        record.config = ContainerConfig {
            hostname: "hh".into(),
            cmd: Some(vec!["sleep".into()]),
            env: vec!["A=b".into()],
            working_dir: "/d".into(),
            on_build: Some(vec!["RUN x".into()]),
            stop_timeout: Some(3),
            ..ContainerConfig::default()
        };
        let changes = changes.iter().map(|c| (*c).to_owned()).collect();
        config_of(&record, CommitRequest { config, changes, ..CommitRequest::default() })
    }

    fn config_of(record: &ContainerRecord, request: CommitRequest) -> ImageConfig {
        config(record, &request).unwrap()
    }

    /// Recorded from Docker 28.5.2.
    #[test]
    fn the_body_comes_before_the_container_and_instructions_before_both() {
        let own = of(None, &[]);
        assert_eq!((own.hostname.as_str(), own.stop_timeout), ("hh", Some(3)));
        assert_eq!(own.labels, Some(Default::default()));
        let asked = ContainerConfig { env: vec!["B=1".into()], ..ContainerConfig::default() };
        let body = of(Some(asked), &["CMD x y"]);
        assert_eq!((body.hostname.as_str(), body.stop_timeout, body.on_build), ("", None, None));
        assert_eq!(body.env, Some(vec!["B=1".to_owned(), "A=b".to_owned()]));
        assert_eq!(body.cmd, Some(["/bin/sh", "-c", "x y"].map(str::to_owned).to_vec()));
        assert_eq!(body.working_dir, "/d");
        let entry = of(None, &["ENTRYPOINT /e", "WORKDIR rel"]);
        assert_eq!(entry.cmd, None);
        assert_eq!(entry.working_dir, "/d/rel");
    }
}
