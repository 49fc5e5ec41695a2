//! What a start has made, noted in the run directory until the store has it. The start is answered before that; of a daemon that is
//! killed in between the next one would find a container that runs, and not know its addresses. Like them, a note outlives the daemon
//! and not the machine.

use std::{io, path::Path};

use skiff_network::EndpointRecord;

use crate::model::{ContainerRecord, Status};

const FILE: &str = "start.json";

/// A container that runs, and its endpoints.
pub(crate) type Noted = (ContainerRecord, Vec<EndpointRecord>);

/// What was noted of a start that the record speaks of as under way, if it came so far. A note that was cut off is none.
pub(crate) fn read(record: &ContainerRecord, run_dir: &Path) -> Option<Noted> {
    if record.state.status != Status::Starting {
        return None;
    }
    serde_json::from_slice(&fs_err::read(run_dir.join(FILE)).ok()?).ok()
}

/// Notes a start. Until then nobody may hear that it succeeded.
///
/// # Errors
/// The run directory is full.
pub(super) fn write(
    record: &ContainerRecord,
    endpoints: &[EndpointRecord],
    run_dir: &Path,
) -> io::Result<()> {
    let note = serde_json::to_vec(&(record, endpoints)).expect("records are plain data");
    fs_err::write(run_dir.join(FILE), note)
}

/// Takes away the last start's note, before a record says that another is under way.
pub(super) fn forget(run_dir: &Path) -> io::Result<()> {
    match fs_err::remove_file(run_dir.join(FILE)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
