//! Every route, in one table: what is asked for decides which function answers.

mod attach;
mod containers;
mod events;
mod exec;
mod files;
mod images;
mod lifecycle;
mod networks;
mod registries;
mod stats;
mod system;
mod volumes;

use http::{StatusCode, header};

use crate::{
    failure::{Failure, Outcome},
    reply::Reply,
    request::{Context, Request},
};

/// Answers a request. The path is decoded and has no version.
pub(crate) async fn dispatch(context: Context, mut request: Request) -> Outcome<Reply> {
    let path = std::mem::take(&mut request.path);
    let method = request.method.clone();
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(&path).split('/').collect();
    match (method.as_str(), segments.as_slice()) {
        ("OPTIONS", _) => Ok(Reply::empty(StatusCode::OK)),
        ("GET" | "HEAD", ["_ping"]) => Ok(system::ping(&method)),
        ("GET", ["version"]) => Ok(system::version(&context)),
        ("GET", ["info"]) => system::info(&context, &request).await,
        ("GET", ["events"]) => events::events(&context, &request),

        ("GET", ["system", "df"]) => system::disk_usage(&context, &request).await,
        ("POST", ["build", "prune"]) => system::prune_build(&request),

        ("GET", ["containers", "json"]) => containers::list(&context, &request).await,
        ("POST", ["containers", "create"]) => containers::create(&context, request).await,
        ("POST", ["containers", "prune"]) => containers::prune(&context, &request).await,
        ("GET", ["containers", name @ .., "json"]) => {
            containers::inspect(&context, &request, &join(name)).await
        }
        ("GET", ["containers", name @ .., "top"]) => containers::top(&context, &request, &join(name)).await,
        ("GET", ["containers", name @ .., "stats"]) => stats::stats(&context, &request, &join(name)).await,
        ("GET", ["containers", name @ .., "logs"]) => containers::logs(&context, &request, &join(name)).await,
        ("POST", ["containers", name @ .., "rename"]) => {
            containers::rename(&context, &request, &join(name)).await
        }
        ("POST", ["containers", name @ .., "update"]) => {
            containers::update(&context, request, &join(name)).await
        }
        ("POST", ["containers", name @ .., "resize"]) => {
            containers::resize(&context, &request, &join(name)).await
        }
        ("POST", ["containers", name @ .., "start"]) => lifecycle::start(context, &request, join(name)).await,
        ("POST", ["containers", name @ .., "stop"]) => lifecycle::stop(context, &request, join(name)).await,
        ("POST", ["containers", name @ .., "restart"]) => {
            lifecycle::restart(context, &request, join(name)).await
        }
        ("POST", ["containers", name @ .., "kill"]) => lifecycle::kill(context, &request, join(name)).await,
        ("POST", ["containers", name @ .., "pause"]) => lifecycle::pause(context, join(name)).await,
        ("POST", ["containers", name @ .., "unpause"]) => lifecycle::unpause(context, join(name)).await,
        ("POST", ["containers", name @ .., "wait"]) => lifecycle::wait(&context, &request, &join(name)).await,
        ("HEAD", ["containers", name @ .., "archive"]) => files::stat(&context, &request, &join(name)).await,
        ("GET", ["containers", name @ .., "archive"]) => files::get(&context, &request, &join(name)).await,
        ("PUT", ["containers", name @ .., "archive"]) => files::put(context, request, join(name)).await,
        ("GET", ["containers", name @ .., "changes"]) => files::changes(&context, &join(name)).await,
        ("GET", ["containers", name @ .., "export"]) => files::export(&context, &join(name)).await,
        ("POST", ["commit"]) => files::commit(&context, request).await,
        ("DELETE", ["containers", name @ ..]) => lifecycle::remove(context, &request, join(name)).await,
        ("POST", ["containers", name @ .., "attach"]) => {
            attach::attach(&context, &mut request, &join(name)).await
        }

        ("GET", ["containers", name @ .., "attach", "ws"]) => {
            attach::attach_websocket(&context, &mut request, &join(name)).await
        }
        ("POST", ["containers", name @ .., "exec"]) => exec::create(&context, request, &join(name)).await,
        ("POST", ["exec", id @ .., "start"]) => exec::start(&context, request, &join(id)).await,
        ("POST", ["exec", id @ .., "resize"]) => exec::resize(&context, &request, &join(id)).await,
        ("GET", ["exec", id @ .., "json"]) => exec::inspect(&context, &join(id)).await,

        ("GET", ["images", "json"]) => images::list(&context, &request).await,
        ("GET", ["images", "get"]) => images::save(&context, &request, request.query.all("names")).await,
        ("POST", ["images", "prune"]) => images::prune(&context, &request).await,
        ("POST", ["images", "load"]) => images::load(&context, request).await,
        ("POST", ["images", "create"]) => images::create(&context, request).await,
        ("GET", ["images", name @ .., "json"]) => images::inspect(&context, &request, &join(name)).await,
        ("GET", ["images", name @ .., "history"]) => images::history(&context, &request, &join(name)).await,
        ("GET", ["images", name @ .., "get"]) => images::save(&context, &request, vec![join(name)]).await,
        ("GET", ["images", "search"]) => registries::search(&context, &request).await,
        ("POST", ["images", name @ .., "push"]) => registries::push(&context, &request, &join(name)).await,
        ("POST", ["images", name @ .., "verify"]) => {
            registries::verify(&context, &request, &join(name)).await
        }
        ("GET", ["distribution", name @ .., "json"]) => {
            registries::distribution(&context, &request, &join(name)).await
        }
        ("POST", ["auth"]) => registries::auth(&context, request).await,
        ("POST", ["images", name @ .., "tag"]) => images::tag(&context, &request, &join(name)).await,
        ("DELETE", ["images", name @ ..]) => images::remove(context, &request, join(name)).await,

        ("GET", ["networks"] | ["networks", ""]) => networks::list(&context, &request).await,
        ("GET", ["networks", name @ ..]) => networks::inspect(&context, &request, &join(name)).await,
        ("POST", ["networks", "create"]) => networks::create(context, request).await,
        ("POST", ["networks", "prune"]) => networks::prune(context, &request).await,
        ("POST", ["networks", name @ .., "connect"]) => networks::connect(context, request, join(name)).await,
        ("POST", ["networks", name @ .., "disconnect"]) => {
            networks::disconnect(context, request, join(name)).await
        }
        ("DELETE", ["networks", name @ ..]) => networks::remove(context, join(name)).await,
        ("GET", ["volumes"]) => volumes::list(&context, &request).await,
        ("GET", ["volumes", name @ ..]) => volumes::inspect(&context, &join(name)).await,
        ("POST", ["volumes", "create"]) => volumes::create(&context, request).await,
        ("POST", ["volumes", "prune"]) => volumes::prune(&context, &request).await,
        ("PUT", ["volumes", ..]) => Err(volumes::update()),
        ("DELETE", ["volumes", name @ ..]) => volumes::remove(&context, &request, join(name)).await,
        // Ours: Docker has no such question.
        ("GET", ["skiff", "explain"]) => networks::explain(&context, &request).await,
        ("GET", ["plugins"]) => Ok(Reply::ok(&[(); 0])),

        (method, segments) => Err(absent(method, segments)),
    }
}

fn join(name: &[&str]) -> String {
    name.join("/")
}

/// Why a path is not served: a part of Docker that is not there yet, or no path of the API at all.
fn absent(method: &str, segments: &[&str]) -> Failure {
    match missing_part(method, segments) {
        Some(Missing::Part(what)) => Failure::unsupported(what),
        Some(Missing::Swarm) => no_swarm(),
        None => Failure::page_not_found(),
    }
}

/// What needs a swarm, which there is none of.
fn no_swarm() -> Failure {
    Failure::new(
        skiff_types::ErrorKind::Unavailable,
        "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this \
         node to swarm and try again.",
    )
}

enum Missing {
    Part(&'static str),
    Swarm,
}

fn missing_part(method: &str, segments: &[&str]) -> Option<Missing> {
    let part = match (method, segments) {
        ("POST", ["swarm", "init" | "join"]) => "swarm mode",
        (_, ["swarm" | "nodes" | "services" | "tasks" | "secrets" | "configs", ..]) => {
            return Some(Missing::Swarm);
        }
        ("GET" | "POST" | "DELETE", ["containers", _, "checkpoints", ..]) => "checkpointing a container",
        ("POST", ["build"] | ["build", "cancel"] | ["session"] | ["grpc"]) => "building images",
        ("GET" | "POST" | "DELETE", ["plugins", _, ..]) => "managing plugins",
        _ => return None,
    };
    Some(Missing::Part(part))
}

/// Whether `dispatch` would look at a path at all. Docker leaves its own headers off answers to other paths, and asks
/// for no version there.
pub(crate) fn known(method: &str, path: &str) -> bool {
    let segments: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    matches!(
        (method, segments.as_slice()),
        ("OPTIONS", _)
            | ("GET" | "HEAD", ["_ping"])
            | (
                "GET",
                ["version" | "info" | "events" | "networks" | "plugins"] | ["networks" | "volumes", ..]
            )
            | ("POST", ["volumes", "create" | "prune"])
            | ("PUT" | "DELETE", ["volumes", _, ..])
            | (
                "GET",
                ["containers" | "images", "json"]
                    | ["images", "get" | "search"]
                    | ["system", "df"]
                    | ["skiff", "explain"]
            )
            | ("GET", ["distribution", _, .., "json"])
            | ("POST", ["containers" | "images" | "build", "prune"])
            | (
                "GET",
                ["containers", _, .., "json" | "top" | "logs" | "stats" | "changes" | "export"]
                    | ["containers", _, "attach", "ws"]
            )
            | (
                "POST",
                [
                    "containers",
                    _,
                    ..,
                    "rename"
                        | "update"
                        | "resize"
                        | "start"
                        | "stop"
                        | "restart"
                        | "kill"
                        | "pause"
                        | "unpause"
                        | "wait"
                        | "attach"
                        | "exec"
                ]
            )
            | (
                "POST",
                ["containers" | "images", "create"]
                    | ["images", "load"]
                    | ["images", _, .., "tag" | "push" | "verify"]
                    | ["auth"]
            )
            | ("HEAD" | "GET" | "PUT", ["containers", _, .., "archive"])
            | ("POST", ["commit"])
            | ("POST", ["networks", "create" | "prune"] | ["networks", _, .., "connect" | "disconnect"])
            | ("DELETE", ["containers" | "images" | "networks", _, ..])
            | ("POST", ["exec", _, .., "start" | "resize"])
            | ("GET", ["exec", _, .., "json"] | ["images", _, .., "json" | "history" | "get"])
    ) || missing_part(method, &segments).is_some()
}

/// 301, as Go's router answers to doubled slashes.
pub(crate) fn moved(location: &str) -> Reply {
    let mut reply = Reply::empty(StatusCode::MOVED_PERMANENTLY);
    if let (Reply::Http(response), Ok(location)) = (&mut reply, location.try_into()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_outside_the_api_are_not_known() {
        for (method, path) in [
            ("GET", "/foo"),
            ("GET", "/"),
            ("PUT", "/containers/json"),
            ("GET", "/containers/json/"),
            ("HEAD", "/info"),
            ("GET", "/containers/a/attach"),
        ] {
            assert!(!known(method, path), "{method} {path}");
        }
    }

    #[test]
    fn names_may_hold_slashes_and_missing_parts_say_so() {
        for (method, path) in [
            ("GET", "/images/localhost:5000/a/b:1/json"),
            ("DELETE", "/images/a/b"),
            ("DELETE", "/images/"),
            ("POST", "/containers/a/start"),
            ("OPTIONS", "/foo"),
        ] {
            assert!(known(method, path), "{method} {path}");
        }
        let failure = absent("POST", &["build"]);
        assert_eq!(failure.message, "building images is not supported by this version of Skiff");
        assert_eq!(failure.status(), StatusCode::NOT_IMPLEMENTED);
        assert_eq!(absent("GET", &["nodes"]).status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(absent("GET", &["foo"]).status(), StatusCode::NOT_FOUND);
    }
}
