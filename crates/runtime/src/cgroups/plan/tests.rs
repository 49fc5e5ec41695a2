//! Plans as data: which values go where, in which order, and what is refused.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::{Hierarchy, Unified};
use super::*;

fn v1() -> Layout {
    let hierarchy = |controller: Controller| Hierarchy {
        mount: PathBuf::from("/sys/fs/cgroup").join(controller.v1_name()),
        controllers: vec![controller],
        name: None,
    };
    let controllers = [
        Controller::Cpu,
        Controller::Cpuset,
        Controller::Memory,
        Controller::Devices,
        Controller::Io,
        Controller::Pids,
        Controller::NetCls,
        Controller::NetPrio,
        Controller::Hugetlb,
        Controller::Rdma,
    ];
    Layout { hierarchies: controllers.map(hierarchy).to_vec(), unified: None }
}

fn v2() -> Layout {
    let controllers = [
        Controller::Cpu,
        Controller::Cpuset,
        Controller::Memory,
        Controller::Io,
        Controller::Pids,
        Controller::Hugetlb,
        Controller::Rdma,
    ];
    let unified = Unified { mount: "/sys/fs/cgroup".into(), controllers: controllers.to_vec() };
    Layout { hierarchies: Vec::new(), unified: Some(unified) }
}

fn try_plan(layout: &Layout, resources: Value, current: Current) -> Result<ResourcePlan, CgroupError> {
    plan(&serde_json::from_value(resources).expect("a resources section"), &[], layout, current)
}

fn texts(layout: &Layout, resources: Value) -> Vec<String> {
    texts_from(layout, resources, Current::default())
}

fn texts_from(layout: &Layout, resources: Value, current: Current) -> Vec<String> {
    let plan = try_plan(layout, resources, current).expect("plannable");
    plan.steps.iter().map(|step| format!("{}={}", step.file, step.value)).collect()
}

fn refusal(layout: &Layout, resources: Value) -> String {
    try_plan(layout, resources, Current::default()).expect_err("not plannable").to_string()
}

#[test]
fn nothing_asked_is_nothing_written() {
    for layout in [v1(), v2()] {
        assert_eq!(try_plan(&layout, json!({}), Current::default()), Ok(ResourcePlan::default()));
        let empty =
            json!({"memory": {"disableOOMKiller": false}, "blockIO": {}, "cpu": {}, "pids": {"limit": 0}});
        assert_eq!(
            try_plan(&layout, empty, Current::default()),
            Ok(ResourcePlan::default()),
            "as Docker sends it"
        );
    }
}

#[test]
fn a_docker_run_with_limits() {
    let resources = json!({
        "memory": {"limit": 67108864, "swap": 134217728, "reservation": 33554432},
        "cpu": {"shares": 512, "quota": 150000, "period": 100000, "cpus": "0-1", "mems": "0"},
        "pids": {"limit": 100}, "blockIO": {"weight": 300},
    });
    assert_eq!(
        texts(&v1(), resources.clone()),
        [
            "memory.limit_in_bytes=67108864",
            "memory.memsw.limit_in_bytes=134217728",
            "memory.soft_limit_in_bytes=33554432",
            "cpu.shares=512",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=150000",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
            "pids.max=100",
            "blkio.weight=300",
        ]
    );
    assert_eq!(
        texts(&v2(), resources),
        [
            "memory.swap.max=67108864",
            "memory.max=67108864",
            "memory.low=33554432",
            "cpu.weight=59",
            "cpu.max=150000 100000",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
            "pids.max=100",
            "io.bfq.weight=300",
        ]
    );
}

#[test]
fn the_order_of_memory_and_swap_follows_the_direction() {
    let mib = |count: u64| count << 20;
    let both = json!({"memory": {"limit": mib(64), "swap": mib(128)}});
    let memory_first = ["memory.limit_in_bytes=67108864", "memory.memsw.limit_in_bytes=134217728"];
    let swap_first = [memory_first[1], memory_first[0]];
    let order = |limit| texts_from(&v1(), both.clone(), Current { memory_limit: limit });
    assert_eq!(order(None), memory_first, "a new cgroup has no limits to run into");
    assert_eq!(order(Some(mib(32))), swap_first, "raised");
    assert_eq!(order(Some(mib(256))), memory_first, "lowered");

    let unlimited = json!({"memory": {"limit": -1}});
    let lifted = texts_from(&v1(), unlimited.clone(), Current { memory_limit: Some(mib(64)) });
    assert_eq!(lifted, ["memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=-1"]);
    assert_eq!(texts(&v2(), unlimited), ["memory.swap.max=max", "memory.max=max"]);
}

#[test]
fn everything_of_v1() {
    let resources = json!({
        "memory": {"kernel": 5, "kernelTCP": 7, "swappiness": 60, "disableOOMKiller": true, "useHierarchy": true},
        "cpu": {"realtimePeriod": 1000000, "realtimeRuntime": 950000, "burst": 500, "idle": 1},
        "blockIO": {
            "weight": 10, "leafWeight": 20,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
            "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 601}],
            "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 602}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 603}],
        },
        "hugepageLimits": [{"pageSize": "2MB", "limit": 9}],
        "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]},
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}, "mlx4_0": {"hcaObjects": 10}},
    });
    assert_eq!(
        texts(&v1(), resources),
        [
            "memory.kmem.tcp.limit_in_bytes=7",
            "memory.oom_control=1",
            "memory.swappiness=60",
            "cpu.idle=1",
            "cpu.rt_period_us=1000000",
            "cpu.rt_runtime_us=950000",
            "cpu.cfs_burst_us=500",
            "blkio.weight=10",
            "blkio.leaf_weight=20",
            "blkio.weight_device=8:0 500",
            "blkio.leaf_weight_device=8:0 300",
            "blkio.throttle.read_bps_device=8:0 600",
            "blkio.throttle.write_bps_device=8:0 601",
            "blkio.throttle.read_iops_device=8:0 602",
            "blkio.throttle.write_iops_device=8:0 603",
            "hugetlb.2MB.limit_in_bytes=9",
            "hugetlb.2MB.rsvd.limit_in_bytes=9",
            "net_cls.classid=1048577",
            "net_prio.ifpriomap=eth0 5",
            "rdma.max=mlx4_0 hca_handle=max hca_object=10",
            "rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
        ]
    );
}

#[test]
fn everything_of_v2() {
    let resources = json!({
        "memory": {"limit": 100, "swap": 100, "swappiness": 60, "disableOOMKiller": true, "checkBeforeUpdate": true},
        "cpu": {"burst": 500, "period": 50000, "shares": 1024},
        "blockIO": {
            "weight": 1000,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}],
        },
        "pids": {"limit": -1},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 9}],
        "unified": {"memory.high": "50", "io.max": "8:0 rbps=1\n8:16 wbps=2", "cgroup.max.depth": "3"},
    });
    let planned = try_plan(&v2(), resources, Current::default()).expect("plannable");
    let texts: Vec<_> = planned.steps.iter().map(|step| format!("{}={}", step.file, step.value)).collect();
    assert_eq!(
        texts,
        [
            "memory.swap.max=0",
            "memory.max=100",
            "cpu.weight=100",
            "cpu.max.burst=500",
            "cpu.max=max 50000",
            "pids.max=max",
            "io.bfq.weight=1000",
            "io.bfq.weight=8:0 10",
            "io.max=8:0 rbps=600",
            "io.max=8:16 wiops=max",
            "hugetlb.2MB.max=9",
            "hugetlb.2MB.rsvd.max=9",
            "cgroup.max.depth=3",
            "io.max=8:0 rbps=1",
            "io.max=8:16 wbps=2",
            "memory.high=50",
        ]
    );
    assert_eq!(planned.steps[1].tolerance, Tolerance::UsageBelow(100));
    let weight = planned.steps[6].otherwise.as_ref().expect("without BFQ");
    assert_eq!((&*weight.file, &*weight.value), ("io.weight", "10000"));
}

#[test]
fn devices_are_steps_or_a_program() {
    let resources = json!({"devices": [{"allow": false, "access": "rwm"}]});
    assert_eq!(texts(&v1(), resources.clone()), ["devices.deny=a"]);
    let planned = try_plan(&v2(), resources.clone(), Current::default()).expect("plannable");
    assert!(planned.steps.is_empty() && planned.device_program.is_some_and(|words| words.len() == 8));

    let parsed: LinuxResources = serde_json::from_value(resources).expect("a resources section");
    let extended = plan(&parsed, &crate::cgroups::runtime_default_rules(), &v1(), Current::default());
    assert_eq!(extended.expect("plannable").steps.len(), 12);
}

#[test]
fn impossible_values_are_refused() {
    let both = [
        (json!({"memory": {"limit": -5}}), "invalid memory.limit: -5 is neither an amount nor -1"),
        (
            json!({"memory": {"limit": 100, "swap": 50}}),
            "invalid memory.swap: memory+swap limit should be >= memory limit",
        ),
        (json!({"cpu": {"cpus": "0-"}}), r#"invalid cpu.cpus: "0-" is not a list such as 0-3,5"#),
        (json!({"cpu": {"mems": "a"}}), r#"invalid cpu.mems: "a" is not a list such as 0-3,5"#),
        (json!({"cpu": {"cpus": "3-1"}}), r#"invalid cpu.cpus: "3-1" is not a list such as 0-3,5"#),
    ];
    for (resources, expected) in both {
        assert_eq!(refusal(&v1(), resources.clone()), expected);
        assert_eq!(refusal(&v2(), resources), expected);
    }
    let only_v1 = [
        (json!({"memory": {"swappiness": 101}}), "invalid memory.swappiness: 101 is not between 0 and 100"),
        (json!({"cpu": {"shares": 1}}), "invalid cpu.shares: the minimum allowed cpu-shares is 2"),
        (json!({"cpu": {"shares": 262145}}), "invalid cpu.shares: the maximum allowed cpu-shares is 262144"),
        (json!({"unified": {"memory.high": "1"}}), "invalid unified: cannot use unified on cgroup v1"),
    ];
    for (resources, expected) in only_v1 {
        assert_eq!(refusal(&v1(), resources), expected);
    }
    let only_v2 = [
        (
            json!({"memory": {"swap": 50}}),
            "invalid memory.swap: unable to set swap limit without memory limit",
        ),
        (
            json!({"cpu": {"realtimeRuntime": 5}}),
            "invalid cpu.realtimeRuntime: cgroup v2 has no real-time budget",
        ),
        (
            json!({"network": {"classID": 5}}),
            "invalid network: cgroup v2 has neither network classes nor priorities",
        ),
        (json!({"blockIO": {"leafWeight": 5}}), "invalid blockIO.leafWeight: cgroup v2 has no leaf weights"),
        (json!({"unified": {"../x": "1"}}), r#"invalid unified: "../x" is not a file name"#),
        (json!({"unified": {"x.max": "1"}}), r#"invalid unified: "x.max" belongs to no known controller"#),
    ];
    for (resources, expected) in only_v2 {
        assert_eq!(refusal(&v2(), resources), expected);
    }
}

#[test]
fn a_missing_controller_matters_only_when_it_is_asked_for() {
    let mut layout = v1();
    layout.hierarchies.retain(|hierarchy| !hierarchy.controllers.contains(&Controller::Hugetlb));
    assert_eq!(texts(&layout, json!({"pids": {"limit": 7}})), ["pids.max=7"]);
    let text = refusal(&layout, json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 9}]}));
    assert_eq!(text, "cannot set hugetlb.2MB.limit_in_bytes: this machine has no hugetlb cgroup controller");
}

#[test]
fn plans_travel() {
    let resources = json!({"devices": [{"allow": false}], "blockIO": {"weight": 10}, "memory": {"limit": 5}});
    for layout in [v1(), v2()] {
        let planned = try_plan(&layout, resources.clone(), Current::default()).expect("plannable");
        let bytes = postcard::to_stdvec(&planned).expect("encoded");
        assert_eq!(postcard::from_bytes::<ResourcePlan>(&bytes).expect("decoded"), planned);
    }
}
