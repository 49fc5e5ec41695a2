//! Commands about lists of images for several platforms.

use crate::grammar::{Args, Command, Verb, list, switch, value};
use crate::options::types::*;

const NONE: char = '\0';

pub(super) static MANIFEST_ANNOTATE: Command = Command {
    verb: Verb::ManifestAnnotate,
    usage: "[OPTIONS] MANIFEST_LIST MANIFEST",
    about: "Add additional information to a local image manifest",
    aliases: "",
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[&[
        value(NONE, "arch", &STRING, "Set architecture"),
        value(NONE, "os", &STRING, "Set operating system"),
        list(NONE, "os-features", &STRINGS, "Set operating system feature"),
        value(NONE, "os-version", &STRING, "Set operating system version"),
        value(NONE, "variant", &STRING, "Set architecture variant"),
    ]],
};

pub(super) static MANIFEST_CREATE: Command = Command {
    verb: Verb::ManifestCreate,
    usage: "MANIFEST_LIST MANIFEST [MANIFEST...]",
    about: "Create a local manifest list for annotating and pushing to a registry",
    aliases: "",
    args: Args::AtLeast(2),
    interspersed: true,
    flags: &[&[
        switch('a', "amend", "Amend an existing manifest list"),
        switch(NONE, "insecure", "Allow communication with an insecure registry"),
    ]],
};

pub(super) static MANIFEST_INSPECT: Command = Command {
    verb: Verb::ManifestInspect,
    usage: "[OPTIONS] [MANIFEST_LIST] MANIFEST",
    about: "Display an image manifest, or manifest list",
    aliases: "",
    args: Args::Between(1, 2),
    interspersed: true,
    flags: &[&[
        switch(NONE, "insecure", "Allow communication with an insecure registry"),
        switch('v', "verbose", "Output additional info including layers and platform"),
    ]],
};

pub(super) static MANIFEST_PUSH: Command = Command {
    verb: Verb::ManifestPush,
    usage: "[OPTIONS] MANIFEST_LIST",
    about: "Push a manifest list to a repository",
    aliases: "",
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        switch(NONE, "insecure", "Allow push to an insecure registry"),
        switch('p', "purge", "Remove the local manifest list after push"),
    ]],
};

pub(super) static MANIFEST_RM: Command = Command {
    verb: Verb::ManifestRm,
    usage: "MANIFEST_LIST [MANIFEST_LIST...]",
    about: "Delete one or more manifest lists from local storage",
    aliases: "",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[],
};
