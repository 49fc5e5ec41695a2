//! `cp`: between a container and this machine, through archives.

mod paths;
mod pieces;
mod progress;

use std::{
    os::fd::AsFd,
    sync::{Arc, atomic::AtomicU64},
};

use skiff_api::model::PathStat;
use skiff_archive::{Extract, extract, pack};
use skiff_client::{Body, Client, Query, Response};

use self::{
    paths::{Destination, Plan, Source, go_error},
    pieces::{Incoming, Outgoing, PIECES},
    progress::Progress,
};
use super::Call;
use crate::{
    failure::{Failure, Outcome},
    format::size,
    say,
    streams::{Output, terminal},
};

/// What the options say.
struct Options<'a> {
    container: &'a str,
    archive: bool,
    follow: bool,
    quiet: bool,
}

/// `docker cp`.
pub(super) async fn cp(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let [from, to] = [args[0].as_str(), args[1].as_str()];
    if from.is_empty() {
        return Err("source can not be empty".into());
    }
    if to.is_empty() {
        return Err("destination can not be empty".into());
    }
    let ((source, from), (target, to)) = (split(from), split(to));
    let options = |container| Options {
        container,
        archive: matches.on("archive"),
        follow: matches.on("follow-link"),
        quiet: if matches.changed("quiet") { matches.on("quiet") } else { !terminal::stdout_is_terminal() },
    };
    match (source, target) {
        (Some(_), Some(_)) => Err("copying between containers is not supported".into()),
        (None, None) => Err("must specify at least one container source".into()),
        (Some(container), None) => {
            let to = if to == "-" { to.to_owned() } else { paths::local(to)? };
            paths::check_output(&to)?;
            out(&*session.engine().await?, &options(container), from, &to).await
        }
        (None, Some(container)) => {
            let from = if from == "-" { from.to_owned() } else { paths::local(from)? };
            into(&*session.engine().await?, &options(container), &from, to).await
        }
    }
}

/// The container that an argument names, and the path. What begins with a slash or a dot is of this machine.
fn split(argument: &str) -> (Option<&str>, &str) {
    match argument.split_once(':') {
        Some((container, path)) if !argument.starts_with(['/', '.']) => (Some(container), path),
        _ => (None, argument),
    }
}

/// Out of a container.
async fn out(client: &Client, options: &Options<'_>, from: &str, to: &str) -> Outcome {
    let (mut from, mut rename) = (from.to_owned(), String::new());
    if options.follow
        && let Ok(stat) = client.container_stat(options.container, &from).await
        && stat.mode & PathStat::SYMLINK != 0
    {
        (from, rename) = paths::rebased(&from, &stat.link_target);
    }
    let (stat, mut response) = client.container_archive(options.container, &from).await?;
    if to == "-" {
        while let Some(chunk) = response.chunk().await? {
            Output::Stdout.write_all(&chunk).await?;
        }
        return Ok(());
    }
    let source = Source { path: from, is_dir: stat.mode & PathStat::DIRECTORY != 0, rename };
    let progress = Progress::begin(options.quiet, "Copying from container - ");
    let copied = unpack(response, &source, to, progress.counter()).await;
    let bytes = progress.end().await;
    copied?;
    if !options.quiet {
        say::error(&format!("Successfully copied {} to {to}", human(bytes)));
    }
    Ok(())
}

async fn unpack(response: Response, source: &Source, to: &str, counter: Arc<AtomicU64>) -> Outcome {
    let plan = Plan::new(source, &Destination::of_host(to)?)?;
    // The archive calls everything by the source's last part.
    let (_, base) = paths::split_entry(&source.path);
    let renamed = match (plan.name, source.rename.as_str()) {
        (Some(name), _) => Some((base, name)),
        (None, "") => None,
        (None, rename) => Some((base, rename.to_owned())),
    };
    let options = Extract {
        owner: Some((rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())),
        keep_kinds: true,
        shown: paths::clean(&plan.dir),
        // As an archive of the root has it: `/` before every name.
        renamed: renamed.map(|(old, new)| (if old == "/" { String::new() } else { old }, new)),
    };
    let (archive, received) = Incoming::new(response, counter);
    let dir = fs_err::File::open(&plan.dir).map_err(|e| go_error("open", &plan.dir, &e))?;
    let unpacking = tokio::task::spawn_blocking(move || extract(dir.file().as_fd(), archive, &options));
    let received = received.await;
    let unpacked = unpacking.await.map_err(std::io::Error::other)?;
    // What cut the archive short says more than that it is short.
    received?;
    unpacked.map_err(|e| Failure::new(without_number(&e.to_string())))
}

/// `Permission denied (os error 13)` as Go tells it.
fn without_number(text: &str) -> String {
    match text.rsplit_once(": ") {
        Some((before, why)) if why.contains(" (os error ") => {
            let why = why.split(" (os error ").next().unwrap_or_default();
            format!("{before}: {}", why.to_lowercase())
        }
        _ => text.to_owned(),
    }
}

/// Into a container.
async fn into(client: &Client, options: &Options<'_>, from: &str, to: &str) -> Outcome {
    let container = options.container;
    let mut target = Destination { path: to.to_owned(), exists: false, is_dir: false };
    let mut found = client.container_stat(container, to).await;
    if let Ok(stat) = &found
        && stat.mode & PathStat::SYMLINK != 0
    {
        target.path = paths::from_parent(to, &stat.link_target);
        found = client.container_stat(container, &target.path).await;
    }
    if let Ok(stat) = &found {
        let is = |bit: u32| stat.mode & bit != 0;
        let what = match () {
            () if is(PathStat::DEVICE) => Some("got a device"),
            () if is(PathStat::IRREGULAR) => Some("got an irregular file"),
            () => None,
        };
        if let Some(what) = what {
            let place = format!("{container}:{to}");
            return Err(
                format!("destination \"{place}\" must be a directory or a regular file: {what}").into()
            );
        }
        (target.exists, target.is_dir) = (true, is(PathStat::DIRECTORY));
    }
    if from == "-" {
        if !target.is_dir {
            return Err(format!("destination \"{container}:{to}\" must be a directory").into());
        }
        let stdin = tokio::fs::File::from_std(std::io::stdin().as_fd().try_clone_to_owned()?.into());
        return send(client, options, &target.path, Body::Stream(Box::new(stdin))).await;
    }
    let source = Source::of_host(from, options.follow)?;
    let plan = Plan::new(&source, &target)?;
    let (_, base) = paths::split_entry(&source.path);
    let name = plan.name.or_else(|| Some(source.rename.clone()).filter(|r| !r.is_empty())).unwrap_or(base);
    let object = paths::open(&source.path)?;
    let progress = Progress::begin(options.quiet, "Copying to container - ");
    let (pieces, queue) = tokio::sync::mpsc::channel(PIECES);
    let mut sink = Outgoing::new(pieces, progress.counter());
    let packing = tokio::task::spawn_blocking(move || {
        let packed = pack(object.as_fd(), name.as_bytes(), &mut sink);
        if let Err(error) = &packed {
            sink.fail(error);
        }
        packed
    });
    let sent = send(client, options, &plan.dir, Body::Pieces(queue)).await;
    let packed = packing.await.map_err(std::io::Error::other)?;
    let bytes = progress.end().await;
    match (sent, packed) {
        // Nobody reads any more: the engine has said why.
        (sent, Err(e)) if e.kind() == std::io::ErrorKind::BrokenPipe => sent?,
        (_, Err(e)) => return Err(e.into()),
        (sent, Ok(())) => sent?,
    }
    if !options.quiet {
        say::error(&format!("Successfully copied {} to {container}:{}", human(bytes), target.path));
    }
    Ok(())
}

async fn send(client: &Client, options: &Options<'_>, dir: &str, archive: Body) -> Outcome {
    let query = Query::new()
        .with("path", dir)
        .with("noOverwriteDirNonDir", "true")
        .maybe("copyUIDGID", options.archive.then_some("true"));
    Ok(client.container_extract(options.container, query, archive).await?)
}

fn human(bytes: u64) -> String {
    size::human(bytes as f64, 3)
}
