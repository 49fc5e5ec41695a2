//! Commands about containers' files.

use crate::grammar::{Args, Command, Verb, list, switch, value};
use crate::options::types::*;

pub(super) static COMMIT: Command = Command {
    verb: Verb::Commit,
    usage: "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    about: "Create a new image from a container's changes",
    aliases: "docker container commit, docker commit",
    args: Args::Between(1, 2),
    interspersed: true,
    flags: &[&[
        value('a', "author", &STRING, "Author (e.g., \"John Hannibal Smith <hannibal@a-team.com>\")"),
        list('c', "change", &LIST, "Apply Dockerfile instruction to the created image"),
        value('m', "message", &STRING, "Commit message"),
        switch('p', "pause", "Pause container during commit").default("true"),
    ]],
};

pub(super) static CP: Command = Command {
    verb: Verb::Cp,
    usage: "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tdocker cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    about: "Copy files/folders between a container and the local filesystem\n\nUse '-' as the source to read a tar archive from stdin\nand extract it to a directory destination in a container.\nUse '-' as the destination to stream a tar archive of a\ncontainer source to stdout.",
    aliases: "docker container cp, docker cp",
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[&[
        switch('a', "archive", "Archive mode (copy all uid/gid information)"),
        switch('L', "follow-link", "Always follow symbol link in SRC_PATH"),
        switch(
            'q',
            "quiet",
            "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached",
        ),
    ]],
};

pub(super) static DIFF: Command = Command {
    verb: Verb::Diff,
    usage: "CONTAINER",
    about: "Inspect changes to files or directories on a container's filesystem",
    aliases: "docker container diff, docker diff",
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[],
};

pub(super) static EXPORT: Command = Command {
    verb: Verb::Export,
    usage: "[OPTIONS] CONTAINER",
    about: "Export a container's filesystem as a tar archive",
    aliases: "docker container export, docker export",
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[value('o', "output", &STRING, "Write to a file, instead of STDOUT")]],
};
