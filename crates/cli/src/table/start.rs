//! Commands that bring processes to life: `run`, `create` and `exec`.

use crate::grammar::{Args, Command, Verb, list, switch, value};
use crate::options::types::*;

const NONE: char = '\0';

pub(super) static RUN: Command = Command {
    verb: Verb::Run,
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create and run a new container from an image",
    aliases: "docker container run, docker run",
    args: Args::AtLeast(1),
    interspersed: false,
    flags: &[
        super::create::CONTAINER,
        &[
            switch('d', "detach", "Run container in background and print container ID"),
            value(NONE, "detach-keys", &STRING, "Override the key sequence for detaching a container"),
            value(NONE, "pull", &STRING, "Pull image before running (\"always\", \"missing\", \"never\")")
                .default("missing"),
            switch(NONE, "sig-proxy", "Proxy received signals to the process").default("true"),
        ],
    ],
};

pub(super) static CREATE: Command = Command {
    verb: Verb::Create,
    usage: "[OPTIONS] IMAGE [COMMAND] [ARG...]",
    about: "Create a new container",
    aliases: "docker container create, docker create",
    args: Args::AtLeast(1),
    interspersed: false,
    flags: &[
        super::create::CONTAINER,
        &[value(NONE, "pull", &STRING, "Pull image before creating (\"always\", \"|missing\", \"never\")")
            .default("missing")],
    ],
};

pub(super) static EXEC: Command = Command {
    verb: Verb::Exec,
    usage: "[OPTIONS] CONTAINER COMMAND [ARG...]",
    about: "Execute a command in a running container",
    aliases: "docker container exec, docker exec",
    args: Args::AtLeast(2),
    interspersed: false,
    flags: &[&[
        switch('d', "detach", "Detached mode: run command in the background"),
        value(NONE, "detach-keys", &STRING, "Override the key sequence for detaching a container"),
        list('e', "env", &ENV, "Set environment variables"),
        list(NONE, "env-file", &LIST, "Read in a file of environment variables"),
        switch('i', "interactive", "Keep STDIN open even if not attached"),
        switch(NONE, "privileged", "Give extended privileges to the command"),
        switch('t', "tty", "Allocate a pseudo-TTY"),
        value('u', "user", &STRING, "Username or UID (format: \"<name|uid>[:<group|gid>]\")"),
        value('w', "workdir", &STRING, "Working directory inside the container"),
    ]],
};
