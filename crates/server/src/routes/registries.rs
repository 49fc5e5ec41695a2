//! What has to do with registries: pull, push, signing in, looking, searching.

use std::collections::HashMap;

use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;
use futures_util::stream;
use skiff_api::{
    decode,
    model::{AuthConfig, AuthResult, JsonError, JsonMessage},
};
use skiff_engine::{Credentials, Error, Progress, PullRequest, PushRequest, Secret, VerifyRequest};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    task::AbortHandle,
};

use super::images::platform;
use crate::{
    convert,
    failure::{Failure, Outcome},
    reply::Reply,
    request::{Context, Request},
};

/// Clients differ in whether they pad.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// The credentials of `X-Registry-Auth`. What cannot be read counts as none, as in Docker.
fn credentials(request: &Request) -> Credentials {
    let json = decoded(request, "x-registry-auth").unwrap_or_default();
    let auth: AuthConfig = decode::from_slice(&json).unwrap_or_default();
    domain(auth)
}

/// The credentials of `X-Registry-Config`, by registry as names have it.
fn sources(request: &Request) -> Outcome<HashMap<String, Credentials>> {
    let invalid =
        |e: &dyn std::fmt::Display| Failure::invalid(format!("invalid X-Registry-Config header: {e}"));
    let json = decoded(request, "x-registry-config").map_err(|e| invalid(&e))?;
    if json.is_empty() {
        return Ok(HashMap::new());
    }
    let auths: HashMap<String, AuthConfig> = decode::from_slice(&json).map_err(|e| invalid(&e))?;
    Ok(auths.into_iter().map(|(server, auth)| (registry(&server).to_owned(), domain(auth))).collect())
}

/// A registry as names have it, of an address as clients keep it.
fn registry(server: &str) -> &str {
    let rest = server.split_once("://").map_or(server, |(_, rest)| rest);
    match rest.split('/').next().unwrap_or_default() {
        "index.docker.io" => "docker.io",
        host => host,
    }
}

/// A header in URL-safe base64; nothing if it is not there.
fn decoded(request: &Request, header: &str) -> Result<Vec<u8>, base64::DecodeError> {
    let header = request.headers.get(header).map(http::HeaderValue::as_bytes).unwrap_or_default();
    GeneralPurpose::new(&URL_SAFE, LENIENT).decode(header)
}

/// Credentials as the engine has them.
pub(super) fn domain(auth: AuthConfig) -> Credentials {
    Credentials {
        username: auth.username,
        password: Secret::new(auth.password),
        identity_token: Secret::new(auth.identity_token),
        registry_token: Secret::new(auth.registry_token),
    }
}

pub(super) async fn pull(context: &Context, request: &Request) -> Outcome<Reply> {
    let query = &request.query;
    let pull = PullRequest {
        image: query.get("fromImage").to_owned(),
        tag: query.get("tag").to_owned(),
        platform: query
            .given("platform")
            .filter(|_| request.version.at_least(32))
            .unwrap_or_default()
            .to_owned(),
        credentials: credentials(request),
    };
    let registries = context.engine.registries.clone();
    transfer(|progress| async move { registries.pull(pull, &progress).await }).await
}

pub(super) async fn push(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    let push = PushRequest {
        image: name.to_owned(),
        tag: request.query.get("tag").to_owned(),
        platform: match request.version.at_least(46) {
            true => platform(request, 46)?,
            false => String::new(),
        },
        encoding: request.query.given("compression").map(str::parse).transpose()?,
        preserve_digests: request.query.flag("preserveDigests"),
        credentials: credentials(request),
        sources: sources(request)?,
    };
    let registries = context.engine.registries.clone();
    transfer(|progress| async move { registries.push(push, &progress).await }).await
}

/// `POST /images/{name}/verify`, which is our own: proves an image, and with `mend` fetches again what is damaged.
pub(super) async fn verify(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    let verify = VerifyRequest {
        image: name.to_owned(),
        mend: request.query.flag("mend"),
        credentials: credentials(request),
    };
    let registries = context.engine.registries.clone();
    transfer(|progress| async move { registries.verify(verify, &progress).await }).await
}

/// `POST /auth`: tries credentials.
pub(super) async fn auth(context: &Context, mut request: Request) -> Outcome<Reply> {
    // Docker answers 500 to what it cannot read.
    let auth: AuthConfig = request.json_of_any_type().await?;
    let address = auth.server_address.clone();
    let token = context.engine.registries.login(&address, &domain(auth)).await?;
    Ok(Reply::ok(&AuthResult { identity_token: token, status: "Login Succeeded".to_owned() }))
}

/// What a registry has behind a name.
pub(super) async fn distribution(context: &Context, request: &Request, name: &str) -> Outcome<Reply> {
    let info = context.engine.registries.look(name, &credentials(request)).await?;
    Ok(Reply::ok(&convert::image::distribution(info)))
}

/// `GET /images/search`.
pub(super) async fn search(context: &Context, request: &Request) -> Outcome<Reply> {
    let limit = match request.query.given("limit") {
        None => 0,
        Some(text) => text.parse().map_err(|_| {
            Failure::invalid(format!(
                "invalid limit specified: strconv.Atoi: parsing {text:?}: invalid syntax"
            ))
        })?,
    };
    let (term, filters) = (request.query.get("term"), request.engine_filters()?);
    let found = context.engine.registries.search(term, limit, &filters, &credentials(request)).await?;
    Ok(Reply::ok(&found.into_iter().map(convert::image::found).collect::<Vec<_>>()))
}

/// Runs a pull or push whose progress is the answer's body. It fails like any request until there is progress, and stops when
/// nobody reads any more.
async fn transfer<F, W>(work: F) -> Outcome<Reply>
where
    F: FnOnce(skiff_engine::ProgressSender) -> W,
    W: Future<Output = Result<(), Error>> + Send + 'static,
{
    let (sender, lines) = mpsc::unbounded_channel();
    let work = work(sender);
    let mut lines = Lines { lines, work: None, ended: None };
    let (done, ended) = tokio::sync::oneshot::channel();
    let task = tokio::spawn(async move { drop(done.send(work.await)) });
    lines.work = Some(Stop(task.abort_handle()));
    lines.ended = Some(ended);
    let first = match lines.next().await {
        Some(Line::Failure(error)) => return Err(error.into()),
        first => first,
    };
    let body = stream::unfold((first, lines), |(first, mut lines)| async {
        let line = match first {
            Some(line) => line,
            None => lines.next().await?,
        };
        let message = match line {
            Line::Progress(progress) => convert::image::progress(progress),
            Line::Failure(error) => failed(&error),
        };
        let mut line = serde_json::to_vec(&message).expect("wire types have string keys only");
        // Docker's progress lines end as HTTP's do.
        line.extend_from_slice(b"\r\n");
        Some((Ok(Bytes::from(line)), (None, lines)))
    });
    Ok(Reply::stream("application/json", body))
}

fn failed(error: &Error) -> JsonMessage {
    let message = error.to_string();
    let error_detail = Some(JsonError { message: message.clone(), ..JsonError::default() });
    JsonMessage { error: message, error_detail, ..JsonMessage::default() }
}

enum Line {
    Progress(Progress),
    Failure(Error),
}

/// The lines of a transfer, and its failure at the end if it fails.
struct Lines {
    lines: UnboundedReceiver<Progress>,
    work: Option<Stop>,
    ended: Option<tokio::sync::oneshot::Receiver<Result<(), Error>>>,
}

impl Lines {
    async fn next(&mut self) -> Option<Line> {
        // The sender goes with the work.
        if let Some(progress) = self.lines.recv().await {
            return Some(Line::Progress(progress));
        }
        match self.ended.take()?.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(Line::Failure(error)),
            Err(_) => {
                Some(Line::Failure(Error::Internal("internal failure: the transfer has vanished".to_owned())))
            }
        }
    }
}

/// Ends a task that nobody waits for any more.
struct Stop(AbortHandle);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
