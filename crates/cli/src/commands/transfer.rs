//! Images in and out: `load`, `save`, `import`, `pull`, `push`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    os::fd::AsFd,
    path::Path,
};

use bytes::Bytes;
use serde::Deserialize;
use skiff_client::{Client, Query, Response};
use tokio::{fs::File, io::AsyncRead, sync::mpsc};

use super::{Call, create};
use crate::{
    credentials::{header, server_of},
    failure::{Failure, Outcome},
    options::{env, platform::Platform},
    progress,
    reference::Reference,
    say,
    streams::{Output, terminal},
};

type Archive = Box<dyn AsyncRead + Send + Unpin>;

async fn open(path: &str) -> Result<Archive, Failure> {
    match File::open(path).await {
        Ok(file) => Ok(Box::new(file)),
        Err(error) => Err(Failure::new(env::go_open_error(path, &error))),
    }
}

fn stdin() -> Result<Archive, Failure> {
    let fd = std::io::stdin().as_fd().try_clone_to_owned()?;
    Ok(Box::new(File::from_std(fd.into())))
}

fn platform_json(call: Call<'_>) -> Result<Option<String>, Failure> {
    match call.matches.some("platform") {
        Some(text) => {
            let platform = Platform::parse(text).map_err(|e| format!("invalid platform: {e}"))?;
            Ok(Some(platform.to_json()))
        }
        None => Ok(None),
    }
}

/// `docker load`.
pub(super) async fn load(call: Call<'_>) -> Outcome {
    let Call { session, matches, .. } = call;
    let archive: Archive = match matches.text("input") {
        "" if terminal::stdin_is_terminal() => {
            return Err("requested load from stdin, but stdin is empty".into());
        }
        "" => stdin()?,
        path => open(path).await?,
    };
    let quiet = matches.on("quiet") || !terminal::stdout_is_terminal();
    let query = Query::new().with("quiet", if quiet { "1" } else { "0" });
    let query = query.maybe("platform", platform_json(call)?);
    let client = session.engine().await?;
    let mut response = client.image_load(query, archive).await?;
    if response.header("content-type") == Some("application/json") {
        return progress::show(response.json_lines(), Output::Stdout, false, |_| Ok(())).await;
    }
    while let Some(chunk) = response.chunk().await? {
        Output::Stdout.write_all(&chunk).await?;
    }
    Ok(())
}

/// `docker save`.
pub(super) async fn save(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let path = matches.text("output");
    if path.is_empty() && terminal::stdout_is_terminal() {
        return Err("cowardly refusing to save to a terminal. Use the -o flag or redirect".into());
    }
    let platform = platform_json(call)?;
    let client = session.engine().await?;
    let target = match path {
        "" => None,
        path => Some(NewFile::create(Path::new(path), "failed to save image")?),
    };
    let response = client.image_save(args, platform.as_deref()).await?;
    if let Some(file) = target {
        return file.fill(response).await;
    }
    copy_to_stdout(response).await
}

/// Writes a body to standard output.
pub(super) async fn copy_to_stdout(mut response: Response) -> Outcome {
    while let Some(chunk) = response.chunk().await? {
        Output::Stdout.write_all(&chunk).await?;
    }
    Ok(())
}

/// A file that takes its name only once it is complete.
pub(super) struct NewFile {
    file: std::fs::File,
    temporary: std::path::PathBuf,
    path: std::path::PathBuf,
    done: bool,
}

impl NewFile {
    /// Errors begin with `failed`.
    pub(super) fn create(path: &Path, failed: &str) -> Result<Self, Failure> {
        use std::os::unix::fs::OpenOptionsExt;
        let failed = |why: String| Failure::new(format!("{failed}: {why}"));
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if !directory.is_dir() {
            return Err(failed(format!(
                "invalid output path: stat {}: no such file or directory",
                directory.display()
            )));
        }
        if path.exists() && !path.is_file() {
            // A device or a pipe is written to as it is.
            let file =
                std::fs::OpenOptions::new().write(true).open(path).map_err(|e| failed(e.to_string()))?;
            return Ok(Self { file, temporary: path.into(), path: path.into(), done: true });
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = directory.join(format!(".tmp-{name}{}", std::process::id()));
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(|e| failed(env::go_open_error(&path.to_string_lossy(), &e)))?;
        Ok(Self { file, temporary, path: path.into(), done: false })
    }

    /// Takes the whole body. It is written on another thread while more arrives.
    pub(super) async fn fill(self, mut response: Response) -> Outcome {
        /// Pieces on their way to the disk, of some hundred KiB.
        const PIECES: usize = 8;
        let (pieces, mut queue) = mpsc::channel::<Bytes>(PIECES);
        let writer = tokio::task::spawn_blocking(move || {
            let mut this = self;
            while let Some(piece) = queue.blocking_recv() {
                this.file.write_all(&piece)?;
            }
            Ok::<_, std::io::Error>(this)
        });
        let received = async {
            while let Some(piece) = response.chunk().await? {
                // Nobody takes it any more: the writer says why.
                if pieces.send(piece).await.is_err() {
                    break;
                }
            }
            Ok::<_, Failure>(())
        };
        let received = received.await;
        drop(pieces);
        let file = writer.await.map_err(std::io::Error::other)??;
        received?;
        file.finish()
    }

    fn finish(mut self) -> Outcome {
        if !self.done {
            fs_err::rename(&self.temporary, &self.path)?;
            self.done = true;
        }
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.done {
            let _ = fs_err::remove_file(&self.temporary);
        }
    }
}

/// `docker import`.
pub(super) async fn import(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let source = args[0].as_str();
    let remote = source.starts_with("http://") || source.starts_with("https://");
    let archive: Option<Archive> = match source {
        "-" => Some(stdin()?),
        _ if remote => None,
        path => Some(open(path).await?),
    };
    let reference = args.get(1).map(String::as_str).unwrap_or_default();
    if !reference.is_empty() {
        Reference::parse(reference)?;
    }
    let mut query = Query::new()
        .with("fromSrc", if remote { source } else { "-" })
        .maybe("repo", Some(reference).filter(|r| !r.is_empty()))
        .maybe("message", matches.some("message"))
        .maybe("platform", create::chosen_platform(matches));
    for change in matches.all("change") {
        query = query.with("changes", change);
    }
    let client = session.engine().await?;
    let response = client.image_create(query, archive, None).await?;
    progress::show(response.json_lines(), Output::Stdout, false, |_| Ok(())).await
}

/// `docker pull`.
pub(super) async fn pull(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let Reference::Named { name, tag, digest } = Reference::parse(&args[0])? else {
        return Err("invalid reference format".into());
    };
    let bare = tag.is_none() && digest.is_none();
    let all = matches.on("all-tags");
    if all && !bare {
        return Err("tag can't be used with --all-tags/-a".into());
    }
    if bare && !all && !matches.on("quiet") {
        say::line("Using default tag: latest");
    }
    let chosen = digest.clone().or(tag.clone()).unwrap_or_else(|| "latest".to_owned());
    let (repository, _) = create::split_tag(&args[0]);
    let query = Query::new()
        .with("fromImage", repository)
        .maybe("tag", (!all).then_some(&chosen))
        .maybe("platform", create::chosen_platform(matches));
    // A digest says itself what the image is.
    if digest.is_none() {
        refuse_signatures(call)?;
    }
    // Whom nobody vouches for may pull what is public.
    let auth = session.credentials().get(&server_of(&args[0])).unwrap_or_default();
    let client = session.engine().await?;
    let response = client.image_create(query, None, Some(&auth.header())).await?;
    progress::show(response.json_lines(), Output::Stdout, matches.on("quiet"), |_| Ok(())).await?;
    say::line(&full_name(&name, if all { None } else { Some((&chosen, digest.is_some())) }));
    Ok(())
}

/// Docker's signatures of images are not supported: an image is taken for what its digest says. Who wants them, by the option or
/// for all commands by the environment, is not served without.
pub(super) fn refuse_signatures(call: Call<'_>) -> Outcome {
    let wanted = match call.matches.changed("disable-content-trust") {
        true => !call.matches.on("disable-content-trust"),
        false => wants_signatures(&std::env::var("DOCKER_CONTENT_TRUST").unwrap_or_default()),
    };
    match wanted {
        false => Ok(()),
        true => Err("Docker Content Trust is not supported by this version of skiff".into()),
    }
}

/// What `DOCKER_CONTENT_TRUST` says: whatever is no clear no is a yes, as for docker.
fn wants_signatures(variable: &str) -> bool {
    !matches!(variable, "" | "0" | "f" | "F" | "false" | "FALSE" | "False")
}

/// `docker push`.
pub(super) async fn push(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let Reference::Named { name, tag, digest } = Reference::parse(&args[0])? else {
        return Err("invalid reference format".into());
    };
    let all = matches.on("all-tags");
    if all && (tag.is_some() || digest.is_some()) {
        return Err("tag can't be used with --all-tags/-a".into());
    }
    refuse_signatures(call)?;
    let quiet = matches.on("quiet");
    let chosen = tag.or_else(|| (digest.is_none() && !all).then(|| "latest".to_owned()));
    if chosen.is_some() && !quiet && create::split_tag(&args[0]).0 == args[0] {
        say::line("Using default tag: latest");
    }
    let platform = match matches.some("platform") {
        Some(text) => Some(Platform::parse(text).map_err(|e| format!("invalid platform: {e}"))?.to_json()),
        None => None,
    };
    if platform.is_some() {
        say::line(
            "\n Info -> Using --platform pushes only the specified platform manifest of a multi-platform image index.\n         Other components, like attestations, will not be included.\n         To push the complete multi-platform image, remove the --platform flag.\n         ",
        );
    }
    let repository = match &digest {
        Some(digest) => format!("{}@{digest}", create::split_tag(&args[0]).0),
        None => create::split_tag(&args[0]).0.to_owned(),
    };
    let query = Query::new().maybe("tag", chosen.as_ref()).maybe("platform", platform);
    let query = query.maybe("compression", matches.some("compression"));
    let preserve = matches.on("preserve-digests");
    let query = query.maybe("preserveDigests", preserve.then_some("1"));
    let auth = session.credentials().get(&server_of(&args[0]))?;
    let client = session.engine().await?;
    for own in ["compression", "preserve-digests"] {
        if matches.some(own).is_some() {
            create::only_here(&client, own).await?;
        }
    }
    let sources = match preserve {
        true => Some(sources(call, &client, &name, chosen.as_deref()).await?),
        false => None,
    };
    let response = client.image_push(&repository, query, &auth.header(), sources.as_deref()).await?;
    progress::show(response.json_lines(), Output::Stdout, quiet, |_| Ok(())).await?;
    if quiet {
        say::line(&full_name(&name, chosen.as_ref().map(|tag| (tag.as_str(), false))));
    }
    Ok(())
}

/// Who the user is to the registries that an image is known in, as `X-Registry-Config` has it.
async fn sources(call: Call<'_>, client: &Client, name: &str, tag: Option<&str>) -> Result<String, Failure> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Known {
        #[serde(default)]
        repo_digests: Option<Vec<String>>,
    }
    let image = format!("{name}:{}", tag.unwrap_or("latest"));
    let known: Known = serde_json::from_slice(&client.image_inspect(&image, None).await?)
        .map_err(|e| format!("unexpected answer to inspect: {e}"))?;
    let servers: BTreeSet<String> =
        known.repo_digests.unwrap_or_default().iter().map(|name| server_of(name)).collect();
    let mut all = BTreeMap::new();
    for server in servers {
        let credentials = call.session.credentials().get(&server)?;
        all.insert(server, credentials);
    }
    Ok(header(&all))
}

/// `image verify`, which docker does not have.
pub(super) async fn verify(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let quiet = matches.on("quiet");
    let client = session.engine().await?;
    let mut failed = None;
    for image in args {
        let query = Query::new().maybe("mend", matches.on("mend").then_some("1"));
        // An image that is named by its id has no registry of its own.
        let auth = match Reference::parse(image) {
            Ok(Reference::Named { .. }) => session.credentials().get(&server_of(image))?.header(),
            _ => String::new(),
        };
        let response = client.image_verify(image, query, &auth).await?;
        if let Err(failure) = progress::show(response.json_lines(), Output::Stdout, quiet, |_| Ok(())).await {
            // The others are looked at all the same.
            failed.get_or_insert(failure);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// A name with its registry, and its tag or digest.
fn full_name(name: &str, chosen: Option<(&str, bool)>) -> String {
    let first = name.split('/').next().unwrap_or_default();
    let full = match name.contains('/') {
        true if first.contains(['.', ':']) || first == "localhost" => name.to_owned(),
        true => format!("docker.io/{name}"),
        false => format!("docker.io/library/{name}"),
    };
    match chosen {
        Some((digest, true)) => format!("{full}@{digest}"),
        Some((tag, false)) => format!("{full}:{tag}"),
        None => full,
    }
}
