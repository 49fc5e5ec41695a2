//! Commands about the engine.

use super::text::*;
use crate::grammar::{Args, Command, Verb, list, switch, value};
use crate::options::types::*;

const NONE: char = '\0';

pub(super) static EVENTS: Command = Command {
    verb: Verb::Events,
    usage: "[OPTIONS]",
    about: "Get real time events from the server",
    aliases: "docker system events, docker events",
    args: Args::None,
    interspersed: true,
    flags: &[&[
        list('f', "filter", &FILTER, "Filter output based on conditions provided"),
        value(NONE, "format", &STRING, FORMAT),
        value(NONE, "since", &STRING, "Show all events created since timestamp"),
        value(NONE, "until", &STRING, "Stream events until this timestamp"),
    ]],
};

pub(super) static INFO: Command = Command {
    verb: Verb::Info,
    usage: "[OPTIONS]",
    about: "Display system-wide information",
    aliases: "docker system info, docker info",
    args: Args::None,
    interspersed: true,
    flags: &[&[value('f', "format", &STRING, FORMAT)]],
};

pub(super) static VERSION: Command = Command {
    verb: Verb::Version,
    usage: "[OPTIONS]",
    about: "Show the Docker version information",
    aliases: "",
    args: Args::None,
    interspersed: true,
    flags: &[&[value('f', "format", &STRING, FORMAT)]],
};

pub(super) static SYSTEM_DF: Command = Command {
    verb: Verb::DiskUsage,
    usage: "[OPTIONS]",
    about: "Show docker disk usage",
    aliases: "",
    args: Args::None,
    interspersed: true,
    flags: &[&[
        value(NONE, "format", &STRING, FORMAT_TABLE),
        switch('v', "verbose", "Show detailed information on space usage"),
    ]],
};

pub(super) static SYSTEM_PRUNE: Command = Command {
    verb: Verb::SystemPrune,
    usage: "[OPTIONS]",
    about: "Remove unused data",
    aliases: "",
    args: Args::None,
    interspersed: true,
    flags: &[&[
        switch('a', "all", "Remove all unused images not just dangling ones"),
        list(NONE, "filter", &FILTER, "Provide filter values (e.g. \"label=<key>=<value>\")"),
        switch('f', "force", "Do not prompt for confirmation"),
        switch(NONE, "volumes", "Prune anonymous volumes"),
    ]],
};
