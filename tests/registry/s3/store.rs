//! An S3 store in this process, as far as a registry needs one, that fails as it is told to. It verifies signatures and sums
//! as Amazon's documentation has them, with code of its own.
//!
//! Source: Amazon S3 API Reference, 2006-03-01; "Authenticating Requests: Using Query Parameters".

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming},
    header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG},
    http::request::Parts,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use md5::{Digest, Md5};
use ring::{digest, hmac};
use tokio::{net::TcpListener, runtime::Runtime};

type Body = UnsyncBoxBody<Bytes, io::Error>;
type Answer = (StatusCode, Vec<(&'static str, String)>, Bytes);

const NAMESPACE: &str = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";
/// Names on a page of a list: few, so that there are several pages.
const PAGE: usize = 2;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// It has no time.
    Busy,
    /// Connections are closed.
    Gone,
    /// Objects end in the middle, so many times.
    Cut(usize),
    /// It does what it is told, and says nothing.
    Mute,
    /// Everything takes so long.
    Slow(Duration),
    /// Nothing is answered.
    Hang,
    /// Nothing is answered once there is a part of an upload.
    HangAfterPart,
    /// Uploads are completed, and that is not answered.
    HangAtEnd,
    /// Answers come byte by byte.
    Drip,
    /// It has no time, so many times.
    BusyFor(usize),
    /// Connections break in the middle of what is sent, so many times.
    Torn(usize),
}

/// The store; it ends with this.
pub(super) struct Store {
    pub(super) address: String,
    state: Arc<Mutex<State>>,
    _runtime: Runtime,
}

struct State {
    fault: Fault,
    requests: usize,
    /// Requests that wait for ever.
    hanging: usize,
    objects: BTreeMap<String, (Bytes, Timestamp)>,
    uploads: HashMap<String, (String, BTreeMap<usize, Bytes>)>,
    /// Temporary keys, until when they are good, and whether somebody came with them.
    issued: BTreeMap<String, (Timestamp, bool)>,
    /// How long they are good.
    lifetime: Duration,
}

impl Store {
    /// With a bucket `images`, for who has the key `key` with the secret `secret`.
    pub(super) fn start() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?.to_string();
        let state = State {
            fault: Fault::None,
            requests: 0,
            hanging: 0,
            objects: BTreeMap::new(),
            uploads: HashMap::new(),
            issued: BTreeMap::new(),
            lifetime: Duration::from_secs(3600),
        };
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = shared.clone();
                let answer = service_fn(move |request| answer(state.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), answer));
            }
        });
        Ok(Self { address, state, _runtime: runtime })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn fail(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// From now on, temporary keys are good for so long.
    pub(super) fn issue_for(&self, lifetime: Duration) {
        self.state().lifetime = lifetime;
    }

    /// The temporary keys so far are no longer good.
    pub(super) fn revoke(&self) {
        self.state().issued.values_mut().for_each(|(end, _)| *end = Timestamp::UNIX_EPOCH);
    }

    /// Temporary keys that somebody used.
    pub(super) fn used(&self) -> usize {
        self.state().issued.values().filter(|(_, used)| *used).count()
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> usize {
        self.state().requests
    }

    /// Requests that wait for an answer that will not come.
    pub(super) fn hanging(&self) -> usize {
        self.state().hanging
    }

    /// Objects whose names begin so.
    pub(super) fn objects(&self, prefix: &str) -> usize {
        self.state().objects.keys().filter(|key| key.starts_with(prefix)).count()
    }

    /// Makes all objects old.
    pub(super) fn age(&self, by: Duration) {
        self.state().objects.values_mut().for_each(|(_, changed)| *changed -= by);
    }

    /// Uploads in parts that were neither completed nor aborted, and have parts that somebody pays for.
    pub(super) fn unfinished(&self) -> usize {
        self.state().uploads.values().filter(|(_, parts)| !parts.is_empty()).count()
    }
}

async fn answer(state: Arc<Mutex<State>>, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
    let (head, mut body) = request.into_parts();
    let fault = {
        let mut state = state.lock().unwrap();
        state.requests += 1;
        let fault = state.fault;
        match &mut state.fault {
            Fault::BusyFor(times) | Fault::Torn(times) => *times = times.saturating_sub(1),
            _ => {}
        }
        fault
    };
    match fault {
        Fault::Gone => return Err(io::ErrorKind::ConnectionReset.into()),
        Fault::Torn(1..) if head.method == Method::PUT => {
            let _ = body.frame().await;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Fault::Hang => {
            // Read, so that the end of the connection is seen.
            let _ = body.collect().await;
            return hang(&state).await;
        }
        Fault::HangAfterPart
            if state.lock().unwrap().uploads.values().any(|(_, parts)| !parts.is_empty()) =>
        {
            return hang(&state).await;
        }
        _ => {}
    }
    let bytes = body.collect().await.map_err(io::Error::other)?.to_bytes();
    if head.uri.path().starts_with("/latest/") {
        let (status, text) = state.lock().unwrap().metadata(&head);
        let body = Full::new(text.into()).map_err(|never: Infallible| match never {}).boxed_unsync();
        return Response::builder().status(status).body(body).map_err(io::Error::other);
    }
    if let Fault::Slow(time) = fault {
        tokio::time::sleep(time).await;
    }
    let allowed = signed(&head, &mut state.lock().unwrap().issued);
    let (status, headers, bytes) = match (fault, allowed) {
        (Fault::Busy | Fault::BusyFor(1..), _) => error(StatusCode::SERVICE_UNAVAILABLE, "SlowDown"),
        (_, Err(code)) => error(StatusCode::FORBIDDEN, code),
        _ => state.lock().unwrap().answer(&head, bytes),
    };
    if fault == Fault::Mute {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let completed =
        head.method == Method::POST && parameter(&head, "uploadId").is_some() && status.is_success();
    if fault == Fault::HangAtEnd && completed {
        return hang(&state).await;
    }
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let body = match fault {
        Fault::Cut(times) if times > 0 && head.method == Method::GET && bytes.len() > 1000 => {
            state.lock().unwrap().fault = Fault::Cut(times - 1);
            response = response.header(CONTENT_LENGTH, bytes.len());
            let half = Ok(Frame::data(bytes.slice(..bytes.len() / 2)));
            StreamBody::new(stream::iter([half, Err(io::ErrorKind::ConnectionReset.into())])).boxed_unsync()
        }
        Fault::Drip => {
            response = response.header(CONTENT_LENGTH, bytes.len());
            let drops = stream::unfold(bytes, |mut left| async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                (!left.is_empty()).then(|| (Ok(Frame::data(left.split_to(1))), left))
            });
            StreamBody::new(Box::pin(drops)).boxed_unsync()
        }
        _ => Full::new(bytes).map_err(|never: Infallible| match never {}).boxed_unsync(),
    };
    response.body(body).map_err(io::Error::other)
}

/// Never answers; ends when the other side closes the connection.
async fn hang(state: &Arc<Mutex<State>>) -> Result<Response<Body>, io::Error> {
    struct Hanging(Arc<Mutex<State>>);
    impl Drop for Hanging {
        fn drop(&mut self) {
            self.0.lock().unwrap().hanging -= 1;
        }
    }
    state.lock().unwrap().hanging += 1;
    let _hanging = Hanging(state.clone());
    std::future::pending().await
}

fn error(status: StatusCode, code: &str) -> Answer {
    (status, Vec::new(), format!("<Error><Code>{code}</Code><Message>so it is</Message></Error>").into())
}

/// A parameter of the query.
fn parameter<'a>(head: &'a Parts, name: &str) -> Option<&'a str> {
    head.uri.query()?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key == name).then_some(value)
    })
}

/// Whether the address is signed by the key, for these headers and now.
fn signed(head: &Parts, issued: &mut BTreeMap<String, (Timestamp, bool)>) -> Result<(), &'static str> {
    let get = |name: &str| parameter(head, name).unwrap_or_default().replace("%2F", "/").replace("%3B", ";");
    let (time, lifetime) = (get("X-Amz-Date"), get("X-Amz-Expires"));
    let begun = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", &time).ok();
    let begun = begun.and_then(|t| t.to_datetime().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok());
    let until = begun.ok_or("AuthorizationQueryParametersError")?.timestamp()
        + Duration::from_secs(lifetime.parse().unwrap_or(0));
    if until < Timestamp::now() {
        return Err("AccessDenied");
    }
    let credential = get("X-Amz-Credential");
    let (id, place) = credential.split_once('/').unwrap_or_default();
    match issued.get_mut(id) {
        Some((end, _)) if *end < Timestamp::now() => return Err("ExpiredToken"),
        Some(_) if get("X-Amz-Security-Token") != format!("token%20of%2B{id}") => return Err("InvalidToken"),
        Some((_, used)) => *used = true,
        None if id != "key" => return Err("InvalidAccessKeyId"),
        None => {}
    }
    let names = get("X-Amz-SignedHeaders");
    let mut query: Vec<&str> = head.uri.query().unwrap_or_default().split('&').collect();
    query.retain(|pair| !pair.starts_with("X-Amz-Signature="));
    query.sort_unstable();
    let header =
        |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let headers: String = names.split(';').map(|name| format!("{name}:{}\n", header(name))).collect();
    // Amazon's own headers must be signed.
    let unsigned = |name: &&str| name.starts_with("x-amz-") && !names.split(';').any(|n| n == *name);
    if head.headers.keys().map(|name| name.as_str()).any(|name| unsigned(&name)) {
        return Err("AccessDenied");
    }
    let (method, path, query) = (&head.method, head.uri.path(), query.join("&"));
    let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{names}\nUNSIGNED-PAYLOAD");
    let sum = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{place}\n{sum}");
    let mac = |key: &[u8], text: &str| {
        hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
    };
    let key = place.split('/').fold(b"AWS4secret".to_vec(), |key, part| mac(&key, part));
    match get("X-Amz-Signature") == hex(&mac(&key, &text)) {
        true => Ok(()),
        false => Err("SignatureDoesNotMatch"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What identifies a version of some bytes.
fn tag(bytes: &[u8]) -> String {
    format!("\"{}\"", &super::digest(bytes)[7..39])
}

impl State {
    /// The metadata service of a machine whose role may use this store.
    fn metadata(&mut self, head: &Parts) -> (StatusCode, String) {
        const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
        let (path, header) = (head.uri.path(), |name: &str| head.headers.get(name).map(|v| v.as_bytes()));
        match head.method.as_str() {
            "PUT"
                if path == "/latest/api/token"
                    && header("x-aws-ec2-metadata-token-ttl-seconds").is_some() =>
            {
                (StatusCode::OK, "metadata".to_owned())
            }
            "GET" if header("x-aws-ec2-metadata-token") != Some(b"metadata") => {
                (StatusCode::UNAUTHORIZED, String::new())
            }
            "GET" if path == ROLES => (StatusCode::OK, "registry".to_owned()),
            "GET" if path.strip_prefix(ROLES) == Some("registry") => {
                let id = format!("temporary{}", self.issued.len());
                let end = Timestamp::now() + self.lifetime;
                let keys = serde_json::json!({
                    "Code": "Success", "AccessKeyId": id, "SecretAccessKey": "secret",
                    "Token": format!("token of+{id}"), "Expiration": end,
                });
                self.issued.insert(id, (end, false));
                (StatusCode::OK, keys.to_string())
            }
            _ => (StatusCode::NOT_FOUND, String::new()),
        }
    }

    fn answer(&mut self, head: &Parts, bytes: Bytes) -> Answer {
        let Some(key) = head.uri.path().strip_prefix("/images/").map(str::to_owned) else {
            return error(StatusCode::NOT_FOUND, "NoSuchBucket");
        };
        let sum = head.headers.get("content-md5").map(|sum| sum.as_bytes().to_vec());
        if sum.is_some_and(|sum| sum != STANDARD.encode(Md5::digest(&bytes)).as_bytes()) {
            return error(StatusCode::BAD_REQUEST, "BadDigest");
        }
        let empty = |status| (status, Vec::new(), Bytes::new());
        let upload = parameter(head, "uploadId").map(str::to_owned);
        match (head.method.as_str(), upload) {
            ("GET", None) if key.is_empty() => self.list(head),
            ("GET" | "HEAD", None) => self.get(&key, head),
            ("PUT", None) => {
                let free = head.headers.get("if-none-match").is_none() || !self.objects.contains_key(&key);
                if !free {
                    return error(StatusCode::PRECONDITION_FAILED, "PreconditionFailed");
                }
                self.objects.insert(key, (bytes, Timestamp::now()));
                empty(StatusCode::OK)
            }
            ("DELETE", None) => {
                self.objects.remove(&key);
                empty(StatusCode::NO_CONTENT)
            }
            ("POST", None) if parameter(head, "uploads").is_some() => {
                let id = format!("upload{}", self.requests);
                self.uploads.insert(id.clone(), (key, BTreeMap::new()));
                let text = format!(
                    "<InitiateMultipartUploadResult {NAMESPACE}><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                );
                (StatusCode::OK, Vec::new(), text.into())
            }
            (method, Some(id)) => {
                let Some((of, mut parts)) = self.uploads.remove(&id).filter(|(of, _)| *of == key) else {
                    return error(StatusCode::NOT_FOUND, "NoSuchUpload");
                };
                match method {
                    "PUT" => {
                        let number = parameter(head, "partNumber").and_then(|n| n.parse().ok()).unwrap_or(0);
                        let tag = tag(&bytes);
                        parts.insert(number, bytes);
                        self.uploads.insert(id, (of, parts));
                        (StatusCode::OK, vec![(ETAG.as_str(), tag)], Bytes::new())
                    }
                    "POST" => self.complete(key, &parts, &String::from_utf8_lossy(&bytes)),
                    _ => empty(StatusCode::NO_CONTENT),
                }
            }
            _ => error(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn complete(&mut self, key: String, parts: &BTreeMap<usize, Bytes>, said: &str) -> Answer {
        let known = |(number, bytes): (&usize, &Bytes)| {
            let tag = tag(bytes).replace('"', "&quot;");
            let spelled = [tag.clone(), tag.replace("&quot;", "\"")];
            spelled
                .iter()
                .any(|tag| said.contains(&format!("<ETag>{tag}</ETag><PartNumber>{number}</PartNumber>")))
        };
        let last = parts.len();
        let small = |(n, bytes): (&usize, &Bytes)| *n < last && bytes.len() < 5 << 20;
        if !parts.iter().all(known) || parts.iter().any(small) || said.matches("<Part>").count() != last {
            // As a store may answer that has begun to answer already.
            let (_, headers, bytes) = error(StatusCode::OK, "InvalidPart");
            return (StatusCode::OK, headers, bytes);
        }
        let whole = parts.values().fold(Vec::new(), |whole, part| [&whole[..], part].concat());
        let text = format!(
            "<CompleteMultipartUploadResult {NAMESPACE}><ETag>{}-{last}</ETag></CompleteMultipartUploadResult>",
            &tag(&whole)[1..9]
        );
        self.objects.insert(key, (whole.into(), Timestamp::now()));
        (StatusCode::OK, Vec::new(), text.into())
    }

    fn get(&self, key: &str, head: &Parts) -> Answer {
        let Some((bytes, _)) = self.objects.get(key) else {
            return error(StatusCode::NOT_FOUND, "NoSuchKey");
        };
        let range = head.headers.get("range").and_then(|range| {
            let (from, to) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
            Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?))
        });
        let tags = vec![(ETAG.as_str(), tag(bytes))];
        match range {
            Some((from, to)) if to < bytes.len() => {
                let range = (CONTENT_RANGE.as_str(), format!("bytes {from}-{to}/{}", bytes.len()));
                (StatusCode::PARTIAL_CONTENT, vec![range], bytes.slice(from..=to))
            }
            _ => (StatusCode::OK, tags, bytes.clone()),
        }
    }

    fn list(&self, head: &Parts) -> Answer {
        let get = |name: &str| parameter(head, name).unwrap_or_default().replace("%2F", "/");
        let (prefix, after) = (get("prefix"), get("continuation-token"));
        let matching = self.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
        let found: Vec<_> = matching.take(PAGE + 1).collect();
        let page = &found[..found.len().min(PAGE)];
        let contents: String = page
            .iter()
            .map(|(key, (bytes, changed))| {
                format!("<Contents><Key>{key}</Key><LastModified>{changed}</LastModified><Size>{}</Size></Contents>", bytes.len())
            })
            .collect();
        let more = match (found.len() > PAGE, page.last()) {
            (true, Some((last, _))) => format!("<NextContinuationToken>{last}</NextContinuationToken>"),
            _ => String::new(),
        };
        let truncated = found.len() > PAGE;
        let text = format!(
            "<ListBucketResult {NAMESPACE}><IsTruncated>{truncated}</IsTruncated>{contents}{more}</ListBucketResult>"
        );
        (StatusCode::OK, Vec::new(), text.into())
    }
}
