//! Every field of the body of `POST /containers/create`: what is sent is seen in `inspect`, mostly also from within the container,
//! or it is refused by name.

use serde_json::{Value, json};

/// A part of a body, and what comes of it.
pub(super) struct Probe {
    /// Merged into a body that runs a shell. `{net}` and `{volume}` stand for a network and a volume,
    /// `{other}` and `{bridged}` for containers, the latter on the default bridge, `{v4}` and `{v6}` for the beginnings of the
    /// network's addresses, `{scratch}` for a directory.
    pub(super) body: Value,
    pub(super) expect: Expect,
}

/// What comes of a probe.
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
    /// The answer has a warning with these words.
    Warned(&'static str),
    /// The request fails with these words.
    Refused(&'static str),
}

use Expect::{Done, Refused, Seen, Shown, ShownOr, Warned};

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
    let check = json!({ "Test": ["CMD", "true"], "Interval": 1_000_000_000, "Timeout": 2_000_000_000,
        "StartPeriod": 3_000_000_000_u64, "StartInterval": 4_000_000_000_u64, "Retries": 5 });
    vec![
        (
            json!({ "Hostname": "hn", "Domainname": "dn" }),
            Seen("[ `cat /proc/sys/kernel/hostname`.`cat /proc/sys/kernel/domainname` = hn.dn ]"),
        ),
        (json!({ "User": "app" }), Seen("[ `id -un` = app ]")),
        (json!({ "AttachStdin": true, "AttachStdout": true, "AttachStderr": true }), Shown),
        (json!({ "OpenStdin": true, "StdinOnce": true }), Shown),
        (json!({ "ExposedPorts": { "80/tcp": {} } }), Shown),
        (json!({ "Tty": true }), Seen("test -t 1")),
        (json!({ "Env": ["A=b c"] }), Seen("[ \"$A\" = 'b c' ]")),
        (json!({ "Healthcheck": check }), Shown),
        (json!({ "ArgsEscaped": true }), Shown),
        (json!({ "Image": "busybox", "Cmd": ["true"], "Entrypoint": ["env"] }), Shown),
        (json!({ "Volumes": { "/vol": {} } }), Seen("grep -q ' /vol ' /proc/mounts")),
        (json!({ "WorkingDir": "/tmp" }), Seen("[ `pwd` = /tmp ]")),
        (
            json!({ "NetworkDisabled": true, "HostConfig": { "NetworkMode": "bridge" } }),
            Seen("[ `ls /sys/class/net | grep -c eth` = 0 ]"),
        ),
        (
            json!({ "MacAddress": "02:42:0a:0a:0a:0a", "HostConfig": { "NetworkMode": "bridge" } }),
            Seen("grep -q 02:42:0a:0a:0a:0a /sys/class/net/eth0/address"),
        ),
        (json!({ "OnBuild": ["RUN true"], "Labels": { "a": "b" }, "Shell": ["/bin/sh", "-c"] }), Shown),
        (json!({ "StopSignal": "SIGUSR1", "StopTimeout": 3 }), Shown),
    ]
}

fn limits() -> Vec<(Value, Expect)> {
    let rate = json!([{ "Path": "/dev/sda", "Rate": 1000 }]);
    vec![
        (
            json!({ "Memory": 64 << 20, "MemoryReservation": 32 << 20, "MemorySwap": 64 << 20 }),
            Seen(
                "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null | grep -qx 67108864",
            ),
        ),
        (
            json!({ "CpuShares": 512 }),
            Seen(
                "cat /sys/fs/cgroup/cpu/cpu.shares /sys/fs/cgroup/cpu.weight 2>/dev/null | grep -qEx '512|20|59'",
            ),
        ),
        (
            json!({ "CpuPeriod": 50_000, "CpuQuota": 20_000 }),
            Seen(
                "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null | grep -qEx '20000( 50000)?'",
            ),
        ),
        (
            json!({ "NanoCpus": 500_000_000 }),
            Seen(
                "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null | grep -qEx '50000( 100000)?'",
            ),
        ),
        (json!({ "CpuRealtimePeriod": 1_000_000, "CpuRealtimeRuntime": 100 }), ShownOr("real-time")),
        (
            json!({ "CpusetCpus": "0", "CpusetMems": "0" }),
            Seen("grep -qx 'Cpus_allowed_list:.0' /proc/self/status"),
        ),
        (
            json!({ "PidsLimit": 77 }),
            Seen("cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null | grep -qx 77"),
        ),
        (json!({ "CgroupParent": "/skiff/walk" }), Shown),
        (json!({ "BlkioWeight": 300 }), ShownOr("Your kernel does not support Block I/O weight")),
        (
            json!({ "BlkioWeightDevice": [{ "Path": "/dev/sda", "Weight": 300 }] }),
            ShownOr("Your kernel does not support Block I/O weight_device"),
        ),
        (json!({ "BlkioDeviceReadBps": rate, "BlkioDeviceWriteBps": rate }), Shown),
        (json!({ "BlkioDeviceReadIOps": rate, "BlkioDeviceWriteIOps": rate }), Shown),
        (json!({ "KernelMemoryTCP": 8 << 20 }), ShownOr("does not support kernel memory TCP")),
        (json!({ "MemorySwappiness": 60 }), ShownOr("Your kernel does not support memory swappiness")),
        (json!({ "OomKillDisable": true, "Memory": 64 << 20 }), ShownOr("OomKillDisable discarded")),
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
        (json!({ "DeviceCgroupRules": ["c 1:3 rwm"] }), Shown),
        (json!({ "DeviceRequests": [gpu] }), Shown),
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
        (json!({ "UTSMode": "host", "UsernsMode": "host" }), Shown),
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
            json!({ "NetworkMode": "bridge", "PortBindings": { "80/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "" }] } }),
            Shown,
        ),
        (json!({ "NetworkMode": "bridge", "PublishAllPorts": true }), Shown),
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
        (json!({ "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 2 } }), Shown),
        (json!({ "AutoRemove": true, "Cgroup": "" }), Shown),
        (json!({ "ConsoleSize": [20, 30] }), Shown),
        (json!({ "Annotations": { "a": "b" } }), Shown),
        (
            json!({ "CapAdd": ["CAP_NET_ADMIN"], "CapDrop": ["CAP_CHOWN"] }),
            Seen("! chown app /tmp 2>/dev/null"),
        ),
        (json!({ "GroupAdd": ["2000"] }), Seen("id -G | grep -qw 2000")),
        (json!({ "Privileged": true }), Seen("mount -t tmpfs none /tmp")),
        (json!({ "SecurityOpt": ["no-new-privileges"] }), Seen("grep -qx 'NoNewPrivs:.1' /proc/self/status")),
        (json!({ "Init": true }), Shown),
        (json!({ "Runtime": "runc" }), Shown),
        (json!({ "Isolation": "default" }), Shown),
        (
            json!({ "Isolation": "process" }),
            Refused("invalid isolation (process): linux only supports 'default'"),
        ),
    ]
}

fn mounts() -> Vec<(Value, Expect)> {
    let bind = |options: Value| json!({ "Type": "bind", "Source": "/dev/shm", "Target": "/m", "BindOptions": options });
    let read_only = |options: Value| json!({ "Type": "bind", "Source": "/dev/shm", "Target": "/m", "ReadOnly": true, "BindOptions": options });
    let created = json!({ "Type": "bind", "Source": "{scratch}/made", "Target": "/m",
        "BindOptions": { "CreateMountpoint": true } });
    let driver =
        json!({ "Name": "local", "Options": { "type": "tmpfs", "device": "tmpfs", "o": "size=1m" } });
    let volume = json!({ "Type": "volume", "Target": "/m",
        "VolumeOptions": { "NoCopy": true, "Labels": { "a": "b" }, "DriverConfig": driver } });
    vec![
        (
            json!({ "Type": "bind", "Source": "/dev/shm", "Target": "/m", "ReadOnly": true, "Consistency": "cached" }),
            Seen("grep -q ' /m ' /proc/mounts && ! touch /m/x 2>/dev/null"),
        ),
        (
            bind(json!({ "Propagation": "rprivate", "NonRecursive": true })),
            Seen("grep -q ' /m ' /proc/mounts"),
        ),
        (read_only(json!({ "ReadOnlyNonRecursive": true })), Seen("grep -q ' /m ' /proc/mounts")),
        (
            read_only(json!({ "ReadOnlyForceRecursive": true, "Propagation": "rprivate" })),
            Seen("grep -q ' /m ' /proc/mounts"),
        ),
        (created, Seen("grep -q ' /m ' /proc/mounts")),
        (volume, Seen("[ `df -k /m | awk 'END { print $2 }'` = 1024 ]")),
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
        (json!({ "Links": ["{other}:linked"], "GwPriority": 3 }), Shown),
        (
            json!({ "DriverOpts": { "com.docker.network.endpoint.ifname": "walk0" } }),
            Seen("[ -d /sys/class/net/walk0 ]"),
        ),
        (json!({ "IPAMConfig": { "LinkLocalIPs": ["169.254.7.7"] } }), Shown),
    ]
}
