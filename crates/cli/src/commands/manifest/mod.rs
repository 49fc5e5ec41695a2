//! `manifest`: a list of images for several platforms, put together here and pushed to their registry.
//!
//! The command line does all of it; no engine is asked. A list under work lies in the user's configuration directory, in
//! the files that docker keeps there, so either program goes on with what the other began.

mod image;
mod lists;
mod name;
mod platform;
mod registry;

use super::Call;
use crate::{
    failure::{Failure, Outcome},
    format::json,
    say,
};
use image::Image;
use lists::Lists;
use name::Name;
use registry::{Found, Remote};

/// How a manifest is indented.
const TAB: &str = "\t";

/// `docker manifest create`.
pub(super) async fn create(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let lists = Lists::of(session);
    let list = list_name(&args[0])?;
    let known = lists.read(&list)?;
    if !known.is_empty() && !matches.on("amend") {
        return Err("refusing to amend an existing manifest list with no --amend flag".into());
    }
    let mut images = Vec::new();
    for arg in &args[1..] {
        let name = Name::parse(arg)?;
        if known.iter().any(|image| image.reference == name.full()) {
            continue;
        }
        match Remote::new(session, &name, matches.on("insecure"))?.find(&name).await? {
            Found::Image(image) => images.push(*image),
            Found::List(_) => return Err(format!("{name} is a manifest list").into()),
        }
    }
    // Nothing of the list is there unless all of it is.
    for image in &images {
        lists.write(&list, image)?;
    }
    say::line(&format!("Created manifest list {list}"));
    Ok(())
}

/// `docker manifest annotate`.
pub(super) fn annotate(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let lists = Lists::of(session);
    let parse = |what: &str, text: &str| {
        Name::parse(text).map_err(|e| {
            Failure::new(format!("annotate: error parsing name for {what} {text}: {}", e.message))
        })
    };
    let list = parse("manifest list", &args[0])?;
    let name = parse("manifest", &args[1])?;
    let mut image = lists
        .read(&list)?
        .into_iter()
        .find(|image| image.reference == name.full())
        .ok_or_else(|| format!("manifest for image {} does not exist in {}", args[1], args[0]))?;
    let platform = image.descriptor.platform.get_or_insert_default();
    for (option, part) in [
        ("os", &mut platform.os),
        ("arch", &mut platform.architecture),
        ("variant", &mut platform.variant),
        ("os-version", &mut platform.os_version),
    ] {
        if let Some(value) = matches.some(option) {
            value.clone_into(part);
        }
    }
    for feature in matches.all("os-features") {
        if !platform.os_features.contains(&feature) {
            platform.os_features.push(feature);
        }
    }
    if !platform::exists(platform) {
        return Err(format!(
            "manifest entry for image has unsupported os/arch combination: {}/{}",
            matches.text("os"),
            matches.text("arch")
        )
        .into());
    }
    lists.write(&list, &image)
}

/// `docker manifest inspect`.
pub(super) async fn inspect(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let lists = Lists::of(session);
    let verbose = matches.on("verbose");
    if let [list, image] = args {
        let (list, name) = (Name::parse(list)?, Name::parse(image)?);
        let images = lists.read(&list)?;
        let image = images.iter().find(|image| image.reference == name.full());
        return show(image.ok_or_else(|| lists::missing(&name))?, verbose);
    }
    let name = Name::parse(&args[0])?;
    let images = lists.read(&name)?;
    if !images.is_empty() {
        return show_list(&images, verbose);
    }
    let remote = Remote::new(session, &name, matches.on("insecure"))?;
    match remote.find(&name).await? {
        Found::Image(image) => show(&image, verbose),
        Found::List(index) if index.unsupported > 0 => {
            Err(format!("{} manifests of {name} have digests that are not supported", index.unsupported)
                .into())
        }
        Found::List(index) => {
            let mut images = Vec::new();
            for entry in &index.manifests {
                images.push(remote.entry(&name, entry).await?);
            }
            show_list(&images, verbose)
        }
    }
}

/// `docker manifest push`.
pub(super) async fn push(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let lists = Lists::of(session);
    let list = Name::parse(&args[0])?;
    let images = lists.read(&list)?;
    if images.is_empty() {
        return Err(lists::missing(&list));
    }
    for image in &images {
        let source = Name::parse(&image.reference)?;
        if source.registry() != list.registry() {
            return Err(format!(
                "cannot use source images from a different registry than the target image: {} != {}",
                source.registry(),
                list.registry()
            )
            .into());
        }
        let platform = image.descriptor.platform.as_ref();
        if platform.is_none_or(|p| p.os.is_empty() || p.architecture.is_empty()) {
            return Err(format!(
                "manifest {} must have an OS and Architecture to be pushed to a registry",
                image.reference
            )
            .into());
        }
    }
    let digest = Remote::new(session, &list, matches.on("insecure"))?.push(&list, &images).await?;
    say::line(&digest.to_string());
    if matches.on("purge") {
        lists.remove(&list)?;
    }
    Ok(())
}

/// `docker manifest rm`.
pub(super) fn rm(call: Call<'_>) -> Outcome {
    let lists = Lists::of(call.session);
    let mut failures = Vec::new();
    for arg in call.args {
        let removed = Name::parse(arg).and_then(|list| match lists.remove(&list)? {
            true => Ok(()),
            false => Err(lists::missing(&list)),
        });
        failures.extend(removed.err().map(|failure| failure.message));
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

fn list_name(text: &str) -> Result<Name, Failure> {
    Name::parse(text)
        .map_err(|e| Failure::new(format!("error parsing name for manifest list {text}: {}", e.message)))
}

fn show(image: &Image, verbose: bool) -> Outcome {
    let text = if verbose { image.to_json() } else { image.manifest()? };
    say::line(&json::indent(&text, TAB));
    Ok(())
}

fn show_list(images: &[Image], verbose: bool) -> Outcome {
    if !verbose {
        say::line(&image::list_of(images).1);
        return Ok(());
    }
    let all: Vec<String> = images.iter().map(Image::to_json).collect();
    say::line(&json::indent(&format!("[{}]", all.join(",")), TAB));
    Ok(())
}
