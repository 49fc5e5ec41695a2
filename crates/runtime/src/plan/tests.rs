//! Plans of whole specifications. Parts are tested beside their code.

mod fields;

use serde_json::{Value, json};
use skiff_sys::mount::attr;

use super::*;
use crate::cgroups::{Controller, Hierarchy, Unified};

fn host() -> HostFacts {
    let hierarchy = |name: &str, controllers: &[Controller]| Hierarchy {
        mount: Path::new("/sys/fs/cgroup").join(name),
        controllers: controllers.to_vec(),
        name: controllers.is_empty().then(|| name.to_owned()),
    };
    let hierarchies = vec![
        hierarchy("cpu,cpuacct", &[Controller::Cpu, Controller::Cpuacct]),
        hierarchy("memory", &[Controller::Memory]),
        hierarchy("devices", &[Controller::Devices]),
        hierarchy("pids", &[Controller::Pids]),
        hierarchy("systemd", &[]),
    ];
    HostFacts {
        cgroups: Layout { hierarchies, unified: None },
        apparmor: false,
        selinux: false,
        resctrl: None,
        time_namespaces: true,
    }
}

fn unified_host() -> HostFacts {
    let unified = Unified { mount: "/sys/fs/cgroup".into(), controllers: Controller::ALL.to_vec() };
    HostFacts { cgroups: Layout { hierarchies: Vec::new(), unified: Some(unified) }, ..host() }
}

fn options() -> PlanOptions {
    PlanOptions { id: "c1".to_owned(), bundle: "/bundle".into(), ..PlanOptions::default() }
}

/// The least that can be planned.
fn minimal() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["sh"], "user": {"uid": 0, "gid": 0}},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}
    })
}

/// The minimal specification with something at a JSON pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut spec = minimal();
    set(&mut spec, pointer, value);
    spec
}

fn set(spec: &mut Value, pointer: &str, value: Value) {
    let mut place = spec;
    for key in pointer.split('/').skip(1) {
        place = place.as_object_mut().unwrap().entry(key).or_insert_with(|| json!({}));
    }
    *place = value;
}

fn planned_on(host: &HostFacts, spec: Value) -> Result<Plan, PlanError> {
    plan(&serde_json::from_value(spec).unwrap(), &options(), host)
}

fn planned(spec: Value) -> Result<Plan, PlanError> {
    planned_on(&host(), spec)
}

#[track_caller]
fn refused(spec: Value, words: &str) {
    let message = planned(spec).unwrap_err().to_string();
    assert!(message.contains(words), "{message:?} does not say {words:?}");
}

#[test]
fn the_minimal_specification_is_enough() {
    let plan = planned(minimal()).unwrap();
    assert_eq!(plan.rootfs.source, Rootfs::Path("/bundle/rootfs".into()));
    assert_eq!(plan.namespaces.pid, Namespace::New);
    assert_eq!(plan.namespaces.net, Namespace::Inherit);
    assert_eq!(plan.cgroup.path.as_str(), "/skiff/c1");
    assert_eq!(plan.process.umask, 0o022);
    assert!(plan.dev_links && plan.devices.len() == 6);
}

#[test]
fn a_plan_survives_its_journey() {
    let mut spec = with("/hooks/poststop", json!([{"path": "/bin/true", "timeout": 3}]));
    set(&mut spec, "/mounts", json!([{"destination": "/proc", "type": "proc", "source": "proc"}]));
    let plan = planned(spec).unwrap();
    let bytes = postcard::to_allocvec(&plan).unwrap();
    assert_eq!(postcard::from_bytes::<Plan>(&bytes).unwrap(), plan);
}

#[test]
fn what_is_missing_is_named() {
    for (part, words) in [("linux", "linux"), ("process", "process"), ("root", "root")] {
        let mut spec = minimal();
        spec.as_object_mut().unwrap().remove(part);
        refused(spec, &format!("{words} is missing"));
    }
    refused(with("/process/args", json!([])), "process.args is missing");
    refused(with("/process/cwd", json!("relative")), "process.cwd");
}

#[test]
fn namespaces_are_created_joined_and_checked() {
    let list =
        json!([{"type": "mount"}, {"type": "network", "path": "/run/netns/x"}, {"type": "uts", "path": ""}]);
    let plan = planned(with("/linux/namespaces", list)).unwrap();
    let joined = Namespace::Join(NamespaceSource::Path("/run/netns/x".into()));
    assert_eq!((plan.namespaces.net, plan.namespaces.uts), (joined, Namespace::New));
    refused(with("/linux/namespaces", json!([{"type": "mount"}, {"type": "mount"}])), "twice");
    refused(with("/linux/namespaces", json!([{"type": "pid"}])), "mount namespace");
    refused(
        with("/linux/namespaces", json!([{"type": "mount"}, {"type": "uts", "path": "x"}])),
        "not absolute",
    );
    refused(with("/hostname", json!("h")), "UTS namespace");
}

#[test]
fn id_maps_and_time_offsets_belong_to_their_namespaces() {
    let user = json!([{"type": "mount"}, {"type": "user"}]);
    refused(with("/linux/namespaces", user.clone()), "linux.uidMappings is missing");
    let range = |container: u32, host: u32| json!({"containerID": container, "hostID": host, "size": 10});
    refused(with("/linux/uidMappings", json!([range(0, 100)])), "user namespace");
    let mut spec = with("/linux/namespaces", user);
    set(&mut spec, "/linux/gidMappings", json!([range(0, 1000)]));
    set(&mut spec, "/linux/uidMappings", json!([range(0, 100), range(5, 200)]));
    refused(spec.clone(), "overlap");
    set(&mut spec, "/linux/uidMappings", json!([range(0, 100), range(10, 200)]));
    assert_eq!(planned(spec).unwrap().namespaces.uid_map[1], IdMap { container: 10, host: 200, size: 10 });

    let offsets = json!({"boottime": {"secs": 7}, "monotonic": {"secs": -1, "nanosecs": 5}});
    refused(with("/linux/timeOffsets", offsets.clone()), "new time namespace");
    let mut spec = with("/linux/namespaces", json!([{"type": "mount"}, {"type": "time"}]));
    set(&mut spec, "/linux/timeOffsets", offsets);
    assert_eq!(planned(spec.clone()).unwrap().namespaces.time_offsets[1].nanosecs, 5);
    set(&mut spec, "/linux/timeOffsets", json!({"realtime": {"secs": 1}}));
    refused(spec, "realtime");
}

fn mount(value: Value) -> Result<MountStep, PlanError> {
    planned(with("/mounts", json!([value]))).map(|plan| plan.mounts[0].clone())
}

#[test]
fn binds_take_their_source_from_the_bundle() {
    let step =
        mount(json!({"destination": "/a/../b//c", "source": "x", "options": ["rbind", "ro", "rprivate"]}))
            .unwrap();
    assert_eq!(step.target, "/b/c");
    assert_eq!(step.kind, MountKind::Bind { source: MountSource::Path("/bundle/x".into()), recursive: true });
    assert_eq!((step.set, step.spread.len()), (attr::RDONLY, 1));
    assert!(mount(json!({"destination": "/a", "options": ["bind"]})).is_err());
    let relative = mount(json!({"destination": "a", "source": "/x", "options": ["bind"]})).unwrap();
    assert_eq!(relative.target, "/a");
    assert!(mount(json!({"destination": "/a", "source": "/x", "options": ["bind", "size=1m"]})).is_err());
}

#[test]
fn read_only_is_the_superblocks_matter_where_it_is_the_mounts_own() {
    let parameters = |fstype: &str| {
        let step =
            mount(json!({"destination": "/m", "type": fstype, "source": fstype, "options": ["ro", "x=1"]}));
        let MountKind::Filesystem { options, .. } = step.unwrap().kind else { panic!("not a file system") };
        options.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(parameters("tmpfs"), ["x", "ro"]);
    assert_eq!(parameters("sysfs"), ["x"]);
}

#[test]
fn idmapped_mounts_need_a_map() {
    let bind = |options: Value| json!({"destination": "/a", "source": "/x", "options": options});
    assert!(mount(bind(json!(["bind", "idmap"]))).is_err());
    let mut own = bind(json!(["bind", "ridmap"]));
    own["uidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    assert!(mount(own.clone()).is_err(), "uids without gids");
    own["gidMappings"] = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let idmap = mount(own).unwrap().idmap.unwrap();
    assert!(idmap.recursive && idmap.uid_map[0].host == 1000);
}

#[test]
fn cgroups_are_mounted_as_this_host_has_them() {
    let cgroup =
        json!([{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}]);
    let plan = planned(with("/mounts", cgroup.clone())).unwrap();
    let MountKind::CgroupV1 { hierarchies } = &plan.mounts[0].kind else { panic!("{:?}", plan.mounts[0]) };
    assert_eq!(
        (hierarchies[0].name.as_str(), hierarchies[0].links.as_slice()),
        ("cpu,cpuacct", &["cpu".to_owned(), "cpuacct".to_owned()][..])
    );
    assert_eq!(hierarchies[1].bind_from.as_deref(), Some(Path::new("/sys/fs/cgroup/memory/skiff/c1")));
    assert_eq!(hierarchies[4].options, "none,name=systemd");

    let mut spec = with("/mounts", cgroup);
    set(&mut spec, "/linux/namespaces", json!([{"type": "mount"}, {"type": "cgroup"}]));
    let plan = planned(spec.clone()).unwrap();
    let MountKind::CgroupV1 { hierarchies } = &plan.mounts[0].kind else { panic!("{:?}", plan.mounts[0]) };
    assert_eq!(hierarchies[1].bind_from, None);
    let plan = planned_on(&unified_host(), spec).unwrap();
    assert_eq!(plan.mounts[0].kind, MountKind::CgroupV2 { bind_from: "/sys/fs/cgroup/skiff/c1".into() });
}

#[test]
fn the_dev_of_the_host_is_left_alone() {
    let dev = json!([{"destination": "/dev/", "source": "/dev", "options": ["rbind"]}]);
    let plan = planned(with("/mounts", dev)).unwrap();
    assert!(!plan.dev_links && plan.devices.is_empty());
}

#[test]
fn a_read_only_dev_becomes_so_after_it_is_filled() {
    let dev =
        json!([{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["ro", "nosuid"]}]);
    let plan = planned(with("/mounts", dev)).unwrap();
    assert_eq!(plan.mounts[0].set, attr::NOSUID);
    let MountKind::Filesystem { options, .. } = &plan.mounts[0].kind else { panic!("not a file system") };
    assert!(options.is_empty());
    assert_eq!(plan.late_mounts.len(), 1);
    assert_eq!((plan.late_mounts[0].set, &plan.late_mounts[0].kind), (attr::RDONLY, &MountKind::Change));
}

#[test]
fn what_cannot_be_had_is_refused() {
    refused(with("/linux/intelRdt", json!({"closID": "x"})), "intelRdt is not supported");
    refused(with("/process/apparmorProfile", json!("docker-default")), "no AppArmor");
    refused(with("/process/selinuxLabel", json!("a:b:c")), "no SELinux");
    refused(with("/linux/mountLabel", json!("a:b:c")), "no SELinux");
    assert!(planned(with("/process/apparmorProfile", json!("unconfined"))).is_ok());
    refused(with("/linux/rootfsPropagation", json!("ro")), "rootfsPropagation");
    refused(with("/linux/cgroupsPath", json!("slice:skiff:x")), "linux.cgroupsPath");
    refused(
        with("/linux/resources", json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]})),
        "linux.resources",
    );
}

#[test]
fn process_attributes_are_checked() {
    let limit = |soft: u64, hard: u64| json!({"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard});
    refused(with("/process/rlimits", json!([limit(2, 1)])), "above its hard limit");
    refused(with("/process/rlimits", json!([limit(1, 1), limit(1, 1)])), "twice");
    refused(with("/process/oomScoreAdj", json!(2000)), "oomScoreAdj");
    refused(with("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 9})), "ioPriority");
    refused(with("/process/scheduler", json!({"policy": "SCHED_OTHER", "priority": 1})), "SCHED_FIFO");
    refused(with("/process/execCPUAffinity", json!({"initial": "3-1"})), "CPU");
    let caps =
        |ambient: &str| json!({"permitted": ["CAP_KILL"], "inheritable": ["CAP_KILL"], "ambient": [ambient]});
    let plan = planned(with("/process/capabilities", caps("CAP_CHOWN"))).unwrap();
    assert_eq!(plan.process.capabilities.unwrap().ambient, 0, "not inheritable");
    let plan = planned(with("/process/capabilities", caps("CAP_KILL"))).unwrap();
    assert_eq!(plan.process.capabilities.unwrap().ambient, 1 << 5);
    let plan = planned(with("/linux/personality", json!({"domain": "LINUX32"}))).unwrap();
    assert_eq!(plan.process.personality, Some(8));
    let plan = planned(with("/process/execCPUAffinity", json!({"final": "0-2,5"}))).unwrap();
    assert_eq!(plan.process.final_cpus.unwrap(), [0, 1, 2, 5]);
}

#[test]
fn hooks_keep_their_kind_and_are_checked() {
    let plan = planned(with("/hooks/startContainer", json!([{"path": "/h", "args": ["h", "x"]}]))).unwrap();
    assert_eq!(plan.hooks.start_container[0].args, ["h", "x"]);
    refused(with("/hooks/prestart", json!([{"path": "h"}])), "hooks.prestart");
    refused(with("/hooks/poststop", json!([{"path": "/h", "timeout": 0}])), "timeout");
}

#[test]
fn a_further_process_joins_what_the_container_has() {
    let spec = serde_json::from_value::<Spec>(minimal()).unwrap();
    let process = spec.process().clone().unwrap();
    let plan = exec_plan(&process, &spec, &options(), &host()).unwrap();
    assert_eq!(plan.join, [ExecNamespace::Mount, ExecNamespace::Pid]);
    assert_eq!(plan.cgroup.as_str(), "/skiff/c1");
}

#[test]
fn paths_cannot_climb() {
    let clean = |text: &str| absolute_path("x", Path::new(text));
    assert_eq!(clean("/../../etc/./x/..//passwd").unwrap(), "/etc/passwd");
    assert_eq!(clean("/").unwrap(), "/");
    assert!(clean("etc").is_err() && clean("/a\0b").is_err());
}
