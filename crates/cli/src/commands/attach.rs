//! `attach`.

use std::sync::Arc;

use serde::Deserialize;
use skiff_client::{Attach, Client, WaitCondition, WaitResult};

use super::{Call, run};
use crate::{
    failure::{Failure, Outcome},
    streams::{
        pump::{self, End, Joint},
        resize, signals, terminal,
    },
};

/// What must be known of a container to attach to it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Inspected {
    pub(super) id: String,
    pub(super) state: State,
    pub(super) config: ContainerConfig,
    pub(super) host_config: HostConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct State {
    pub(super) running: bool,
    pub(super) paused: bool,
    pub(super) restarting: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ContainerConfig {
    pub(super) tty: bool,
    pub(super) open_stdin: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct HostConfig {
    pub(super) auto_remove: bool,
}

/// Looks at a container.
pub(super) async fn inspect(client: &Client, id: &str) -> Result<Inspected, Failure> {
    let bytes = client.container_inspect(id, false).await?;
    serde_json::from_slice(&bytes).map_err(|e| Failure::new(e.to_string()))
}

async fn inspect_running(client: &Client, id: &str) -> Result<Inspected, Failure> {
    let container = inspect(client, id).await?;
    match &container.state {
        State { running: false, .. } => {
            Err("You cannot attach to a stopped container, start it first".into())
        }
        State { paused: true, .. } => Err("You cannot attach to a paused container, unpause it first".into()),
        State { restarting: true, .. } => {
            Err("You cannot attach to a restarting container, wait until it is running".into())
        }
        _ => Ok(container),
    }
}

/// `docker attach`.
pub(super) async fn attach(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let client = session.engine().await?;
    let name = args[0].as_str();
    let container = inspect_running(&client, name).await?;
    // Before attaching, so that an exit in between is not missed.
    let mut exit = client.container_wait(&container.id, WaitCondition::NotRunning).await?;
    let tty = container.config.tty;
    let stdin = !matches.on("no-stdin");
    run::check_tty(stdin, tty)?;
    if matches.on("sig-proxy") && !tty {
        signals::forward(Arc::clone(&client), container.id.clone());
    }
    let stdin = stdin && container.config.open_stdin;
    let detach_keys = session.detach_keys(matches);
    let streams = client
        .container_attach(name, Attach { stdin, stdout: true, stderr: true, logs: false, detach_keys })
        .await?;
    inspect_running(&client, name).await?;
    if tty && terminal::stdout_is_terminal() {
        let target = resize::Target::Container(container.id.clone());
        resize::disturb(&client, &target).await;
        resize::follow(Arc::clone(&client), target);
    }
    match pump::join(streams, Joint { stdin, output: true, tty, detach_keys }).await? {
        End::Detached => Err("read escape sequence".into()),
        End::Closed => match exit.json::<WaitResult>().await? {
            WaitResult { error: Some(error), .. } => Err(Failure::new(error.message)),
            WaitResult { status_code, .. } => run::finish(status_code),
        },
    }
}
