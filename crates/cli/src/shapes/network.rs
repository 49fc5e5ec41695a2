//! A network, as `inspect` answers.

use super::LABELS;
use crate::template::shape::{
    Shape::{self, Any, Bool, List, Map, Str, Struct},
    StructShape,
};

/// `GET /networks/{id}`.
pub(crate) static NETWORK: StructShape = StructShape {
    name: "network.Inspect",
    fields: &[
        ("Name", "", Str),
        ("ID", "Id", Str),
        ("Created", "", Shape::Time),
        ("Scope", "", Str),
        ("Driver", "", Str),
        ("EnableIPv4", "", Bool),
        ("EnableIPv6", "", Bool),
        ("IPAM", "", Struct(&IPAM)),
        ("Internal", "", Bool),
        ("Attachable", "", Bool),
        ("Ingress", "", Bool),
        ("ConfigFrom", "", Struct(&CONFIG_FROM)),
        ("ConfigOnly", "", Bool),
        ("Containers", "", Map(&Struct(&ENDPOINT))),
        ("Options", "", LABELS),
        ("Labels", "", LABELS),
        ("Peers", "", List(&Any)),
        ("Services", "", Map(&Any)),
    ],
};

static IPAM: StructShape = StructShape {
    name: "network.IPAM",
    fields: &[("Driver", "", Str), ("Options", "", LABELS), ("Config", "", List(&Struct(&IPAM_CONFIG)))],
};

static IPAM_CONFIG: StructShape = StructShape {
    name: "network.IPAMConfig",
    fields: &[
        ("Subnet", "", Str),
        ("IPRange", "", Str),
        ("Gateway", "", Str),
        ("AuxAddress", "AuxiliaryAddresses", LABELS),
    ],
};

static CONFIG_FROM: StructShape =
    StructShape { name: "network.ConfigReference", fields: &[("Network", "", Str)] };

static ENDPOINT: StructShape = StructShape {
    name: "network.EndpointResource",
    fields: &[
        ("Name", "", Str),
        ("EndpointID", "", Str),
        ("MacAddress", "", Str),
        ("IPv4Address", "", Str),
        ("IPv6Address", "", Str),
    ],
};
