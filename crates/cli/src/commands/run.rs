//! `run`: create, attach, wait, start, in this order, so that neither output nor exit is missed.

use std::sync::Arc;

use skiff_client::{Attach, Client, Query, Response, WaitCondition, WaitResult};

use super::{Call, create};
use crate::{
    failure::{Failure, Outcome},
    options::container,
    say,
    streams::{
        pump::{self, End, Joint},
        resize, signals, terminal,
    },
};

/// `docker run`.
pub(super) async fn run(call: Call<'_>) -> Outcome {
    let Call { session, matches, .. } = call;
    let client = session.engine().await?;
    let detach = matches.on("detach");
    let request = create::request(call, "run", detach)?;
    if detach && !matches.all("attach").is_empty() {
        return Err("conflicting options: cannot specify both --attach and --detach".into());
    }
    let attach = request.attach;
    check_tty(attach.stdin, attach.tty && !detach)?;
    let id = create::create_container(call, &client, request.body)
        .await
        .map_err(|failure| start_failure(call, &failure.message))?;
    if !attach.any() {
        say::line(&id);
        if matches.on("sig-proxy") {
            signals::forward(Arc::clone(&client), id.clone());
        }
        let started = client.container_action(&id, "start", Query::new()).await;
        return started.map_err(|e| start_failure(call, &e.to_string()));
    }
    match matches.on("sig-proxy") {
        true => signals::forward(Arc::clone(&client), id.clone()),
        false => signals::outlast(),
    }
    run_attached(call, &client, &id, attach).await
}

async fn run_attached(call: Call<'_>, client: &Arc<Client>, id: &str, attach: container::Attach) -> Outcome {
    let detach_keys = call.session.detach_keys(call.matches);
    let streams = client
        .container_attach(
            id,
            Attach {
                stdin: attach.stdin,
                stdout: attach.stdout,
                stderr: attach.stderr,
                logs: false,
                detach_keys,
            },
        )
        .await?;
    let until = if call.matches.on("rm") { WaitCondition::Removed } else { WaitCondition::NextExit };
    let exit = client.container_wait(id, until).await?;
    let output = attach.stdout || attach.stderr;
    let joint = Joint { stdin: attach.stdin, output, tty: attach.tty, detach_keys };
    if let Err(error) = client.container_action(id, "start", Query::new()).await {
        drop(streams);
        if call.matches.on("rm") {
            exit_code(exit).await;
        }
        return Err(start_failure(call, &error.to_string()));
    }
    if attach.tty && terminal::stdout_is_terminal() {
        resize::follow(Arc::clone(client), resize::Target::Container(id.to_owned()));
    }
    let joined = pump::join(streams, joint);
    let code = match output {
        // The output's end comes before the exit's, and must be seen whole.
        true => match joined.await? {
            End::Detached => return Ok(()),
            End::Closed => exit_code(exit).await,
        },
        false => {
            tokio::select! {
                code = exit_code(exit) => code,
                joined = async { joined.await?; std::future::pending().await } => return joined,
            }
        }
    };
    finish(code)
}

/// A container's exit code as ours.
pub(super) fn finish(code: i64) -> Outcome {
    if code == 0 { Ok(()) } else { Err(Failure::exit(code)) }
}

/// The exit code once it is known; 125 if it cannot be.
pub(super) async fn exit_code(mut wait: Response) -> i64 {
    match wait.json::<WaitResult>().await {
        Ok(WaitResult { error: Some(error), .. }) => {
            say::error(&format!("Error waiting for container: {}", error.message));
            125
        }
        Ok(result) => result.status_code,
        Err(error) => {
            say::error(&format!("error waiting for container: {error}"));
            125
        }
    }
}

/// A terminal in the container needs one here, if it is to be typed into.
pub(super) fn check_tty(stdin: bool, tty: bool) -> Outcome {
    if stdin && tty && !terminal::stdin_is_terminal() {
        return Err("the input device is not a TTY".into());
    }
    Ok(())
}

/// An error of creating or starting, with docker's exit codes: 127 if the program is not there, 126 if it may not be
/// run, 125 for everything else. The engine's words decide, as they do for docker.
fn start_failure(call: Call<'_>, message: &str) -> Failure {
    let says = |words: &[&str]| words.iter().any(|w| message.contains(w));
    let code = if says(&[
        "executable file not found",
        "no such file or directory",
        "system cannot find the file specified",
    ]) {
        127
    } else if says(&["permission denied", "is a directory"]) {
        126
    } else {
        125
    };
    create::with_help(call, "run", message).code(code)
}
