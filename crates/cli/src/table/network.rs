//! Commands about networks.

use super::text::*;
use crate::grammar::{Args, Command, Verb, list, switch, value};
use crate::options::types::*;

const NONE: char = '\0';

pub(super) static NETWORK_CONNECT: Command = Command {
    verb: Verb::NetworkConnect,
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Connect a container to a network",
    aliases: "",
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[&[
        list(NONE, "alias", &STRINGS, "Add network-scoped alias for the container"),
        list(NONE, "driver-opt", &STRINGS, "driver options for the network"),
        value(
            NONE,
            "gw-priority",
            &INT,
            "Highest gw-priority provides the default gateway. Accepts positive and negative values.",
        ),
        value(NONE, "ip", &STRING, "IPv4 address (e.g., \"172.30.100.104\")"),
        value(NONE, "ip6", &STRING, "IPv6 address (e.g., \"2001:db8::33\")"),
        list(NONE, "link", &LINK, "Add link to another container"),
        list(NONE, "link-local-ip", &STRINGS, "Add a link-local address for the container"),
    ]],
};

pub(super) static NETWORK_CREATE: Command = Command {
    verb: Verb::NetworkCreate,
    usage: "[OPTIONS] NETWORK",
    about: "Create a network",
    aliases: "",
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        switch(NONE, "attachable", "Enable manual container attachment"),
        list(NONE, "aux-address", &MAP, "Auxiliary IPv4 or IPv6 addresses used by Network driver")
            .default("map[]"),
        value(NONE, "config-from", &STRING, "The network from which to copy the configuration"),
        switch(NONE, "config-only", "Create a configuration only network"),
        value('d', "driver", &STRING, "Driver to manage the Network").default("bridge"),
        list(NONE, "gateway", &STRINGS, "IPv4 or IPv6 Gateway for the master subnet"),
        switch(NONE, "ingress", "Create swarm routing-mesh network"),
        switch(NONE, "internal", "Restrict external access to the network"),
        list(NONE, "ip-range", &STRINGS, "Allocate container ip from a sub-range"),
        value(NONE, "ipam-driver", &STRING, "IP Address Management Driver").default("default"),
        list(NONE, "ipam-opt", &MAP, "Set IPAM driver specific options").default("map[]"),
        switch(NONE, "ipv4", "Enable or disable IPv4 address assignment").default("true"),
        switch(NONE, "ipv6", "Enable or disable IPv6 address assignment"),
        list(NONE, "label", &LABEL, "Set metadata on a network"),
        list('o', "opt", &MAP, "Set driver specific options").default("map[]"),
        value(NONE, "scope", &STRING, "Control the network's scope"),
        list(NONE, "subnet", &STRINGS, "Subnet in CIDR format that represents a network segment"),
    ]],
};

pub(super) static NETWORK_DISCONNECT: Command = Command {
    verb: Verb::NetworkDisconnect,
    usage: "[OPTIONS] NETWORK CONTAINER",
    about: "Disconnect a container from a network",
    aliases: "",
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[&[switch('f', "force", "Force the container to disconnect from a network")]],
};

pub(super) static NETWORK_EXPLAIN: Command = Command {
    verb: Verb::NetworkExplain,
    usage: "[OPTIONS] FROM TO[:PORT[/PROTOCOL]]",
    about: "Say whether a container, the host or an address reaches another, and by which way",
    aliases: "",
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[&[value('f', "format", &STRING, FORMAT), switch('q', "quiet", "Only set the exit code")]],
};

pub(super) static NETWORK_INSPECT: Command = Command {
    verb: Verb::NetworkInspect,
    usage: "[OPTIONS] NETWORK [NETWORK...]",
    about: "Display detailed information on one or more networks",
    aliases: "",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        value('f', "format", &STRING, FORMAT),
        switch('v', "verbose", "Verbose output for diagnostics"),
    ]],
};

pub(super) static NETWORK_LS: Command = Command {
    verb: Verb::NetworkLs,
    usage: "[OPTIONS]",
    about: "List networks",
    aliases: "docker network ls, docker network list",
    args: Args::None,
    interspersed: true,
    flags: &[&[
        list('f', "filter", &FILTER, "Provide filter values (e.g. \"driver=bridge\")"),
        value(NONE, "format", &STRING, FORMAT_TABLE),
        switch(NONE, "no-trunc", "Do not truncate the output"),
        switch('q', "quiet", "Only display network IDs"),
    ]],
};

pub(super) static NETWORK_PRUNE: Command = Command {
    verb: Verb::NetworkPrune,
    usage: "[OPTIONS]",
    about: "Remove all unused networks",
    aliases: "",
    args: Args::None,
    interspersed: true,
    flags: &[&[
        list(NONE, "filter", &FILTER, "Provide filter values (e.g. \"until=<timestamp>\")"),
        switch('f', "force", "Do not prompt for confirmation"),
    ]],
};

pub(super) static NETWORK_RM: Command = Command {
    verb: Verb::NetworkRm,
    usage: "NETWORK [NETWORK...]",
    about: "Remove one or more networks",
    aliases: "docker network rm, docker network remove",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[switch('f', "force", "Do not error if the network does not exist")]],
};
