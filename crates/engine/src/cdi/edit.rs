//! Edits of an OCI specification, in the order and with the defaults of Docker's library for them.

use std::path::{Path, PathBuf};

use skiff_runtime::spec::{
    Hook, HookBuilder, LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceType, LinuxIntelRdt,
    MountBuilder, Spec,
};

use super::spec::{CdiHook, CdiMount, DeviceNode, Edits, IntelRdt};

/// Applies edits.
///
/// # Errors
/// What cannot be done.
pub(super) fn apply(edits: &Edits, spec: &mut Spec) -> Result<(), String> {
    for variable in &edits.env {
        set_variable(spec, variable);
    }
    for node in &edits.device_nodes {
        add_device(spec, node)?;
    }
    for mount in &edits.mounts {
        add_mount(spec, mount)?;
    }
    if !edits.mounts.is_empty()
        && let Some(mounts) = spec.mounts_mut()
    {
        // What is mounted below another must come later.
        mounts.sort_by_key(|mount| mount.destination().components().count());
    }
    for hook in &edits.hooks {
        add_hook(spec, hook)?;
    }
    if let Some(user) = spec.process_mut().as_mut().map(|process| process.user_mut()) {
        let mut groups = user.additional_gids().clone().unwrap_or_default();
        for gid in edits.additional_gids.iter().filter(|gid| **gid != 0) {
            if !groups.contains(gid) {
                groups.push(*gid);
            }
        }
        user.set_additional_gids(Some(groups));
    }
    if let (Some(rdt), Some(linux)) = (&edits.intel_rdt, spec.linux_mut()) {
        linux.set_intel_rdt(Some(intel_rdt(rdt)));
    }
    Ok(())
}

fn set_variable(spec: &mut Spec, variable: &str) {
    let Some(process) = spec.process_mut() else { return };
    let name = variable.split('=').next().unwrap_or_default();
    let mut env = process.env().clone().unwrap_or_default();
    match env.iter_mut().find(|other| other.split('=').next() == Some(name)) {
        Some(old) => variable.clone_into(old),
        None => env.push(variable.to_owned()),
    }
    process.set_env(Some(env));
}

fn add_device(spec: &mut Spec, node: &DeviceNode) -> Result<(), String> {
    let owner = spec.process().as_ref().map(|process| (process.user().uid(), process.user().gid()));
    let (uid, gid) = owner.unwrap_or_default();
    let (device, kind) = device(node, uid, gid)?;
    let Some(linux) = spec.linux_mut() else { return Ok(()) };
    let (major, minor) = (device.major(), device.minor());
    let mut devices = linux.devices().clone().unwrap_or_default();
    devices.retain(|other| other.path() != device.path());
    devices.push(device);
    linux.set_devices(Some(devices));
    if matches!(kind, LinuxDeviceType::B | LinuxDeviceType::C) {
        let access = if node.permissions.is_empty() { "rwm" } else { &node.permissions };
        let mut rule = LinuxDeviceCgroup::default();
        rule.set_allow(true).set_typ(Some(kind)).set_major(Some(major)).set_minor(Some(minor));
        rule.set_access(Some(access.to_owned()));
        let mut resources = linux.resources().clone().unwrap_or_default();
        let mut rules = resources.devices().clone().unwrap_or_default();
        rules.push(rule);
        resources.set_devices(Some(rules));
        linux.set_resources(Some(resources));
    }
    Ok(())
}

/// The device file, filled in from the host's.
fn device(node: &DeviceNode, uid: u32, gid: u32) -> Result<(LinuxDevice, LinuxDeviceType), String> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let on_host = if node.host_path.is_empty() { &node.path } else { &node.host_path };
    let known = !node.r#type.is_empty() && (node.major != 0 || node.r#type == "p");
    let (mut kind, mut major, mut minor) = (node.r#type.clone(), node.major, node.minor);
    if !known {
        let failed = |e: std::io::Error| {
            let errno = e.raw_os_error().map(skiff_runtime::apply::errno_text);
            format!("failed to stat CDI host device {on_host:?}: {}", errno.unwrap_or_else(|| e.to_string()))
        };
        let meta = Path::new(on_host).symlink_metadata().map_err(failed)?;
        let found = match meta.file_type() {
            t if t.is_block_device() => "b",
            t if t.is_char_device() => "c",
            t if t.is_fifo() => "p",
            _ => return Err(format!("failed to stat CDI host device {on_host:?}: not a device node")),
        };
        if !kind.is_empty() && kind != found {
            return Err(format!(
                "CDI device ({}, {on_host}), host type mismatch ({kind}, {found})",
                node.path
            ));
        }
        found.clone_into(&mut kind);
        if kind != "p" {
            (major, minor) = (rustix::fs::major(meta.rdev()).into(), rustix::fs::minor(meta.rdev()).into());
        }
    }
    let kind = match kind.as_str() {
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        "u" => LinuxDeviceType::U,
        _ => LinuxDeviceType::P,
    };
    // Root's devices are the container's user's, as Docker has it.
    let owner = |given: Option<u32>, own: u32| given.or((own > 0).then_some(own)).unwrap_or(0);
    let mut device = LinuxDeviceBuilder::default()
        .path(PathBuf::from(&node.path))
        .typ(kind)
        .major(major)
        .minor(minor)
        .uid(owner(node.uid, uid))
        .gid(owner(node.gid, gid))
        .build()
        .map_err(|e| e.to_string())?;
    device.set_file_mode(Some(node.file_mode.unwrap_or(0o666)));
    Ok((device, kind))
}

fn add_mount(spec: &mut Spec, mount: &CdiMount) -> Result<(), String> {
    let mut builder = MountBuilder::default().destination(&mount.container_path).source(&mount.host_path);
    if !mount.r#type.is_empty() {
        builder = builder.typ(&mount.r#type);
    }
    let new = builder.options(mount.options.clone()).build().map_err(|e| e.to_string())?;
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.retain(|other| other.destination() != new.destination());
    mounts.push(new);
    spec.set_mounts(Some(mounts));
    Ok(())
}

#[allow(deprecated, reason = "prestart is deprecated by the specification, and still used")]
fn add_hook(spec: &mut Spec, hook: &CdiHook) -> Result<(), String> {
    let mut builder = HookBuilder::default().path(&hook.path);
    if !hook.args.is_empty() {
        builder = builder.args(hook.args.clone());
    }
    if !hook.env.is_empty() {
        builder = builder.env(hook.env.clone());
    }
    if let Some(timeout) = hook.timeout {
        builder = builder.timeout(timeout);
    }
    let new: Hook = builder.build().map_err(|e| e.to_string())?;
    let mut hooks = spec.hooks().clone().unwrap_or_default();
    let with = |old: &Option<Vec<Hook>>| Some(old.iter().flatten().cloned().chain([new.clone()]).collect());
    match hook.hook_name.as_str() {
        "prestart" => hooks.set_prestart(with(hooks.prestart())),
        "createRuntime" => hooks.set_create_runtime(with(hooks.create_runtime())),
        "createContainer" => hooks.set_create_container(with(hooks.create_container())),
        "startContainer" => hooks.set_start_container(with(hooks.start_container())),
        "poststart" => hooks.set_poststart(with(hooks.poststart())),
        _ => hooks.set_poststop(with(hooks.poststop())),
    };
    spec.set_hooks(Some(hooks));
    Ok(())
}

fn intel_rdt(rdt: &IntelRdt) -> LinuxIntelRdt {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut out = LinuxIntelRdt::default();
    out.set_clos_id(some(&rdt.clos_id))
        .set_l3_cache_schema(some(&rdt.l3_cache_schema))
        .set_mem_bw_schema(some(&rdt.mem_bw_schema))
        .set_enable_cmt(Some(rdt.enable_cmt))
        .set_enable_mbm(Some(rdt.enable_mbm));
    out
}
