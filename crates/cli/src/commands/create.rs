//! `create`, and the part of `run` that is the same.

use std::path::PathBuf;

use serde_json::{Value, json};
use skiff_client::{Client, Query};

use super::{Call, api_socket, transfer::refuse_signatures};
use crate::{
    credentials::server_of,
    failure::{Failure, Outcome},
    grammar::Matches,
    options::{
        container::{self, ContainerRequest},
        env,
        platform::Platform,
    },
    progress,
    reference::Reference,
    say,
    streams::{Output, terminal},
};

/// `docker create`.
pub(super) async fn create(call: Call<'_>) -> Outcome {
    let client = call.session.engine().await?;
    let request = request(call, "create", false)?;
    let id = create_container(call, &client, request.body).await?;
    say::line(&id);
    Ok(())
}

/// Adds the advice that `run` and `create` give with errors of options, and their exit code.
pub(super) fn with_help(call: Call<'_>, command: &str, message: &str) -> Failure {
    let program = call.session.program;
    Failure::new(format!("{program}: {message}\n\nRun '{program} {command} --help' for more information"))
        .code(125)
}

/// The request out of options and arguments.
pub(super) fn request(call: Call<'_>, command: &str, detach: bool) -> Result<ContainerRequest, Failure> {
    let Call { session, matches, args } = call;
    let pull = matches.text("pull");
    if !matches!(pull, "" | "always" | "missing" | "never") {
        let message =
            format!("invalid pull option: '{pull}': must be one of \"always\", \"missing\" or \"never\"");
        return Err(with_help(call, command, &message));
    }
    let proxies = session.config.proxy_variables(&session.host(), &matches.all("env"));
    container::build(matches, &args[0], &args[1..], &proxies, detach)
        .map_err(|message| with_help(call, command, &message))
}

/// Makes the container, pulling its image if need be; gives its id.
pub(super) async fn create_container(
    call: Call<'_>,
    client: &Client,
    mut body: Value,
) -> Result<String, Failure> {
    let Call { session, matches, args } = call;
    let reference = Reference::parse(&args[0])?;
    // Ids and digests say themselves what the image is.
    if matches!(reference, Reference::Named { digest: None, .. }) {
        refuse_signatures(call)?;
    }
    let cid_file = CidFile::reserve(matches.some("cidfile"))?;
    let pull = matches.text("pull");
    let platform = match chosen_platform(matches) {
        Some(text) => {
            let platform = Platform::parse(&text);
            Some(platform.map_err(|e| format!("error parsing specified platform: {e}"))?.to_text())
        }
        None => None,
    };
    let platform = platform.as_deref();
    if pull == "always" {
        pull_image(call, client, platform).await?;
    }
    let (rows, columns) = terminal::size();
    body["HostConfig"]["ConsoleSize"] = json!([rows, columns]);
    let dns = body["HostConfig"]["Dns"].as_array().cloned().unwrap_or_default();
    let accepted = platform.filter(|_| client.at_least(41));
    // Newer engines take it from the endpoint, and warn of the container's.
    if client.at_least(44)
        && let Some(config) = body.as_object_mut()
    {
        config.remove("MacAddress");
    }
    if let Some(option) = own_option(&body) {
        only_here(client, option).await?;
    }
    let configuration = match matches.on("use-api-socket") {
        true => api_socket::add(session, &mut body)?,
        false => None,
    };
    let make = || client.container_create(matches.some("name"), accepted, &body);
    let created = match (make().await, reference.familiar()) {
        (Err(error), Some(name)) if error.is_not_found() && pull == "missing" => {
            if !matches.on("quiet") {
                say::error(&format!("Unable to find image '{name}' locally"));
            }
            pull_image(call, client, platform).await?;
            make().await?
        }
        (made, _) => made?,
    };
    for warning in created.warnings.unwrap_or_default() {
        say::error(&format!("WARNING: {warning}"));
    }
    for address in dns.iter().filter_map(Value::as_str) {
        if address.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback()) {
            say::error(&format!("WARNING: Localhost DNS ({address}) may fail in containers."));
        }
    }
    cid_file.write(&created.id)?;
    if let Some(configuration) = configuration {
        configuration.put(client, &created.id).await?;
    }
    Ok(created.id)
}

async fn pull_image(call: Call<'_>, client: &Client, platform: Option<&str>) -> Result<(), Failure> {
    let (name, tag) = split_tag(&call.args[0]);
    let query = Query::new().with("fromImage", name).with("tag", tag).maybe("platform", platform);
    let auth = call.session.credentials().get(&server_of(&call.args[0]))?;
    let response = client.image_create(query, None, Some(&auth.header())).await?;
    let quiet = call.matches.on("quiet");
    progress::show(response.json_lines(), Output::Stderr, quiet, |_| Ok(())).await
}

/// `--platform`, or what the environment says.
pub(super) fn chosen_platform(matches: &Matches) -> Option<String> {
    let text = match matches.changed("platform") {
        true => matches.text("platform").to_owned(),
        false => std::env::var("DOCKER_DEFAULT_PLATFORM").unwrap_or_default(),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// A name without its tag or digest, and these.
pub(super) fn split_tag(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name, digest);
    }
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

/// `--cidfile`: must not exist before, holds the id afterwards, and does not stay behind without one.
struct CidFile(Option<(PathBuf, fs_err::File)>);

impl CidFile {
    fn reserve(path: Option<&str>) -> Result<Self, Failure> {
        let Some(path) = path.map(PathBuf::from) else { return Ok(Self(None)) };
        if path.exists() {
            return Err(Failure::new(format!(
                "container ID file found, make sure the other container isn't running or delete {}",
                path.display()
            )));
        }
        let file = fs_err::File::create(&path).map_err(|e| {
            let why = env::go_open_error(&path.to_string_lossy(), &e);
            Failure::new(format!("failed to create the container ID file: {why}"))
        })?;
        Ok(Self(Some((path, file))))
    }

    fn write(mut self, id: &str) -> Result<(), Failure> {
        use std::io::Write;
        if let Some((_, mut file)) = self.0.take() {
            file.write_all(id.as_bytes())
                .map_err(|e| Failure::new(format!("failed to write the container ID to the file: {e}")))?;
        }
        Ok(())
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if let Some((path, _)) = &self.0 {
            let _ = fs_err::remove_file(path);
        }
    }
}

/// An option in use that only Skiff's engine has. Others do without what they do not know, and say nothing.
fn own_option(body: &Value) -> Option<&'static str> {
    match body["Healthcheck"]["Test"][0].as_str() {
        Some("HTTP") => Some("health-http"),
        Some("TCP") => Some("health-tcp"),
        _ => body["HostConfig"].get("Secrets").map(|_| "secret"),
    }
}

/// Refuses one elsewhere.
pub(super) async fn only_here(client: &Client, option: &str) -> Outcome {
    let version = client.engine_version().await?;
    let version: Value = serde_json::from_slice(&version).unwrap_or_default();
    match version["Platform"]["Name"].as_str() {
        Some("Skiff Engine") => Ok(()),
        _ => Err(Failure::new(format!("--{option} is Skiff's own: this engine does not have it"))),
    }
}
