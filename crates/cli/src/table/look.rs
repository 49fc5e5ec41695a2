//! Commands that look at containers, and those that look at any object.

use super::text::*;
use crate::grammar::{Args, Command, Verb, list, switch, value};
use crate::options::types::*;

const NONE: char = '\0';

pub(super) static CONTAINER_INSPECT: Command = Command {
    verb: Verb::ContainerInspect,
    usage: "[OPTIONS] CONTAINER [CONTAINER...]",
    about: "Display detailed information on one or more containers",
    aliases: "",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[value('f', "format", &STRING, FORMAT), switch('s', "size", "Display total file sizes")]],
};

/// Ours; docker has none.
pub(super) static EXPLAIN: Command = Command {
    verb: Verb::Explain,
    usage: "CONTAINER [CONTAINER...]",
    about: "Say in sentences why one or more containers are as they are",
    aliases: "",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[],
};

pub(super) static INSPECT: Command = Command {
    verb: Verb::Inspect,
    usage: "[OPTIONS] NAME|ID [NAME|ID...]",
    about: "Return low-level information on Docker objects",
    aliases: "",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        value('f', "format", &STRING, FORMAT),
        switch('s', "size", "Display total file sizes if the type is container"),
        value(NONE, "type", &STRING, "Only inspect objects of the given type"),
    ]],
};

pub(super) static LOGS: Command = Command {
    verb: Verb::Logs,
    usage: "[OPTIONS] CONTAINER",
    about: "Fetch the logs of a container",
    aliases: "docker container logs, docker logs",
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        switch(NONE, "details", "Show extra details provided to logs"),
        switch('f', "follow", "Follow log output"),
        value(
            NONE,
            "since",
            &STRING,
            "Show logs since timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
        ),
        value('n', "tail", &STRING, "Number of lines to show from the end of the logs").default("all"),
        switch('t', "timestamps", "Show timestamps"),
        value(
            NONE,
            "until",
            &STRING,
            "Show logs before a timestamp (e.g. \"2013-01-02T13:23:37Z\") or relative (e.g. \"42m\" for 42 minutes)",
        ),
    ]],
};

pub(super) static STATS: Command = Command {
    verb: Verb::Stats,
    usage: "[OPTIONS] [CONTAINER...]",
    about: "Display a live stream of container(s) resource usage statistics",
    aliases: "docker container stats, docker stats",
    args: Args::AtLeast(0),
    interspersed: true,
    flags: &[&[
        switch('a', "all", "Show all containers (default shows just running)"),
        value(NONE, "format", &STRING, FORMAT_TABLE),
        switch(NONE, "no-stream", "Disable streaming stats and only pull the first result"),
        switch(NONE, "no-trunc", "Do not truncate output"),
    ]],
};

pub(super) static CONTAINER_LS: Command = Command {
    verb: Verb::ContainerLs,
    usage: "[OPTIONS]",
    about: "List containers",
    aliases: "docker container ls, docker container list, docker container ps, docker ps",
    args: Args::None,
    interspersed: true,
    flags: &[&[
        switch('a', "all", "Show all containers").default("shows just running"),
        list('f', "filter", &FILTER, "Filter output based on conditions provided"),
        value(NONE, "format", &STRING, FORMAT_TABLE),
        value('n', "last", &INT, "Show n last created containers (includes all states)").default("-1"),
        switch('l', "latest", "Show the latest created container (includes all states)"),
        switch(NONE, "no-trunc", "Don't truncate output"),
        switch('q', "quiet", "Only display container IDs"),
        switch('s', "size", "Display total file sizes"),
    ]],
};

pub(super) static PORT: Command = Command {
    verb: Verb::Port,
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "List port mappings or a specific mapping for the container",
    aliases: "docker container port, docker port",
    args: Args::Between(1, 2),
    interspersed: true,
    flags: &[],
};

pub(super) static TOP: Command = Command {
    verb: Verb::Top,
    usage: "CONTAINER [ps OPTIONS]",
    about: "Display the running processes of a container",
    aliases: "docker container top, docker top",
    args: Args::AtLeast(1),
    interspersed: false,
    flags: &[],
};
