//! Limits hold, and what breaks them is told.

use anyhow::Result;
use serde_json::json;

use crate::{Test, events, exec};

#[test]
fn out_of_memory_shows_in_inspect() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sh", "-c", "tail /dev/zero"]);
    body["HostConfig"]["Memory"] = json!(16 << 20);
    body["HostConfig"]["MemorySwap"] = json!(16 << 20);
    let id = test.up(&body)?;
    assert_eq!(test.wait(&id)?, 137);
    let seen = test.inspect(&id)?;
    assert_eq!(seen["State"]["OOMKilled"], true);
    assert_eq!(seen["HostConfig"]["Memory"], 16 << 20);
    Ok(())
}

#[test]
fn the_number_of_processes_is_bounded() -> Result<()> {
    let mut test = Test::new()?;
    let line = "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done 2>/dev/null; exit 0";
    let mut body = Test::body(&["sh", "-c", line]);
    body["HostConfig"]["PidsLimit"] = json!(4);
    let ran = test.run(&body)?;
    assert!(ran.code != 0 || ran.err.contains("fork"), "{ran:?}");
    Ok(())
}

#[test]
fn ulimits_and_sysctls_are_set() -> Result<()> {
    let mut test = Test::new()?;
    let host = json!({
        "Ulimits": [{ "Name": "nofile", "Soft": 100, "Hard": 200 }, { "Name": "core", "Soft": 0, "Hard": 0 }],
        "Sysctls": { "net.ipv4.ip_default_ttl": "33" },
    });
    let line = "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/sys/net/ipv4/ip_default_ttl";
    assert_eq!(test.shell_with(line, &host)?, "100\n200\n0\n33\n");
    Ok(())
}

#[test]
fn shared_memory_has_the_asked_size() -> Result<()> {
    let mut test = Test::new()?;
    let line = "df -k /dev/shm | tail -1 | awk '{print $2}'";
    assert_eq!(test.shell(line)?, "65536\n");
    assert_eq!(test.shell_with(line, &json!({ "ShmSize": 8 << 20 }))?, "8192\n");
    Ok(())
}

#[test]
fn cpus_can_be_pinned() -> Result<()> {
    let mut test = Test::new()?;
    let line = "grep Cpus_allowed_list /proc/self/status | cut -f2";
    assert_eq!(test.shell_with(line, &json!({ "CpusetCpus": "1" }))?, "1\n");
    Ok(())
}

#[test]
fn limits_that_make_no_sense_are_refused() -> Result<()> {
    let mut test = Test::new()?;
    for (host, words) in [
        (json!({ "Memory": 1000 }), "Minimum memory limit allowed is 6MB"),
        (
            json!({ "Memory": 64 << 20, "MemorySwap": 32 << 20 }),
            "Minimum memoryswap limit should be larger than memory limit, see usage",
        ),
        (
            json!({ "MemorySwap": 64 << 20 }),
            "You should always set the Memory limit when using Memoryswap limit, see usage",
        ),
        (
            json!({ "CpuShares": 10, "NanoCpus": 99_000_000_000u64 }),
            "range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
        ),
        (
            json!({ "CpuPeriod": 10 }),
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        ),
        (json!({ "CpusetCpus": "77" }), "Requested CPUs are not available - requested 77, available: 0-1"),
    ] {
        let mut body = Test::body(&["true"]);
        for (key, value) in host.as_object().expect("an object") {
            body["HostConfig"][key] = value.clone();
        }
        let answer = test.client.post("/containers/create", &body)?;
        assert_eq!((answer.status, answer.message().as_str()), (400, words), "{host}");
    }
    Ok(())
}

/// What a container reads of its own control group: this file of v1, or that of v2.
pub(crate) fn limit(test: &mut Test, id: &str, v1: &str, v2: &str) -> Result<String> {
    let line = format!("cat /sys/fs/cgroup/{v2} 2>/dev/null || cat /sys/fs/cgroup/{v1}");
    Ok(exec::output(test, id, &["sh", "-c", &line])?.trim().to_owned())
}

#[test]
fn limits_are_in_the_control_group_and_can_be_updated() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["sleep", "1000"]);
    let limits = |megabytes: u64, cpus: u64, pids: u64| {
        json!({
            "Memory": megabytes << 20, "MemorySwap": megabytes << 21, "NanoCpus": cpus * 500_000_000, "PidsLimit": pids,
        })
    };
    for (key, value) in limits(64, 1, 50).as_object().into_iter().flatten() {
        body["HostConfig"][key] = value.clone();
    }
    let id = test.up(&body)?;
    let path = format!("/containers/{id}/update");
    // As created first; then each update.
    for (n, (megabytes, cpus, pids)) in [(64, 1, 50), (128, 2, 30), (64, 1, 60)].into_iter().enumerate() {
        if n > 0 {
            test.client.post(&path, &limits(megabytes, cpus, pids))?.ok()?;
        }
        let mut read = |v1, v2| limit(&mut test, &id, v1, v2);
        let memory = read("memory/memory.limit_in_bytes", "memory.max")?;
        assert_eq!(memory, (megabytes << 20).to_string());
        let swap = read("memory/memory.memsw.limit_in_bytes", "memory.swap.max")?;
        // v1 counts both together.
        assert!([megabytes << 20, megabytes << 21].map(|n| n.to_string()).contains(&swap), "{swap}");
        assert_eq!(read("pids/pids.max", "pids.max")?, pids.to_string());
        let cpu = read("cpu/cpu.cfs_quota_us", "cpu.max")?;
        assert_eq!(cpu.split(' ').next(), Some((cpus * 50_000).to_string().as_str()));
    }
    Ok(())
}

#[test]
fn devices_are_denied_unless_they_are_given() -> Result<()> {
    let mut test = Test::new()?;
    let line = "mknod /tmp/device c 10 237; head -c 0 < /tmp/device && echo opened";
    let denied = test.run(&Test::body(&["sh", "-c", line]))?;
    assert_eq!(denied.out, "");
    assert!(denied.err.contains("Operation not permitted"), "{denied:?}");
    let device = json!([{ "PathOnHost": "/dev/loop-control", "PathInContainer": "/dev/loop", "CgroupPermissions": "r" }]);
    assert_eq!(test.shell_with(line, &json!({ "Devices": device }))?, "opened\n");
    Ok(())
}

#[test]
fn running_out_of_memory_is_told() -> Result<()> {
    let mut test = Test::new()?;
    let since = events::now(&mut test)?;
    let mut body = Test::body(&["tail", "/dev/zero"]);
    body["HostConfig"]["Memory"] = json!(16 << 20);
    body["HostConfig"]["MemorySwap"] = json!(16 << 20);
    let id = test.up(&body)?;
    test.wait(&id)?;
    let until = events::now(&mut test)?;
    let actions = events::events(&test, &id, &since, &until)?;
    assert!(actions.iter().any(|event| event["Action"] == "oom"), "{actions:?}");
    Ok(())
}

#[test]
fn what_the_kernel_refuses_is_named() -> Result<()> {
    let mut test = Test::new()?;
    let over = 1_000_000_000_000_u64;
    for (host, parts) in [
        (
            json!({ "Ulimits": [{ "Name": "nofile", "Soft": over, "Hard": over }] }),
            [
                ": error setting rlimits for ready process: error setting rlimit type 7",
                ": operation not permitted",
            ],
        ),
        (
            json!({ "Sysctls": { "net.foo": "1" } }),
            [
                ": error during container init: open sysctl net.foo file: ",
                "/sys/net/foo: no such file or directory",
            ],
        ),
        (
            json!({ "Sysctls": { "kernel.shm_rmid_forced": "7" } }),
            [
                ": failed to write sysctl kernel.shm_rmid_forced = \"7\": write ",
                "/sys/kernel/shm_rmid_forced: invalid argument",
            ],
        ),
        (
            json!({ "SecurityOpt": ["seccomp={\"defaultAction\":\"FOO\"}"] }),
            ["runc create failed: ", ": string FOO is not a valid action for seccomp"],
        ),
    ] {
        let mut body = Test::body(&["true"]);
        for (key, value) in host.as_object().into_iter().flatten() {
            body["HostConfig"][key] = value.clone();
        }
        let id = test.create(&body)?;
        let refused = test.act(&id, "start")?;
        let message = refused.message();
        // Docker finds a missing program in whatever is missing.
        let status = if message.ends_with("no such file or directory") { 400 } else { 500 };
        assert_eq!(refused.status, status, "{message}");
        assert!(message.starts_with("failed to create task for container: "), "{message}");
        assert!(message.contains(parts[0]) && message.ends_with(parts[1]), "{message}");
    }
    Ok(())
}

#[test]
fn a_volume_of_an_unknown_driver_is_refused() -> Result<()> {
    let mut test = Test::new()?;
    let mut body = Test::body(&["true"]);
    body["Volumes"] = json!({ "/data": {} });
    body["HostConfig"]["VolumeDriver"] = json!("nonsense");
    let refused = test.client.post("/containers/create", &body)?;
    assert_eq!(refused.status, 404, "{}", refused.message());
    Ok(())
}
