//! Commands that do one thing to each of several containers: stop, kill, rm and their kin.

use futures_util::{StreamExt, stream};
use skiff_client::{Client, Query, WaitCondition, WaitResult};

use super::Call;
use crate::{
    failure::{Failure, Outcome},
    options::container,
    say,
};

/// How many containers are dealt with at once.
const AT_ONCE: usize = 50;

/// What happened to one container: a line to print, perhaps.
type Done = Result<Option<String>, Failure>;

/// Does `act` to every container, several at a time. Lines are printed in the order of the arguments; any error makes
/// the command fail in the end, with all of them.
async fn each<F>(call: Call<'_>, act: impl Fn(String) -> F) -> Outcome
where
    F: Future<Output = Done>,
{
    let mut results = stream::iter(call.args.iter().cloned().map(act)).buffered(AT_ONCE);
    let mut errors = Vec::new();
    while let Some(result) = results.next().await {
        match result {
            Ok(line) => line.iter().for_each(|line| say::line(line)),
            Err(error) => errors.push(error.message),
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Failure::new(errors.join("\n"))) }
}

async fn act(client: &Client, name: String, action: &str, query: Query) -> Done {
    client.container_action(&name, action, query).await?;
    Ok(Some(name))
}

/// `docker kill`.
pub(super) async fn kill(call: Call<'_>) -> Outcome {
    let client = &call.session.engine().await?;
    let query = Query::new().maybe("signal", call.matches.some("signal"));
    each(call, |name| act(client, name, "kill", query.clone())).await
}

/// `docker pause`.
pub(super) async fn pause(call: Call<'_>) -> Outcome {
    let client = &call.session.engine().await?;
    each(call, |name| act(client, name, "pause", Query::new())).await
}

/// `docker unpause`.
pub(super) async fn unpause(call: Call<'_>) -> Outcome {
    let client = &call.session.engine().await?;
    each(call, |name| act(client, name, "unpause", Query::new())).await
}

/// `docker stop`.
pub(super) async fn stop(call: Call<'_>) -> Outcome {
    let client = &call.session.engine().await?;
    each(call, |name| act(client, name, "stop", stop_query(call))).await
}

/// `docker restart`.
pub(super) async fn restart(call: Call<'_>) -> Outcome {
    let client = &call.session.engine().await?;
    each(call, |name| act(client, name, "restart", stop_query(call))).await
}

fn stop_query(call: Call<'_>) -> Query {
    let timeout = call.matches.changed("timeout").then(|| call.matches.text("timeout"));
    Query::new().maybe("signal", call.matches.some("signal")).maybe("t", timeout)
}

/// `docker rename`.
pub(super) async fn rename(call: Call<'_>) -> Outcome {
    let client = call.session.engine().await?;
    let [old, new] = call.args else { return Ok(()) };
    let (old, new) = (old.trim(), new.trim());
    if old.is_empty() || new.is_empty() {
        return Err("Error: Neither old nor new names may be empty".into());
    }
    client
        .container_action(old, "rename", Query::new().with("name", new))
        .await
        .map_err(|e| Failure::new(format!("{e}\nError: failed to rename container named {old}")))
}

/// `docker rm`.
pub(super) async fn rm(call: Call<'_>) -> Outcome {
    let client = &call.session.engine().await?;
    let (force, volumes, link) =
        (call.matches.on("force"), call.matches.on("volumes"), call.matches.on("link"));
    each(call, |name| async move {
        let short = name.trim_matches('/');
        if short.is_empty() {
            return Err("container name cannot be empty".into());
        }
        match client.container_remove(short, force, volumes, link).await {
            // By force, it is enough that it is gone.
            Err(error) if force && error.is_not_found() => {
                say::error(&error.to_string());
                Ok(None)
            }
            removed => Ok(removed.map(|()| Some(name))?),
        }
    })
    .await
}

/// `docker wait`.
pub(super) async fn wait(call: Call<'_>) -> Outcome {
    let client = &call.session.engine().await?;
    each(call, |name| async move {
        let mut response = client.container_wait(&name, WaitCondition::NotRunning).await?;
        let result: WaitResult = response.json().await?;
        Ok(Some(result.status_code.to_string()))
    })
    .await
}

/// `docker update`.
pub(super) async fn update(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    if !matches.any() {
        return Err("you must provide one or more flags when using this command".into());
    }
    let body = container::update(matches)?;
    let client = session.engine().await?;
    let (mut warnings, mut errors) = (Vec::new(), Vec::new());
    for name in args {
        match client.container_update(name, &body).await {
            Ok(more) => {
                warnings.extend(more);
                say::line(name);
            }
            Err(error) => errors.push(error.to_string()),
        }
    }
    if !warnings.is_empty() {
        say::line(&warnings.join("\n"));
    }
    if errors.is_empty() { Ok(()) } else { Err(Failure::new(errors.join("\n"))) }
}
