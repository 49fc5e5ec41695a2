//! What goes over the socket: JSON in one packet, with at most one descriptor.

use std::{
    fs::File,
    os::fd::{BorrowedFd, OwnedFd},
    path::PathBuf,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{Error, system};

/// The longest packet: names and digests are shorter.
const LONGEST: usize = 4096;

/// What is asked of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// A file is the content of an upload.
    Give {
        /// The upload's repository.
        repository: String,
        /// The upload's id.
        upload: String,
        /// What the content must have: `sha256:…`.
        digest: String,
        /// Where it lies on the host.
        path: PathBuf,
    },
    /// The file of a ticket is wanted.
    Take {
        /// The ticket, good for one time.
        ticket: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    Done,
    Refused(String),
}

pub(crate) fn send(
    socket: &OwnedFd,
    message: &impl Serialize,
    file: Option<BorrowedFd<'_>>,
) -> Result<(), Error> {
    let bytes = serde_json::to_vec(message).map_err(|e| Error::Garbled(e.to_string()))?;
    let files: Vec<BorrowedFd<'_>> = file.into_iter().collect();
    skiff_sys::socket::send(socket, &bytes, &files).map_err(system("sendmsg"))
}

pub(crate) fn receive<T: DeserializeOwned>(socket: &OwnedFd) -> Result<(T, Option<File>), Error> {
    let mut buffer = [0; LONGEST];
    let (length, files) = skiff_sys::socket::receive(socket, &mut buffer).map_err(system("recvmsg"))?;
    if length == 0 {
        return Err(Error::Garbled("the other end has closed the socket".to_owned()));
    }
    let message = serde_json::from_slice(&buffer[..length]).map_err(|e| Error::Garbled(e.to_string()))?;
    Ok((message, files.into_iter().next().map(File::from)))
}
