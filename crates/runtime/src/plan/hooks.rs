//! Hooks of the six kinds.

use oci_spec::runtime as oci;
use serde::{Deserialize, Serialize};

use super::PlanError;

/// Hooks, by the moment at which they run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// Runtime namespaces, after the namespaces exist (deprecated by the specification, still used).
    pub prestart: Vec<Hook>,
    /// Runtime namespaces, after prestart.
    pub create_runtime: Vec<Hook>,
    /// Container namespaces, before pivot_root.
    pub create_container: Vec<Hook>,
    /// Container namespaces, before the program is executed.
    pub start_container: Vec<Hook>,
    /// Runtime namespaces, after the program was started; failures are only logged.
    pub poststart: Vec<Hook>,
    /// Runtime namespaces, after the container was deleted; failures are only logged.
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A program that runs at a moment of the container's life, with the container's state on its standard input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Absolute path of the program.
    pub path: String,
    /// Its arguments, `argv[0]` included.
    pub args: Vec<String>,
    /// Its whole environment; if it names none, that of the container's process for a startContainer hook, and the
    /// runtime's own for any other.
    pub env: Option<Vec<String>>,
    /// Seconds after which it is killed, more than zero.
    pub timeout: Option<u64>,
}

#[allow(deprecated, reason = "prestart is deprecated by the specification, and required by it")]
pub(super) fn plan(hooks: Option<&oci::Hooks>) -> Result<Hooks, PlanError> {
    let Some(hooks) = hooks else { return Ok(Hooks::default()) };
    Ok(Hooks {
        prestart: list("hooks.prestart", hooks.prestart().as_deref())?,
        create_runtime: list("hooks.createRuntime", hooks.create_runtime().as_deref())?,
        create_container: list("hooks.createContainer", hooks.create_container().as_deref())?,
        start_container: list("hooks.startContainer", hooks.start_container().as_deref())?,
        poststart: list("hooks.poststart", hooks.poststart().as_deref())?,
        poststop: list("hooks.poststop", hooks.poststop().as_deref())?,
    })
}

fn list(field: &'static str, hooks: Option<&[oci::Hook]>) -> Result<Vec<Hook>, PlanError> {
    hooks.unwrap_or_default().iter().map(|hook| one(field, hook)).collect()
}

fn one(field: &'static str, hook: &oci::Hook) -> Result<Hook, PlanError> {
    let path = super::absolute_path(field, hook.path())?;
    let timeout = match hook.timeout() {
        None => None,
        Some(seconds) if seconds > 0 => Some(seconds as u64),
        Some(seconds) => {
            return Err(PlanError::invalid(
                field,
                format!("{path}: a timeout of {seconds} s is not above zero"),
            ));
        }
    };
    let args = hook.args().clone().filter(|args| !args.is_empty()).unwrap_or_else(|| vec![path.clone()]);
    Ok(Hook { path, args, env: hook.env().clone(), timeout })
}
