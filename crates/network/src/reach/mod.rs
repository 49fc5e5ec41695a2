//! Whether one place reaches another, by which links, routes, rules and ports, or where exactly it ends.
//!
//! Nothing is sent. The kernel is asked for its routes and listening sockets, in the namespaces where they count; what our table does is
//! told from what was written into it ([`crate::firewall::plan`]); and what somebody else's filters do is not read: where they have rules, it
//! is said that they decide. How it is told is here and in [`walk`], what is known in [`scene`].

mod scene;
mod sockets;
mod strangers;
mod walk;

use std::{fmt, io, net::IpAddr, os::fd::OwnedFd};

use skiff_types::ContainerId;

use crate::{Network, NetworkError, Protocol};

/// Where something starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A program of the host.
    Host,
    /// A running container.
    Container(ContainerId),
    /// Another host, by its address.
    Outside(IpAddr),
}

/// What a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Whether somebody is there at all.
    Place,
    /// A name and its addresses.
    Name,
    /// Where a routing table leads.
    Route,
    /// Links that carry it.
    Link,
    /// What a rule of ours lets through, turns elsewhere or drops.
    Rule,
    /// A filter of somebody else's.
    Filter,
    /// Who listens in the end.
    Port,
}

/// How it comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It arrives, as far as this host can know.
    Reaches,
    /// It ends at the last step.
    Ends,
    /// It depends on what is not known here: the last step says on what.
    Depends,
}

/// One step of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is about.
    pub about: About,
    /// A sentence without its full stop.
    pub text: String,
}

/// The way and how it comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// In the order in which a packet takes them.
    pub steps: Vec<Step>,
    /// How it comes out.
    pub verdict: Verdict,
}

/// Opens the network namespace of a running container.
pub type Namespaces<'a> = dyn Fn(&ContainerId) -> io::Result<OwnedFd> + Sync + 'a;

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Place => "place",
            Self::Name => "name",
            Self::Route => "route",
            Self::Link => "link",
            Self::Rule => "rule",
            Self::Filter => "filter",
            Self::Port => "port",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reaches => "reaches",
            Self::Ends => "ends",
            Self::Depends => "depends",
        })
    }
}

impl Network {
    /// Tells the way from a place to an address, and to a port if one is named. Blocks for some milliseconds.
    ///
    /// # Errors
    /// What the kernel refuses; namespaces that are gone.
    pub fn reach(
        &self,
        from: Place,
        to: IpAddr,
        port: Option<(Protocol, u16)>,
        namespaces: &Namespaces<'_>,
    ) -> Result<Reach, NetworkError> {
        let scene = scene::Scene::of(&self.lock());
        walk::Walk::new(&scene, to, port, namespaces)?.told(from)
    }
}
