//! Every field of the body of `POST /containers/create`: what is sent is seen in `inspect`, and, where there is anything to see, from
//! within the container or by what becomes of it; or it is refused by name.

use serde_json::{Value, json};

use super::effects;
use crate::Test;

/// A part of a body, and what comes of it.
pub(super) struct Probe {
    /// Merged into a body that runs a shell. `{net}` and `{volume}` stand for a network and a volume,
    /// `{other}` and `{bridged}` for containers, the latter on the default bridge, `{v4}` and `{v6}` for the beginnings of the
    /// network's addresses, `{scratch}` for a directory, `{cgroup}` for a control group, `{disk}` and `{number}` for a disk of the
    /// host, `{host}` for the host's name.
    pub(super) body: Value,
    pub(super) expect: Expect,
}

/// What comes of a probe. Lines of shell may use `cg FILE VALUE FILE VALUE`: whether the container's control group of version 1 or
/// that of version 2 says so.
#[derive(Clone, Copy)]
pub(super) enum Expect {
    /// `inspect` shows it.
    Shown,
    /// `inspect` shows it, and this line of shell succeeds in the container.
    Seen(&'static str),
    /// It is shown in other words, but this line of shell succeeds in the container.
    Done(&'static str),
    /// `inspect` shows it; on a machine that cannot do it, a warning or the refusal has these words.
    ShownOr(&'static str),
    /// As [`Expect::ShownOr`]; where it is shown, this line of shell succeeds in the container.
    SeenOr(&'static str, &'static str),
    /// `inspect` shows it, and this holds of the container, which runs this line of shell when it is started.
    Checked(&'static str, fn(&mut Test, &str) -> anyhow::Result<()>),
    /// `inspect` shows it, and the start fails with these words.
    Unstartable(&'static str),
    /// The answer has a warning with these words.
    Warned(&'static str),
    /// The request fails with these words.
    Refused(&'static str),
}

use Expect::{Checked, Done, Refused, Seen, SeenOr, Shown, ShownOr, Unstartable, Warned};

pub(super) fn probes() -> Vec<Probe> {
    let of =
        |part: fn(Value) -> Value| move |(body, expect): (Value, Expect)| Probe { body: part(body), expect };
    let whole = portable().into_iter().map(of(|body| body));
    let host = [limits(), devices(), filesystems(), namespaces(), rest()].into_iter().flatten();
    let mounts = mounts().into_iter().map(of(|mount| json!({ "HostConfig": { "Mounts": [mount] } })));
    let endpoints = endpoints().into_iter().map(of(|endpoint| {
        json!({ "HostConfig": { "NetworkMode": "{net}" }, "NetworkingConfig": { "EndpointsConfig": { "{net}": endpoint } } })
    }));
    let host = host.map(of(|host| json!({ "HostConfig": host })));
    whole.chain(host).chain(mounts).chain(endpoints).collect()
}

fn portable() -> Vec<(Value, Expect)> {
    let check = json!({ "Test": ["CMD", "echo", "well"], "Interval": 60_000_000_000_u64, "Timeout": 2_000_000_000,
        "StartPeriod": 30_000_000_000_u64, "StartInterval": 100_000_000, "Retries": 5 });
    let by_shell = json!({ "Test": ["CMD-SHELL", "well"], "Interval": 100_000_000 });
    let gateways = |of_net: i64, of_bridge: i64| {
        json!({ "HostConfig": { "NetworkMode": "{net}" }, "NetworkingConfig": { "EndpointsConfig": {
            "{net}": { "GwPriority": of_net }, "bridge": { "GwPriority": of_bridge } } } })
    };
    vec![
        (
            json!({ "Hostname": "hn", "Domainname": "dn" }),
            Seen("[ `cat /proc/sys/kernel/hostname`.`cat /proc/sys/kernel/domainname` = hn.dn ]"),
        ),
        (json!({ "User": "app" }), Seen("[ `id -un` = app ]")),
        (json!({ "AttachStdin": true, "AttachStdout": true, "AttachStderr": true }), Shown),
        (json!({ "OpenStdin": true, "StdinOnce": true }), Checked("cat", effects::input_ends)),
        (
            json!({ "ExposedPorts": { "8000/tcp": {} }, "HostConfig": { "NetworkMode": "bridge", "PublishAllPorts": true } }),
            Checked(effects::SERVE, effects::answers_from_outside),
        ),
        (
            json!({ "ExposedPorts": { "8000/tcp": {} }, "HostConfig": { "NetworkMode": "bridge",
                "PortBindings": { "8000/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "" }] } } }),
            Checked(effects::SERVE, effects::answers_from_outside),
        ),
        (
            json!({ "Tty": true, "HostConfig": { "ConsoleSize": [20, 30] } }),
            Seen("test -t 1 && [ \"`stty size`\" = '20 30' ]"),
        ),
        (json!({ "Env": ["A=b c"] }), Seen("[ \"$A\" = 'b c' ]")),
        (
            json!({ "Healthcheck": check }),
            Checked("sleep 60", |test, id| effects::is_well(test, id, "well\n")),
        ),
        (
            json!({ "Shell": ["echo", "by shell:"], "Healthcheck": by_shell }),
            Checked("sleep 60", |test, id| effects::is_well(test, id, "by shell: well\n")),
        ),
        (json!({ "ArgsEscaped": true }), Shown),
        (json!({ "Image": "busybox", "Cmd": ["a", "=", "a"], "Entrypoint": ["test"] }), Seen("")),
        (json!({ "Volumes": { "/vol": {} } }), Seen("grep -q ' /vol ' /proc/mounts")),
        (json!({ "Volumes": { "/etc": {} } }), Seen("grep -q ' /etc ' /proc/mounts && [ -e /etc/passwd ]")),
        (json!({ "WorkingDir": "/tmp" }), Seen("[ `pwd` = /tmp ]")),
        (
            json!({ "NetworkDisabled": true, "HostConfig": { "NetworkMode": "bridge" } }),
            Seen("[ `ls /sys/class/net | grep -c eth` = 0 ]"),
        ),
        (
            json!({ "MacAddress": "02:42:0a:0a:0a:0a", "HostConfig": { "NetworkMode": "bridge" } }),
            Seen("grep -q 02:42:0a:0a:0a:0a /sys/class/net/eth0/address"),
        ),
        (json!({ "OnBuild": ["RUN true"] }), Shown),
        (json!({ "Labels": { "walked": "yes" } }), Checked("", effects::is_found_by_its_label)),
        (
            json!({ "StopSignal": "SIGUSR1", "StopTimeout": 60 }),
            Checked(
                "trap 'exit 7' USR1; trap '' TERM; echo up; while :; do sleep 0.1; done",
                effects::stops_with_7,
            ),
        ),
        (gateways(5, 1), Seen("ip route | grep -q 'default via {v4}'")),
        (gateways(1, 5), Seen("! ip route | grep -q 'default via {v4}'")),
    ]
}

fn limits() -> Vec<(Value, Expect)> {
    let rate = |rate: u64| json!([{ "Path": "{disk}", "Rate": rate }]);
    vec![
        (
            json!({ "Memory": 64 << 20, "MemoryReservation": 32 << 20, "MemorySwap": 96 << 20 }),
            Seen(
                "cg memory/memory.limit_in_bytes 67108864 memory.max 67108864 &&
                cg memory/memory.soft_limit_in_bytes 33554432 memory.low 33554432 &&
                cg memory/memory.memsw.limit_in_bytes 100663296 memory.swap.max 33554432",
            ),
        ),
        (json!({ "CpuShares": 512 }), Seen("cg cpu/cpu.shares 512 cpu.weight 20 || cg . . cpu.weight 59")),
        (
            json!({ "CpuPeriod": 50_000, "CpuQuota": 20_000 }),
            Seen(
                "cg cpu/cpu.cfs_quota_us 20000 cpu.max '20000 50000' && cg cpu/cpu.cfs_period_us 50000 cpu.max '20000 50000'",
            ),
        ),
        (json!({ "NanoCpus": 500_000_000 }), Seen("cg cpu/cpu.cfs_quota_us 50000 cpu.max '50000 100000'")),
        (json!({ "CpuRealtimePeriod": 1_000_000, "CpuRealtimeRuntime": 100 }), ShownOr("real-time")),
        (
            json!({ "CpusetCpus": "0", "CpusetMems": "0" }),
            Seen(
                "grep -qx 'Cpus_allowed_list:.0' /proc/self/status && cg cpuset/cpuset.mems 0 cpuset.mems 0",
            ),
        ),
        (json!({ "PidsLimit": 77 }), Seen("cg pids/pids.max 77 pids.max 77")),
        (
            json!({ "CgroupParent": "{cgroup}", "CgroupnsMode": "host" }),
            Seen("grep -q ':{cgroup}/' /proc/self/cgroup"),
        ),
        (json!({ "BlkioWeight": 300 }), ShownOr("Your kernel does not support Block I/O weight")),
        (
            json!({ "BlkioWeightDevice": [{ "Path": "/dev/sda", "Weight": 300 }] }),
            ShownOr("Your kernel does not support Block I/O weight_device"),
        ),
        (
            json!({ "BlkioDeviceReadBps": rate(1 << 20), "BlkioDeviceWriteBps": rate(2 << 20) }),
            Seen(
                "cg blkio/blkio.throttle.read_bps_device '{number} 1048576' . . &&
                cg blkio/blkio.throttle.write_bps_device '{number} 2097152' . . ||
                cg . . io.max '{number} rbps=1048576 wbps=2097152 riops=max wiops=max'",
            ),
        ),
        (
            json!({ "BlkioDeviceReadIOps": rate(77), "BlkioDeviceWriteIOps": rate(88) }),
            Seen(
                "cg blkio/blkio.throttle.read_iops_device '{number} 77' . . &&
                cg blkio/blkio.throttle.write_iops_device '{number} 88' . . ||
                cg . . io.max '{number} rbps=max wbps=max riops=77 wiops=88'",
            ),
        ),
        (json!({ "KernelMemoryTCP": 8 << 20 }), ShownOr("does not support kernel memory TCP")),
        (
            json!({ "MemorySwappiness": 37 }),
            SeenOr(
                "Your kernel does not support memory swappiness",
                "cg memory/memory.swappiness 37 . . || [ ! -d /sys/fs/cgroup/memory ]",
            ),
        ),
        (
            json!({ "OomKillDisable": true, "Memory": 64 << 20 }),
            SeenOr(
                "OomKillDisable discarded",
                "grep -qx 'oom_kill_disable 1' /sys/fs/cgroup/memory/memory.oom_control",
            ),
        ),
        (
            json!({ "Ulimits": [{ "Name": "nofile", "Soft": 100, "Hard": 200 }] }),
            Seen("[ `ulimit -Sn`-`ulimit -Hn` = 100-200 ]"),
        ),
        (json!({ "OomScoreAdj": 100 }), Seen("[ `cat /proc/self/oom_score_adj` = 100 ]")),
        (json!({ "CpuCount": 1 }), Shown),
        (json!({ "CpuPercent": 5 }), Warned("linux does not support CPU percent. Percent discarded.")),
        (json!({ "IOMaximumIOps": 5 }), Refused("QoS maximum IOPs configuration is not supported on linux")),
        (
            json!({ "IOMaximumBandwidth": 5 }),
            Refused("QoS maximum bandwidth configuration is not supported on linux"),
        ),
    ]
}

fn devices() -> Vec<(Value, Expect)> {
    let device =
        json!({ "PathOnHost": "/dev/null", "PathInContainer": "/dev/mine", "CgroupPermissions": "rwm" });
    let gpu = json!({ "Driver": "", "Count": 0, "DeviceIDs": ["0"], "Capabilities": [["gpu"]], "Options": { "a": "b" } });
    vec![
        (json!({ "Devices": [device] }), Seen("[ -c /dev/mine ]")),
        (
            json!({ "DeviceCgroupRules": ["c 10:237 r"] }),
            Seen("mknod /tmp/d c 10 237 && head -c 0 </tmp/d && ! (echo >/tmp/d) 2>/dev/null"),
        ),
        (json!({ "DeviceRequests": [gpu] }), Unstartable("could not select device driver")),
    ]
}

fn filesystems() -> Vec<(Value, Expect)> {
    vec![
        (json!({ "Binds": ["/tmp:/b:ro"] }), Seen("grep -q ' /b ' /proc/mounts && ! touch /b/x 2>/dev/null")),
        (json!({ "VolumeDriver": "local", "Binds": ["{volume}:/v"] }), Seen("touch /v/x")),
        (json!({ "VolumesFrom": ["{other}"] }), Seen("grep -q ' /shared ' /proc/mounts")),
        (json!({ "ReadonlyRootfs": true }), Seen("! touch /x 2>/dev/null")),
        (json!({ "StorageOpt": { "size": "1G" } }), ShownOr("storage-opt")),
        (json!({ "Tmpfs": { "/t": "size=1m" } }), Seen("[ `df -k /t | awk 'END { print $2 }'` = 1024 ]")),
        (json!({ "ShmSize": 1 << 20 }), Seen("[ `df -k /dev/shm | awk 'END { print $2 }'` = 1024 ]")),
        (json!({ "MaskedPaths": ["/proc/uptime"] }), Seen("[ -z \"`cat /proc/uptime`\" ]")),
        (json!({ "ReadonlyPaths": ["/proc/sys"] }), Seen("! echo x 2>/dev/null >/proc/sys/kernel/hostname")),
    ]
}

fn namespaces() -> Vec<(Value, Expect)> {
    vec![
        (json!({ "NetworkMode": "none" }), Seen("[ `ls /sys/class/net | grep -c eth` = 0 ]")),
        (json!({ "PidMode": "host" }), Seen("[ $$ != 1 ]")),
        (json!({ "IpcMode": "none" }), Seen("! grep -q ' /dev/shm ' /proc/mounts")),
        (
            json!({ "UTSMode": "host", "UsernsMode": "host" }),
            Seen("[ \"`hostname`\" = '{host}' ] && grep -q ' 0 *0 *4294967295' /proc/self/uid_map"),
        ),
        (
            json!({ "CgroupnsMode": "private" }),
            Seen("[ \"`cut -d: -f3- /proc/self/cgroup | sort -u`\" = / ]"),
        ),
        (
            json!({ "Sysctls": { "net.ipv4.ip_default_ttl": "33" } }),
            Seen("[ `cat /proc/sys/net/ipv4/ip_default_ttl` = 33 ]"),
        ),
        (
            json!({ "NetworkMode": "bridge", "Dns": ["9.9.9.9"], "DnsOptions": ["ndots:2"], "DnsSearch": ["example.org"] }),
            Seen("[ `grep -cE 'nameserver 9.9.9.9|ndots:2|search example.org' /etc/resolv.conf` = 3 ]"),
        ),
        (
            json!({ "NetworkMode": "bridge", "ExtraHosts": ["far:1.2.3.4"] }),
            Seen("grep -q '1.2.3.4.far' /etc/hosts"),
        ),
        (
            json!({ "NetworkMode": "bridge", "Links": ["{bridged}:linked"] }),
            Done("grep -q '[[:space:]]linked' /etc/hosts"),
        ),
    ]
}

fn rest() -> Vec<(Value, Expect)> {
    vec![
        (json!({ "ContainerIDFile": "/tmp/id" }), Shown),
        (json!({ "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m" } } }), Shown),
        (json!({ "LogConfig": { "Type": "none", "Config": {} } }), Checked("echo x", effects::has_no_log)),
        (
            json!({ "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 2 } }),
            Checked("exit 1", effects::restarts_twice),
        ),
        (json!({ "AutoRemove": true, "Cgroup": "" }), Checked("", effects::goes_by_itself)),
        (json!({ "Annotations": { "a": "b" } }), Shown),
        (
            json!({ "CapAdd": ["CAP_NET_ADMIN"], "CapDrop": ["CAP_CHOWN"] }),
            Seen("! chown app /tmp 2>/dev/null && grep -qx 'CapEff:.00000000a80435fa' /proc/self/status"),
        ),
        (json!({ "GroupAdd": ["2000"] }), Seen("id -G | grep -qw 2000")),
        (json!({ "Privileged": true }), Seen("mount -t tmpfs none /tmp")),
        (json!({ "SecurityOpt": ["no-new-privileges"] }), Seen("grep -qx 'NoNewPrivs:.1' /proc/self/status")),
        (
            json!({ "Init": true }),
            SeenOr("docker-init", "[ $$ != 1 ] && grep -q docker-init /proc/1/cmdline"),
        ),
        (json!({ "Runtime": "runc" }), Shown),
        (json!({ "Isolation": "default" }), Shown),
        (
            json!({ "Isolation": "process" }),
            Refused("invalid isolation (process): linux only supports 'default'"),
        ),
    ]
}

fn mounts() -> Vec<(Value, Expect)> {
    // There are mounts below it.
    let bind =
        |options: Value| json!({ "Type": "bind", "Source": "/dev", "Target": "/m", "BindOptions": options });
    let read_only = |options: Value| json!({ "Type": "bind", "Source": "/dev", "Target": "/m", "ReadOnly": true, "BindOptions": options });
    let created = json!({ "Type": "bind", "Source": "{scratch}/made", "Target": "/m",
        "BindOptions": { "CreateMountpoint": true } });
    let driver =
        json!({ "Name": "local", "Options": { "type": "tmpfs", "device": "tmpfs", "o": "size=1m" } });
    let volume = json!({ "Type": "volume", "Target": "/m",
        "VolumeOptions": { "Labels": { "a": "b" }, "DriverConfig": driver } });
    vec![
        (
            json!({ "Type": "bind", "Source": "/dev/shm", "Target": "/m", "ReadOnly": true, "Consistency": "cached" }),
            Seen("grep -q ' /m ' /proc/mounts && ! touch /m/x 2>/dev/null"),
        ),
        (
            bind(json!({ "Propagation": "rprivate", "NonRecursive": true })),
            Seen("grep -q ' /m ' /proc/mounts && ! grep -q ' /m/' /proc/mounts"),
        ),
        (
            bind(json!({ "Propagation": "rprivate" })),
            Seen(
                "grep -q ' /m/pts rw' /proc/self/mountinfo && ! grep -E ' /m .*(shared|master):' /proc/self/mountinfo",
            ),
        ),
        (
            read_only(json!({ "ReadOnlyNonRecursive": true })),
            Seen("grep -q ' /m ro' /proc/self/mountinfo && grep -q ' /m/pts rw' /proc/self/mountinfo"),
        ),
        (
            read_only(json!({ "ReadOnlyForceRecursive": true, "Propagation": "rprivate" })),
            Seen("grep -q ' /m ro' /proc/self/mountinfo && grep -q ' /m/pts ro' /proc/self/mountinfo"),
        ),
        (created, Seen("grep -q ' /m ' /proc/mounts")),
        (volume, Checked("[ `df -k /m | awk 'END { print $2 }'` = 1024 ]", effects::has_a_labelled_volume)),
        (
            json!({ "Type": "volume", "Target": "/etc", "VolumeOptions": { "NoCopy": true } }),
            Seen("grep -q ' /etc ' /proc/mounts && [ ! -e /etc/passwd ]"),
        ),
        (
            json!({ "Type": "volume", "Source": "{volume}", "Target": "/m", "VolumeOptions": { "Subpath": "sub" } }),
            Seen("[ -e /m/inside ]"),
        ),
        (
            json!({ "Type": "tmpfs", "Target": "/m", "TmpfsOptions": { "SizeBytes": 1 << 20, "Mode": 0o700, "Options": [["noexec"]] } }),
            Seen("grep -q ' /m tmpfs .*noexec.*size=1024k,mode=700' /proc/mounts"),
        ),
        (
            json!({ "Type": "image", "Source": "busybox", "Target": "/m", "ImageOptions": { "Subpath": "bin" } }),
            Seen("[ -x /m/busybox ]"),
        ),
    ]
}

fn endpoints() -> Vec<(Value, Expect)> {
    vec![
        (
            json!({ "IPAMConfig": { "IPv4Address": "{v4}.7", "IPv6Address": "{v6}::7" }, "MacAddress": "02:42:0a:0a:0a:0b" }),
            Seen(
                "ip addr show eth0 | grep -q {v4}.7/ && ip addr show eth0 | grep -q {v6}::7/ && grep -q 02:42:0a:0a:0a:0b /sys/class/net/eth0/address",
            ),
        ),
        (json!({ "Aliases": ["walked"] }), Seen("nslookup walked 127.0.0.11 >/dev/null")),
        (json!({ "Links": ["{other}:linked"] }), Seen("nslookup linked 127.0.0.11 >/dev/null")),
        (
            json!({ "DriverOpts": { "com.docker.network.endpoint.ifname": "walk0" } }),
            Seen("[ -d /sys/class/net/walk0 ]"),
        ),
        (
            json!({ "IPAMConfig": { "LinkLocalIPs": ["169.254.7.7"] } }),
            Seen("ip addr show eth0 | grep -q 169.254.7.7/"),
        ),
    ]
}
