//! Commands about volumes.

use super::text::*;
use crate::grammar::{Args, Command, Verb, list, switch, value};
use crate::options::types::*;

const NONE: char = '\0';

pub(super) static VOLUME_CREATE: Command = Command {
    verb: Verb::VolumeCreate,
    usage: "[OPTIONS] [VOLUME]",
    about: "Create a volume",
    aliases: "",
    args: Args::AtMost(1),
    interspersed: true,
    flags: &[&[
        value('d', "driver", &STRING, "Specify volume driver name").default("local"),
        list(NONE, "label", &LABEL, "Set metadata for a volume"),
        value(NONE, "name", &STRING, "Specify volume name").hidden(),
        list('o', "opt", &MAP, "Set driver specific options").default("map[]"),
    ]],
};

pub(super) static VOLUME_INSPECT: Command = Command {
    verb: Verb::VolumeInspect,
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Display detailed information on one or more volumes",
    aliases: "",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[value('f', "format", &STRING, FORMAT)]],
};

pub(super) static VOLUME_LS: Command = Command {
    verb: Verb::VolumeLs,
    usage: "[OPTIONS]",
    about: "List volumes",
    aliases: "docker volume ls, docker volume list",
    args: Args::None,
    interspersed: true,
    flags: &[&[
        list('f', "filter", &FILTER, "Provide filter values (e.g. \"dangling=true\")"),
        value(NONE, "format", &STRING, FORMAT_TABLE),
        switch('q', "quiet", "Only display volume names"),
    ]],
};

pub(super) static VOLUME_PRUNE: Command = Command {
    verb: Verb::VolumePrune,
    usage: "[OPTIONS]",
    about: "Remove unused local volumes",
    aliases: "",
    args: Args::None,
    interspersed: true,
    flags: &[&[
        switch('a', "all", "Remove all unused volumes, not just anonymous ones"),
        list(NONE, "filter", &FILTER, "Provide filter values (e.g. \"label=<label>\")"),
        switch('f', "force", "Do not prompt for confirmation"),
    ]],
};

pub(super) static VOLUME_RM: Command = Command {
    verb: Verb::VolumeRm,
    usage: "[OPTIONS] VOLUME [VOLUME...]",
    about: "Remove one or more volumes. You cannot remove a volume that is in use by a container.",
    aliases: "docker volume rm, docker volume remove",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[switch('f', "force", "Force the removal of one or more volumes")]],
};

pub(super) static VOLUME_UPDATE: Command = Command {
    verb: Verb::VolumeUpdate,
    usage: "[OPTIONS] VOLUME",
    about: "Update a volume (cluster volumes only)",
    aliases: "",
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[value(
        NONE,
        "availability",
        &STRING,
        "Cluster Volume availability (\"active\", \"pause\", \"drain\")",
    )
    .default("active")
    .hidden()]],
};
