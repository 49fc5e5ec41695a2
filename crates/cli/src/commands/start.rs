//! `start`.

use std::sync::Arc;

use skiff_client::{Attach, Query, WaitCondition};

use super::{Call, attach, run};
use crate::{
    failure::{Failure, Outcome},
    say,
    streams::{
        pump::{self, End, Joint},
        resize, signals, terminal,
    },
};

/// `docker start`.
pub(super) async fn start(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let client = session.engine().await?;
    if matches.on("attach") || matches.on("interactive") {
        return start_attached(call).await;
    }
    let mut failed = Vec::new();
    for name in args {
        match client.container_action(name, "start", Query::new()).await {
            Ok(()) => say::line(name),
            Err(error) => {
                say::error(&error.to_string());
                failed.push(name.as_str());
            }
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!("Error: failed to start containers: {}", failed.join(", "))))
}

async fn start_attached(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let [name] = args else {
        return Err("you cannot start and attach multiple containers at once".into());
    };
    let client = session.engine().await?;
    let container = attach::inspect(&client, name).await?;
    let (id, tty) = (container.id.as_str(), container.config.tty);
    if !tty {
        signals::forward(Arc::clone(&client), id.to_owned());
    }
    let stdin = matches.on("interactive") && container.config.open_stdin;
    let detach_keys = session.detach_keys(matches);
    let streams = client
        .container_attach(id, Attach { stdin, stdout: true, stderr: true, logs: false, detach_keys })
        .await?;
    let removed = container.host_config.auto_remove;
    let until = if removed { WaitCondition::Removed } else { WaitCondition::NextExit };
    let exit = client.container_wait(id, until).await?;
    if let Err(error) = client.container_action(id, "start", Query::new()).await {
        drop(streams);
        if removed {
            run::exit_code(exit).await;
        }
        return Err(error.into());
    }
    if tty && terminal::stdout_is_terminal() {
        resize::follow(Arc::clone(&client), resize::Target::Container(id.to_owned()));
    }
    match pump::join(streams, Joint { stdin, output: true, tty, detach_keys }).await? {
        End::Detached => Ok(()),
        End::Closed => run::finish(run::exit_code(exit).await),
    }
}
