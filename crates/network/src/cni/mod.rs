//! CNI plugins: programs that give a network namespace an interface (the specification of the Container Network Interface, versions 0.3.0 to
//! 1.1.0).
//!
//! A network of the driver `cni` has a configuration of its own, which is read once, when the network is made: what is added by it is deleted by it,
//! whatever becomes of the file. What plugins answered is kept with the endpoint, for `CHECK` and `DEL`; there is no other cache.

mod config;
mod program;
mod result;

pub(crate) use config::{Config, check_request};
pub(crate) use program::Place;
pub(crate) use result::Answer;

/// Why a CNI network or an endpoint in one cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CniError {
    /// The network asks for what its configuration decides.
    #[error("{0} cannot be asked for in a network of the driver cni: its configuration decides about that")]
    Decided(&'static str),
    /// The driver has no such option.
    #[error(
        "the driver cni has no option {0:?}: it knows conf (a file), name (of a configuration in /etc/cni/net.d) and path (of plugins)"
    )]
    UnknownOption(String),
    /// No file of a directory has a configuration of that name.
    #[error(
        "no CNI configuration in {dir} has the name {name:?}: name another one with the option name, or a file with the option conf"
    )]
    NoConfiguration {
        /// The name.
        name: String,
        /// The directory.
        dir: String,
    },
    /// A file that cannot be read or is no configuration.
    #[error("{place} is no CNI configuration: {reason}")]
    BadConfiguration {
        /// The file, or the network whose kept configuration it is.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A plugin is not there.
    #[error("the CNI plugin {plugin:?} is not in {path}")]
    NoPlugin {
        /// Its name.
        plugin: String,
        /// Where it was looked for.
        path: String,
    },
    /// A plugin failed.
    #[error("the CNI plugin {plugin:?} failed at {command}: {reason}")]
    Failed {
        /// Its name.
        plugin: String,
        /// `ADD`, `DEL` or `CHECK`.
        command: &'static str,
        /// In its own words.
        reason: String,
    },
    /// Ports are to be published and nobody does that.
    #[error(
        "ports cannot be published on network {0}: no plugin of its CNI configuration has the capability portMappings"
    )]
    NoPorts(String),
}
