//! The tree: which name leads to which command, at the top and below `container`, `image` and the others.

use super::{
    files::*, image::*, lifecycle::*, look::*, manifest::*, network::*, registry::*, start::*, system::*,
    volume::*,
};
use crate::{
    grammar::{Entry, Flag, Group, Node, Section, list, switch, value},
    options::types::*,
};

const NONE: char = '\0';

/// The options before the command.
pub(crate) static GLOBAL: &[Flag] = &[
    value(NONE, "config", &STRING, "Location of client config files"),
    value(
        'c',
        "context",
        &STRING,
        "Name of the context to use to connect to the daemon (overrides DOCKER_HOST env var and default context set \
         with \"docker context use\")",
    ),
    switch('D', "debug", "Enable debug mode"),
    list('H', "host", &STRING_ARRAY, "Daemon socket to connect to"),
    value(
        'l',
        "log-level",
        &STRING,
        "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\")",
    )
    .default("info"),
    switch(NONE, "tls", "Use TLS; implied by --tlsverify"),
    value(NONE, "tlscacert", &STRING, "Trust certs signed only by this CA"),
    value(NONE, "tlscert", &STRING, "Path to TLS certificate file"),
    value(NONE, "tlskey", &STRING, "Path to TLS key file"),
    switch(NONE, "tlsverify", "Use TLS and verify the remote"),
    switch('v', "version", "Print version information and quit"),
];

/// The top.
pub(crate) static ROOT: Group = Group {
    about: "A self-sufficient runtime for containers",
    entries: &[
        top("run", &RUN),
        top("exec", &EXEC),
        top("ps", &CONTAINER_LS),
        top("pull", &PULL),
        top("push", &PUSH),
        top("images", &IMAGE_LS),
        top("login", &LOGIN),
        top("logout", &LOGOUT),
        top("search", &SEARCH),
        top("version", &VERSION),
        top("info", &INFO),
        group("container", &CONTAINER),
        group("image", &IMAGE),
        group("manifest", &MANIFEST),
        group("network", &NETWORK_GROUP),
        group("system", &SYSTEM),
        group("volume", &VOLUME_GROUP),
        leaf("attach", &ATTACH),
        leaf("commit", &COMMIT),
        leaf("cp", &CP),
        leaf("create", &CREATE),
        leaf("diff", &DIFF),
        leaf("events", &EVENTS),
        leaf("explain", &EXPLAIN),
        leaf("export", &EXPORT),
        leaf("history", &HISTORY),
        leaf("import", &IMPORT),
        leaf("inspect", &INSPECT),
        leaf("kill", &KILL),
        leaf("load", &LOAD),
        leaf("logs", &LOGS),
        leaf("pause", &PAUSE),
        leaf("port", &PORT),
        leaf("rename", &RENAME),
        leaf("restart", &RESTART),
        leaf("rm", &RM),
        leaf("rmi", &IMAGE_RM),
        leaf("save", &SAVE),
        leaf("start", &START),
        leaf("stats", &STATS),
        leaf("stop", &STOP),
        leaf("tag", &TAG),
        leaf("top", &TOP),
        leaf("unpause", &UNPAUSE),
        leaf("update", &UPDATE),
        leaf("wait", &WAIT),
    ],
};

static CONTAINER: Group = Group {
    about: "Manage containers",
    entries: &[
        leaf("attach", &ATTACH),
        leaf("commit", &COMMIT),
        leaf("cp", &CP),
        leaf("create", &CREATE),
        leaf("diff", &DIFF),
        leaf("exec", &EXEC),
        leaf("export", &EXPORT),
        leaf("inspect", &CONTAINER_INSPECT),
        leaf("kill", &KILL),
        leaf("logs", &LOGS),
        leaf("ls", &CONTAINER_LS).also(&["list", "ps"]),
        leaf("pause", &PAUSE),
        leaf("port", &PORT),
        leaf("prune", &CONTAINER_PRUNE),
        leaf("rename", &RENAME),
        leaf("restart", &RESTART),
        leaf("rm", &RM).also(&["remove"]),
        leaf("run", &RUN),
        leaf("start", &START),
        leaf("stats", &STATS),
        leaf("stop", &STOP),
        leaf("top", &TOP),
        leaf("unpause", &UNPAUSE),
        leaf("update", &UPDATE),
        leaf("wait", &WAIT),
    ],
};

static IMAGE: Group = Group {
    about: "Manage images",
    entries: &[
        leaf("history", &HISTORY),
        leaf("import", &IMPORT),
        leaf("inspect", &IMAGE_INSPECT),
        leaf("load", &LOAD),
        leaf("ls", &IMAGE_LS).also(&["list"]),
        leaf("prune", &IMAGE_PRUNE),
        leaf("pull", &PULL),
        leaf("push", &PUSH),
        leaf("rm", &IMAGE_RM).also(&["remove"]),
        leaf("save", &SAVE),
        leaf("tag", &TAG),
        leaf("verify", &VERIFY),
    ],
};

static MANIFEST: Group = Group {
    about: "Manage Docker image manifests and manifest lists",
    entries: &[
        leaf("annotate", &MANIFEST_ANNOTATE),
        leaf("create", &MANIFEST_CREATE),
        leaf("inspect", &MANIFEST_INSPECT),
        leaf("push", &MANIFEST_PUSH),
        leaf("rm", &MANIFEST_RM),
    ],
};

static NETWORK_GROUP: Group = Group {
    about: "Manage networks",
    entries: &[
        leaf("connect", &NETWORK_CONNECT),
        leaf("create", &NETWORK_CREATE),
        leaf("disconnect", &NETWORK_DISCONNECT),
        leaf("explain", &NETWORK_EXPLAIN),
        leaf("inspect", &NETWORK_INSPECT),
        leaf("ls", &NETWORK_LS).also(&["list"]),
        leaf("prune", &NETWORK_PRUNE),
        leaf("rm", &NETWORK_RM).also(&["remove"]),
    ],
};

static SYSTEM: Group = Group {
    about: "Manage Docker",
    entries: &[
        leaf("df", &SYSTEM_DF),
        leaf("events", &EVENTS),
        leaf("info", &INFO),
        leaf("prune", &SYSTEM_PRUNE),
    ],
};

static VOLUME_GROUP: Group = Group {
    about: "Manage volumes",
    entries: &[
        leaf("create", &VOLUME_CREATE),
        leaf("inspect", &VOLUME_INSPECT),
        leaf("ls", &VOLUME_LS).also(&["list"]),
        leaf("prune", &VOLUME_PRUNE),
        leaf("rm", &VOLUME_RM).also(&["remove"]),
        leaf("update", &VOLUME_UPDATE).hidden(),
    ],
};

/// Commands of docker's that do not exist here yet, so that they are told apart from those that never will.
pub(crate) static UNSUPPORTED: &[&str] = &[
    "bake",
    "build",
    "builder",
    "buildx",
    "checkpoint",
    "compose",
    "config",
    "context",
    "image build",
    "node",
    "plugin",
    "secret",
    "service",
    "stack",
    "swarm",
    "trust",
];

const fn leaf(name: &'static str, command: &'static crate::grammar::Command) -> Entry {
    Entry { name, also: &[], section: Section::Plain, node: Node::Command(command) }
}

const fn top(name: &'static str, command: &'static crate::grammar::Command) -> Entry {
    Entry { name, also: &[], section: Section::Common, node: Node::Command(command) }
}

const fn group(name: &'static str, group: &'static Group) -> Entry {
    Entry { name, also: &[], section: Section::Management, node: Node::Group(group) }
}
