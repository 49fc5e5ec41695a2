//! Commands about registries.

use crate::grammar::{Args, Command, Verb, list, switch, value};
use crate::options::types::*;

const NONE: char = '\0';

pub(super) static LOGIN: Command = Command {
    verb: Verb::Login,
    usage: "[OPTIONS] [SERVER]",
    about: "Authenticate to a registry.\nDefaults to Docker Hub if no server is specified.",
    aliases: "",
    args: Args::AtMost(1),
    interspersed: true,
    flags: &[&[
        value('p', "password", &STRING, "Password or Personal Access Token (PAT)"),
        switch(NONE, "password-stdin", "Take the Password or Personal Access Token (PAT) from stdin"),
        value('u', "username", &STRING, "Username"),
    ]],
};

pub(super) static LOGOUT: Command = Command {
    verb: Verb::Logout,
    usage: "[SERVER]",
    about: "Log out from a registry.\nIf no server is specified, the default is defined by the daemon.",
    aliases: "",
    args: Args::AtMost(1),
    interspersed: true,
    flags: &[],
};

pub(super) static SEARCH: Command = Command {
    verb: Verb::Search,
    usage: "[OPTIONS] TERM",
    about: "Search Docker Hub for images",
    aliases: "",
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        list('f', "filter", &FILTER, "Filter output based on conditions provided"),
        value(NONE, "format", &STRING, "Pretty-print search using a Go template"),
        value(NONE, "limit", &INT, "Max number of search results"),
        switch(NONE, "no-trunc", "Don't truncate output"),
    ]],
};
