//! `exec`.

use std::sync::Arc;

use serde_json::json;
use skiff_client::StartExec;

use super::{Call, run};
use crate::{
    failure::{Failure, Outcome},
    options::env,
    streams::{
        pump::{self, End, Joint},
        resize, terminal,
    },
};

/// `docker exec`.
pub(super) async fn exec(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let client = session.engine().await?;
    let container = args[0].as_str();
    let (detach, tty) = (matches.on("detach"), matches.on("tty"));
    let stdin = matches.on("interactive") && !detach;
    let variables = env::read(&matches.all("env-file"), matches.all("env"), true)?;
    let detach_keys = session.detach_keys(matches);
    // A container that is not there is the better error of the two.
    if stdin && tty && !terminal::stdin_is_terminal() {
        client.container_inspect(container, false).await?;
        run::check_tty(stdin, tty)?;
    }
    let console_size = tty.then(terminal::size);
    let body = json!({
        "User": matches.text("user"),
        "Privileged": matches.on("privileged"),
        "Tty": tty,
        "ConsoleSize": console_size,
        "AttachStdin": stdin,
        "AttachStdout": !detach,
        "AttachStderr": !detach,
        "DetachKeys": detach_keys.unwrap_or_default(),
        "Env": variables,
        "WorkingDir": matches.text("workdir"),
        "Cmd": &args[1..],
    });
    let id = client.exec_create(container, &body).await?;
    let start = StartExec { detach, tty, console_size };
    if detach {
        return Ok(client.exec_start(&id, start).await?);
    }
    let streams = client.exec_attach(&id, start).await?;
    if tty && terminal::stdin_is_terminal() {
        resize::follow(Arc::clone(&client), resize::Target::Exec(id.clone()));
    }
    if pump::join(streams, Joint { stdin, output: true, tty, detach_keys }).await? == End::Detached {
        return Err("read escape sequence".into());
    }
    match client.exec_exit_code(&id).await {
        Ok(code) => run::finish(code),
        Err(error) if error.is_unreachable() => Err(Failure::exit(-1)),
        Err(error) => Err(error.into()),
    }
}
