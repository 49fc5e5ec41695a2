//! `version` and `--version`.

use super::Call;
use crate::{failure::Outcome, say};

/// The docker command line whose grammar and output this one has.
pub(crate) const DOCKER: &str = "28.5.2";

/// `--version`. Scripts take the version out of the line that begins with `Docker version`.
pub(crate) fn print_short(program: &str) {
    let own = env!("CARGO_PKG_VERSION");
    match program {
        "docker" => say::line(&format!("Docker version {DOCKER}, build skiff-{own}")),
        _ => say::line(&format!("skiff version {own} (docker command line {DOCKER})")),
    }
}

/// `docker version`.
pub(super) async fn version(call: Call<'_>) -> Outcome {
    call.session.engine().await?;
    print_short(call.session.program);
    Ok(())
}
