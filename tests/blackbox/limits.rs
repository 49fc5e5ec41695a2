//! Limits hold, and what breaks them is told.

use anyhow::Result;
use serde_json::json;

use crate::Test;

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
