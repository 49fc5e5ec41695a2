//! Mounts: `-v source:target:options`, `--mount`, `--tmpfs`.

use std::collections::BTreeSet;

use super::invalid;
use crate::{
    Error, Result,
    model::{HostConfig, MountKind, MountPoint, MountSpec},
};

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];

/// All mounts a request asks for, in Docker's order.
pub(super) fn check(host: &HostConfig) -> Result<Vec<MountPoint>> {
    let mut targets = BTreeSet::new();
    let mut mounts = Vec::new();
    let mut claim = |target: &str| match targets.insert(clean(target)) {
        true => Ok(()),
        false => Err(Error::Invalid(format!("Duplicate mount point: {}", clean(target)))),
    };
    for bind in host.binds.iter().flatten() {
        let mount = parse_bind(bind, &host.volume_driver)?;
        claim(&mount.destination)?;
        mounts.push(mount);
    }
    for spec in &host.mounts {
        let mount = parse_spec(spec)?;
        claim(&mount.destination)?;
        mounts.push(mount);
    }
    for target in host.tmpfs.keys() {
        absolute(target).and_then(|()| not_root(target)).map_err(Error::Invalid)?;
        if mounts.iter().any(|m| m.kind != MountKind::Tmpfs && m.destination == clean(target)) {
            return invalid(format!("Duplicate mount point: {}", clean(target)));
        }
    }
    Ok(mounts)
}

/// Without `.`, `..`, doubled and trailing slashes, as Go's `filepath.Clean` for an absolute path.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn absolute(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Ok(());
    }
    Err(format!("invalid mount path: '{path}' mount path must be absolute"))
}

fn not_root(path: &str) -> Result<(), String> {
    if path.starts_with('/') && clean(path) == "/" {
        return Err("invalid specification: destination can't be '/'".into());
    }
    Ok(())
}

/// The options of `-v`, each sort at most once; none if one is unknown or doubled.
#[derive(Default)]
struct Options<'a> {
    read_only: bool,
    propagation: Option<&'a str>,
    no_copy: bool,
}

fn options(mode: &str) -> Option<Options<'_>> {
    let mut out = Options::default();
    let mut seen = BTreeSet::new();
    for option in mode.split(',') {
        let sort = match option {
            "ro" | "rw" => 0,
            "z" | "Z" => 1,
            "nocopy" => 2,
            "consistent" | "cached" | "delegated" | "default" => 3,
            p if PROPAGATIONS.contains(&p) => 4,
            _ => return None,
        };
        if !seen.insert(sort) {
            return None;
        }
        match sort {
            0 => out.read_only = option == "ro",
            2 => out.no_copy = true,
            4 => out.propagation = Some(option),
            _ => {}
        }
    }
    Some(out)
}

fn parse_bind(bind: &str, driver: &str) -> Result<MountPoint> {
    // Recorded: Docker answers 500 to all of these.
    let wrong = |why: String| Error::Internal(format!("invalid volume specification: '{bind}'{why}"));
    let parts: Vec<&str> = bind.split(':').collect();
    let (source, target, mode) = match parts.as_slice() {
        ["", ..] => return Err(wrong(String::new())),
        [target] => ("", *target, ""),
        [target, mode] if options(mode).is_some() => ("", *target, *mode),
        [source, target] => (*source, *target, ""),
        [source, target, mode] => (*source, *target, *mode),
        _ => return Err(wrong(String::new())),
    };
    let parsed = match mode {
        "" if parts.len() < 3 => Options::default(),
        mode => options(mode).ok_or_else(|| Error::Internal(format!("invalid mode: {mode}")))?,
    };
    let is_bind = source.starts_with('/');
    let kind = if is_bind { "bind" } else { "volume" };
    let config = |why: String| wrong(format!(": invalid mount config for type \"{kind}\": {why}"));
    not_root(target).and_then(|()| absolute(target)).map_err(config)?;
    if is_bind && parsed.no_copy {
        return Err(config("field VolumeOptions must not be specified".into()));
    }
    if !is_bind && parsed.propagation.is_some() {
        return Err(config("field BindOptions must not be specified".into()));
    }
    let common = MountPoint {
        destination: clean(target),
        mode: mode.to_owned(),
        rw: !parsed.read_only,
        no_copy: parsed.no_copy,
        ..MountPoint::default()
    };
    if is_bind {
        let propagation = parsed.propagation.unwrap_or("rprivate").to_owned();
        return Ok(MountPoint { source: clean(source), propagation, ..common });
    }
    volume_name(source, driver)?;
    Ok(volume(common, source, driver))
}

fn volume(common: MountPoint, name: &str, driver: &str) -> MountPoint {
    let mode = if common.mode.is_empty() { "z".to_owned() } else { common.mode };
    MountPoint {
        kind: MountKind::Volume,
        name: name.to_owned(),
        driver: driver.to_owned(),
        anonymous: name.is_empty(),
        mode,
        ..common
    }
}

/// Checks a volume's name; an empty one stands for an anonymous volume. What others' names look like their plugins say.
///
/// # Errors
/// The name is malformed.
fn volume_name(name: &str, driver: &str) -> Result<()> {
    if name.is_empty() || !matches!(driver, "" | skiff_volumes::LOCAL) {
        return Ok(());
    }
    skiff_volumes::check_name(name).map_err(|e| Error::from(e).labelled(format!("create {name}")))
}

/// The mode of `--volumes-from`: whether what is taken over may be written.
///
/// # Errors
/// An unknown word, or two of one sort.
pub(crate) fn volumes_from_mode(mode: &str) -> Result<bool> {
    if mode.is_empty() {
        return Ok(true);
    }
    match options(mode) {
        Some(options) if options.propagation.is_none() && !options.no_copy => Ok(!options.read_only),
        _ => Err(Error::Invalid(format!("invalid mode: {mode}"))),
    }
}

/// A path inside a volume or image, as asked for.
fn subpath(path: &str) -> Result<(), String> {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let depth = parts.map(|part| if part == ".." { -1 } else { 1 }).try_fold(0i32, |depth, step| {
        let depth = depth + step;
        (depth >= 0).then_some(depth)
    });
    match depth.filter(|_| !path.starts_with('/')) {
        Some(_) => Ok(()),
        None => Err("subpath must be a relative path within the volume".into()),
    }
}

fn parse_spec(spec: &MountSpec) -> Result<MountPoint> {
    let kind = spec.kind.as_str();
    for (given, field, of) in [
        (spec.bind.is_some(), "BindOptions", "bind"),
        (spec.volume.is_some(), "VolumeOptions", "volume"),
        (spec.tmpfs.is_some(), "TmpfsOptions", "tmpfs"),
        (spec.image_subpath.is_some(), "ImageOptions", "image"),
    ] {
        if given && kind != of {
            return invalid(format!("{field} must not be specified on mount type \"{kind}\""));
        }
    }
    let config = |why: String| Error::Invalid(format!("invalid mount config for type \"{kind}\": {why}"));
    if spec.target.is_empty() {
        return Err(config("field Target must not be empty".into()));
    }
    not_root(&spec.target).and_then(|()| absolute(&spec.target)).map_err(config)?;
    let common = MountPoint {
        destination: clean(&spec.target),
        rw: !spec.read_only,
        spec: Some(spec.clone()),
        ..MountPoint::default()
    };
    match kind {
        "bind" => bind_spec(spec, common).map_err(config),
        "volume" => {
            if spec.source.is_empty() && spec.read_only {
                return Err(config("must not set ReadOnly mode when using anonymous volumes".into()));
            }
            let asked = spec.volume.clone().unwrap_or_default();
            if !asked.subpath.is_empty() {
                if spec.source.is_empty() {
                    return Err(config("must not set Subpath when using anonymous volumes".into()));
                }
                subpath(&asked.subpath).map_err(config)?;
            }
            volume_name(&spec.source, &asked.driver)?;
            Ok(volume(MountPoint { no_copy: asked.no_copy, ..common }, &spec.source, &asked.driver))
        }
        "tmpfs" if !spec.source.is_empty() => Err(config("field Source must not be specified".into())),
        "tmpfs" => {
            for option in spec.tmpfs.iter().flat_map(|tmpfs| &tmpfs.options) {
                match option.as_slice() {
                    [flag] if matches!(flag.as_str(), "exec" | "noexec") => {}
                    [name] | [name, _] => return Err(config(format!("invalid option: {name}"))),
                    _ => return Err(config("invalid option array length".into())),
                }
            }
            Ok(MountPoint { kind: MountKind::Tmpfs, ..common })
        }
        "image" if spec.source.is_empty() => Err(config("field Source must not be empty".into())),
        "image" => {
            subpath(spec.image_subpath.as_deref().unwrap_or_default()).map_err(config)?;
            Ok(MountPoint {
                kind: MountKind::Image,
                name: spec.source.clone(),
                rw: false,
                propagation: "rprivate".into(),
                ..common
            })
        }
        _ => Err(config("mount type unknown".into())),
    }
}

fn bind_spec(spec: &MountSpec, common: MountPoint) -> Result<MountPoint, String> {
    if spec.source.is_empty() {
        return Err("field Source must not be empty".into());
    }
    let options = spec.bind.clone().unwrap_or_default();
    if !options.propagation.is_empty() && !PROPAGATIONS.contains(&options.propagation.as_str()) {
        return Err(format!("invalid propagation mode: {}", options.propagation));
    }
    absolute(&spec.source)?;
    if !options.create_mountpoint && !std::path::Path::new(&spec.source).exists() {
        return Err(format!("bind source path does not exist: {}", spec.source));
    }
    let propagation = match options.propagation.as_str() {
        "" => "rprivate",
        given => given,
    };
    Ok(MountPoint { source: clean(&spec.source), propagation: propagation.to_owned(), ..common })
}
