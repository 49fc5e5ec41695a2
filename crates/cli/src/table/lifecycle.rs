//! Commands that change containers which exist.

use crate::grammar::{Args, Command, Verb, list, switch, value};
use crate::options::types::*;

const NONE: char = '\0';

pub(super) static ATTACH: Command = Command {
    verb: Verb::Attach,
    usage: "[OPTIONS] CONTAINER",
    about: "Attach local standard input, output, and error streams to a running container",
    aliases: "docker container attach, docker attach",
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        value(NONE, "detach-keys", &STRING, "Override the key sequence for detaching a container"),
        switch(NONE, "no-stdin", "Do not attach STDIN"),
        switch(NONE, "sig-proxy", "Proxy all received signals to the process").default("true"),
    ]],
};

pub(super) static KILL: Command = Command {
    verb: Verb::Kill,
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Kill one or more running containers",
    aliases: "docker container kill, docker kill",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[value('s', "signal", &STRING, "Signal to send to the container")]],
};

pub(super) static PAUSE: Command = Command {
    verb: Verb::Pause,
    usage: "CONTAINER [CONTAINER...]",
    about: "Pause all processes within one or more containers",
    aliases: "docker container pause, docker pause",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[],
};

pub(super) static CONTAINER_PRUNE: Command = Command {
    verb: Verb::ContainerPrune,
    usage: "[OPTIONS]",
    about: "Remove all stopped containers",
    aliases: "",
    args: Args::None,
    interspersed: true,
    flags: &[&[
        list(NONE, "filter", &FILTER, "Provide filter values (e.g. \"until=<timestamp>\")"),
        switch('f', "force", "Do not prompt for confirmation"),
    ]],
};

pub(super) static RENAME: Command = Command {
    verb: Verb::Rename,
    usage: "CONTAINER NEW_NAME",
    about: "Rename a container",
    aliases: "docker container rename, docker rename",
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[],
};

pub(super) static RESTART: Command = Command {
    verb: Verb::Restart,
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Restart one or more containers",
    aliases: "docker container restart, docker restart",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        value('s', "signal", &STRING, "Signal to send to the container"),
        value('t', "timeout", &INT, "Seconds to wait before killing the container"),
        value(NONE, "time", &INT, "Seconds to wait before killing the container (deprecated: use --timeout)")
            .deprecated("timeout", "use --timeout instead"),
    ]],
};

pub(super) static RM: Command = Command {
    verb: Verb::Rm,
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Remove one or more containers",
    aliases: "docker container rm, docker container remove, docker rm",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        switch('f', "force", "Force the removal of a running container (uses SIGKILL)"),
        switch('l', "link", "Remove the specified link"),
        switch('v', "volumes", "Remove anonymous volumes associated with the container"),
    ]],
};

pub(super) static START: Command = Command {
    verb: Verb::Start,
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Start one or more stopped containers",
    aliases: "docker container start, docker start",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        switch('a', "attach", "Attach STDOUT/STDERR and forward signals"),
        value(NONE, "detach-keys", &STRING, "Override the key sequence for detaching a container"),
        switch('i', "interactive", "Attach container's STDIN"),
    ]],
};

pub(super) static STOP: Command = Command {
    verb: Verb::Stop,
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Stop one or more running containers",
    aliases: "docker container stop, docker stop",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        value('s', "signal", &STRING, "Signal to send to the container"),
        value('t', "timeout", &INT, "Seconds to wait before killing the container"),
        value(NONE, "time", &INT, "Seconds to wait before killing the container (deprecated: use --timeout)")
            .deprecated("timeout", "use --timeout instead"),
    ]],
};

pub(super) static UNPAUSE: Command = Command {
    verb: Verb::Unpause,
    usage: "CONTAINER [CONTAINER...]",
    about: "Unpause all processes within one or more containers",
    aliases: "docker container unpause, docker unpause",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[],
};

pub(super) static UPDATE: Command = Command {
    verb: Verb::Update,
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Update configuration of one or more containers",
    aliases: "docker container update, docker update",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        value(
            NONE,
            "blkio-weight",
            &UINT16,
            "Block IO (relative weight), between 10 and 1000, or 0 to disable",
        )
        .default("0"),
        value(NONE, "cpu-period", &INT, "Limit CPU CFS (Completely Fair Scheduler) period"),
        value(NONE, "cpu-quota", &INT, "Limit CPU CFS (Completely Fair Scheduler) quota"),
        value(NONE, "cpu-rt-period", &INT, "Limit the CPU real-time period in microseconds"),
        value(NONE, "cpu-rt-runtime", &INT, "Limit the CPU real-time runtime in microseconds"),
        value('c', "cpu-shares", &INT, "CPU shares (relative weight)"),
        value(NONE, "cpus", &DECIMAL, "Number of CPUs"),
        value(NONE, "cpuset-cpus", &STRING, "CPUs in which to allow execution (0-3, 0,1)"),
        value(NONE, "cpuset-mems", &STRING, "MEMs in which to allow execution (0-3, 0,1)"),
        value('m', "memory", &BYTES, "Memory limit"),
        value(NONE, "memory-reservation", &BYTES, "Memory soft limit"),
        value(
            NONE,
            "memory-swap",
            &MEMORY_SWAP,
            "Swap limit equal to memory plus swap: -1 to enable unlimited swap",
        ),
        value(NONE, "pids-limit", &INT, "Tune container pids limit (set -1 for unlimited)"),
        value(NONE, "restart", &STRING, "Restart policy to apply when a container exits"),
        value(NONE, "kernel-memory", &BYTES, "Kernel memory limit (deprecated)").hidden(),
    ]],
};

pub(super) static WAIT: Command = Command {
    verb: Verb::Wait,
    usage: "CONTAINER [CONTAINER...]",
    about: "Block until one or more containers stop, then print their exit codes",
    aliases: "docker container wait, docker wait",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[],
};
