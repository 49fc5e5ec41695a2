//! Registries that are slow, send us round in circles, are busy, or know no ranges; and token servers.

use std::{
    io::Write,
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use skiff_distribution::{
    Config, Credentials, Descriptor, Error, Limits, Purpose, Registries, Secret, Session,
};
use skiff_testkit::registry::{Asked, Registry, answer};
use skiff_types::ErrorKind;

fn registry(guard: Option<(&str, &str)>) -> Registry {
    Registry::start(TcpListener::bind("127.0.0.1:0").unwrap(), guard).unwrap()
}

fn client(limits: Limits) -> Registries {
    Registries::new(Config { certificates: Vec::new(), limits, ..Config::default() })
}

fn limits() -> Limits {
    Limits { pause: Duration::from_millis(5), ..Limits::default() }
}

async fn open(client: &Registries, registry: &Registry, credentials: &Credentials) -> Session {
    let candidates = client.candidates(&registry.address(), Purpose::Pull).await.unwrap();
    client.open(&candidates[0], credentials).await.unwrap()
}

async fn session(registry: &Registry, limits: Limits) -> Session {
    open(&client(limits), registry, &Credentials::default()).await
}

async fn read(session: &Session, blob: &Descriptor, from: u64) -> Result<Vec<u8>, Error> {
    let repository = session.repository("a");
    let mut reader = repository.blob(blob, from);
    let mut all = Vec::new();
    while let Some(piece) = reader.next().await? {
        all.extend_from_slice(&piece);
    }
    Ok(all)
}

fn blob(registry: &Registry, bytes: &[u8]) -> Descriptor {
    Descriptor::new("", registry.put_blob("a", bytes).parse().unwrap(), bytes.len() as u64)
}

/// Every blob is answered so.
fn lie(
    registry: &Registry,
    lie: impl Fn(&Asked, &mut TcpStream) -> std::io::Result<bool> + Send + Sync + 'static,
) {
    registry.hook(move |asked, out| if asked.path.contains("/blobs/") { lie(asked, out) } else { Ok(false) });
}

/// A byte of each blob comes now and then.
fn drip(registry: &Registry) {
    lie(registry, |_, out| {
        answer(out, "200 OK", &[("Content-Length", "100000")], b"")?;
        loop {
            out.write_all(b"7")?;
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}

#[tokio::test]
async fn a_registry_that_drips_or_says_nothing_is_given_up() {
    let registry = registry(None);
    let wanted = blob(&registry, &[7; 100_000]);
    drip(&registry);
    let short = Limits { pace: Duration::from_millis(100), ..limits() };
    let error = read(&session(&registry, short).await, &wanted, 0).await.unwrap_err();
    assert!(error.to_string().contains("too slowly"), "{error}");
    lie(&registry, |_, out| {
        let _ = std::io::Read::read(out, &mut [0; 1]);
        Ok(true)
    });
    let short = Limits { silence: Duration::from_secs(2), attempts: 2, ..limits() };
    let error = read(&session(&registry, short).await, &wanted, 0).await.unwrap_err();
    assert!(error.to_string().contains("request canceled"), "{error}");
}

#[tokio::test]
async fn a_connection_that_brings_next_to_nothing_counts_as_a_failure() {
    let registry = registry(None);
    let bytes = counting(200_000);
    let wanted = blob(&registry, &bytes);
    let (whole, each, asked_for) =
        (bytes.clone(), Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(0)));
    let (comes, count) = (Arc::clone(&each), Arc::clone(&asked_for));
    lie(&registry, move |asked, out| {
        count.fetch_add(1, Ordering::Relaxed);
        let begin = range(asked).map_or(0, |(begin, _)| begin);
        let rest = (whole.len() - begin).to_string();
        let range = format!("bytes {begin}-{}/{}", whole.len() - 1, whole.len());
        let status = if begin == 0 { "200 OK" } else { "206 Partial Content" };
        let end = whole.len().min(begin + comes.load(Ordering::Relaxed));
        answer(out, status, &[("Content-Length", &rest), ("Content-Range", &range)], &whole[begin..end])?;
        Err(std::io::ErrorKind::ConnectionAborted.into())
    });
    let session = session(&registry, limits()).await;
    let error = read(&session, &wanted, 0).await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    assert_eq!(asked_for.load(Ordering::Relaxed), limits().attempts as usize);
    // More cuts than attempts, but each connection gets somewhere.
    each.store(20_000, Ordering::Relaxed);
    assert!(read(&session, &wanted, 0).await.unwrap() == bytes);
}

#[tokio::test]
async fn what_is_skipped_must_come_at_a_pace_too() {
    let registry = registry(None);
    let wanted = blob(&registry, &[7; 100_000]);
    drip(&registry);
    let short = Limits { pace: Duration::from_millis(100), ..limits() };
    let error = read(&session(&registry, short).await, &wanted, 50_000).await.unwrap_err();
    assert!(error.to_string().contains("too slowly"), "{error}");
}

#[tokio::test]
async fn a_registry_without_ranges_sends_all_and_what_is_known_is_skipped() {
    let registry = registry(None);
    let bytes: Vec<u8> = (0..100_000u32).map(|i| (i / 3) as u8).collect();
    let wanted = blob(&registry, &bytes);
    let whole = bytes.clone();
    lie(&registry, move |_, out| answer(out, "200 OK", &[], &whole).map(|()| true));
    let session = session(&registry, limits()).await;
    for from in [0, 1, 65_536, 99_999] {
        assert!(read(&session, &wanted, from).await.unwrap() == bytes[from as usize..], "{from}");
    }
    // Another part than was asked for.
    lie(&registry, |_, out| {
        answer(out, "206 Partial Content", &[("Content-Range", "bytes 0-9/100000")], &[0; 10]).map(|()| true)
    });
    let error = read(&session, &wanted, 5).await.unwrap_err();
    assert!(error.to_string().contains("instead of the rest"), "{error}");
}

/// The range of a request for a part, up to its end if it has one.
fn range(asked: &Asked) -> Option<(usize, Option<usize>)> {
    let (begin, end) = asked.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
    Some((begin.parse().ok()?, end.parse::<usize>().ok().map(|last| last + 1)))
}

/// Answers with a part.
fn part(bytes: &[u8], begin: usize, end: usize, out: &mut TcpStream) -> std::io::Result<()> {
    let range = format!("bytes {begin}-{}/{}", end - 1, bytes.len());
    answer(out, "206 Partial Content", &[("Content-Range", &range)], &bytes[begin..end])
}

/// Ranges as short as tests need them, and no connection that is fast enough.
fn ranges() -> Limits {
    Limits { fast: u64::MAX, range: 10_000, ..limits() }
}

fn counting(n: u32) -> Vec<u8> {
    (0..n).map(|i| (i / 3) as u8).collect()
}

#[tokio::test]
async fn from_a_slow_registry_ranges_come_several_at_a_time_and_in_order() {
    let registry = registry(None);
    let bytes = counting(300_001);
    let wanted = blob(&registry, &bytes);
    let (whole, waiting) = (bytes.clone(), Arc::new((Mutex::new(0), Condvar::new())));
    let together = Arc::clone(&waiting);
    lie(&registry, move |asked, out| {
        let Some((begin, Some(end))) = range(asked) else {
            return answer(out, "200 OK", &[], &whole).map(|()| true);
        };
        // The first three are answered when all of them have come, the last of them first.
        let mut count = together.0.lock().unwrap();
        *count += 1;
        together.1.notify_all();
        let come = together.1.wait_timeout_while(count, Duration::from_secs(20), |n| *n < 3).unwrap();
        if come.1.timed_out() {
            return answer(out, "400 Bad Request", &[], b"").map(|()| true);
        }
        drop(come);
        std::thread::sleep(Duration::from_millis(if begin < 100_000 { 30 } else { 0 }));
        part(&whole, begin, end, out).map(|()| true)
    });
    assert!(read(&session(&registry, ranges()).await, &wanted, 0).await.unwrap() == bytes);
    assert!(*waiting.0.lock().unwrap() >= 3);
    // What is known already is not asked for again.
    registry.asked();
    assert!(read(&session(&registry, ranges()).await, &wanted, 50_000).await.unwrap() == bytes[50_000..]);
    assert!(registry.asked().iter().filter_map(range).all(|(begin, _)| begin >= 50_000));
}

#[tokio::test]
async fn a_range_that_fails_costs_nothing_but_the_haste() {
    let registry = registry(None);
    let bytes = counting(300_000);
    let wanted = blob(&registry, &bytes);
    for how in ["cut", "busy", "whole"] {
        let (whole, failed) = (bytes.clone(), Arc::new(AtomicUsize::new(0)));
        let failures = Arc::clone(&failed);
        lie(&registry, move |asked, out| {
            let (begin, end) = range(asked).unwrap_or((0, None));
            let Some(end) = end else {
                return part(&whole, begin, whole.len(), out).map(|()| true);
            };
            failures.fetch_add(1, Ordering::Relaxed);
            match how {
                "cut" => {
                    let range = format!("bytes {begin}-{}/{}", end - 1, whole.len());
                    let headers = [("Content-Range", &range[..]), ("Content-Length", "10000")];
                    answer(out, "206 Partial Content", &headers, &whole[begin..begin + 100])?;
                    out.shutdown(std::net::Shutdown::Both)?;
                }
                "busy" => answer(out, "429 Too Many Requests", &[], b"")?,
                _ => answer(out, "200 OK", &[], &whole)?,
            }
            Ok(true)
        });
        assert!(read(&session(&registry, ranges()).await, &wanted, 0).await.unwrap() == bytes, "{how}");
        assert!(failed.load(Ordering::Relaxed) > 0, "{how}");
    }
    // Another range than was asked for.
    let whole = bytes.clone();
    lie(&registry, move |asked, out| {
        let (begin, end) = range(asked).unwrap_or((0, None));
        match end {
            None => part(&whole, begin, whole.len(), out),
            Some(end) => part(&whole, begin - 1, end - 1, out),
        }
        .map(|()| true)
    });
    let error = read(&session(&registry, ranges()).await, &wanted, 0).await.unwrap_err();
    assert!(error.to_string().contains("instead of the rest"), "{error}");
}

#[tokio::test]
async fn a_busy_registry_is_asked_again_and_a_quota_is_told() {
    let registry = registry(None);
    let index = br#"{"schemaVersion":2,"manifests":[]}"#;
    registry.put_manifest("a", "v1", skiff_distribution::media::OCI_INDEX, index);
    let failures = Arc::new(AtomicUsize::new(0));
    let left = Arc::clone(&failures);
    registry.hook(move |_, out| {
        let fails = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok();
        if fails {
            answer(out, "503 Service Unavailable", &[], b"")?;
        }
        Ok(fails)
    });
    let session = session(&registry, limits()).await;
    failures.store(2, Ordering::Relaxed);
    session.repository("a").manifest("v1").await.unwrap();
    assert_eq!(failures.load(Ordering::Relaxed), 0);
    registry.hook(|_, out| {
        let body =
            br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
        answer(out, "429 Too Many Requests", &[("Content-Type", "application/json")], body).map(|()| true)
    });
    let error = session.repository("a").manifest("v1").await.unwrap_err();
    assert_eq!(error.to_string(), "toomanyrequests: You have reached your pull rate limit.");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn redirects_end() {
    let registry = registry(None);
    let wanted = blob(&registry, b"x");
    lie(&registry, |asked, out| {
        answer(out, "302 Found", &[("Location", &format!("{}?again", asked.path))], b"").map(|()| true)
    });
    let session = session(&registry, Limits { attempts: 1, ..limits() }).await;
    let error = read(&session, &wanted, 0).await.unwrap_err();
    assert!(error.to_string().contains("stopped after"), "{error}");
}

#[tokio::test]
async fn tokens_are_fetched_once_for_what_they_allow() {
    let tokens = registry(None);
    let realm = format!("http://{}/token", tokens.address());
    tokens.hook(move |asked, out| {
        let body = match asked.method.as_str() {
            "GET" if asked.path.contains("offline_token=true") => r#"{"token":"t","refresh_token":"again"}"#,
            "GET" => r#"{"token":"t","expires_in":300}"#,
            _ => r#"{"access_token":"t"}"#,
        };
        answer(out, "200 OK", &[("Content-Type", "application/json")], body.as_bytes()).map(|()| true)
    });
    let challenge = format!("Bearer realm=\"{realm}\",service=\"reg\"");
    let registry = registry(Some(("Bearer t", &challenge)));
    let wanted = blob(&registry, b"bytes");
    let client = client(limits());
    let user = Credentials { username: "u".into(), password: Secret::new("p"), ..Credentials::default() };
    let opened = open(&client, &registry, &user).await;
    for _ in 0..3 {
        assert_eq!(read(&opened, &wanted, 0).await.unwrap(), b"bytes");
    }
    let asked = tokens.asked();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].path, "/token?service=reg&scope=repository%3Aa%3Apull&account=u");
    assert_eq!(asked[0].header("authorization"), Some("Basic dTpw"));

    let refresh = client.login(&registry.address(), &user).await.unwrap().unwrap();
    assert_eq!(refresh.reveal(), "again");
    tokens.asked();
    let by_token = Credentials { identity_token: refresh, ..Credentials::default() };
    read(&open(&client, &registry, &by_token).await, &wanted, 0).await.unwrap();
    let asked = tokens.asked();
    let form = String::from_utf8_lossy(&asked[0].body).into_owned();
    assert!(form.starts_with("grant_type=refresh_token&refresh_token=again&service=reg"), "{form}");

    let wrong = Credentials { username: "u".into(), password: Secret::new("x"), ..Credentials::default() };
    tokens.hook(|_, out| {
        answer(out, "401 Unauthorized", &[], br#"{"details":"incorrect username or password"}"#)
            .map(|()| true)
    });
    let error = client.login(&registry.address(), &wrong).await.unwrap_err();
    assert!(error.to_string().ends_with("unauthorized: incorrect username or password"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn a_token_may_come_with_nulls() {
    for body in [
        r#"{"token":"t","access_token":null,"refresh_token":null,"expires_in":null}"#,
        r#"{"token":null,"access_token":"t","expires_in":-1}"#,
    ] {
        let tokens = registry(None);
        let realm = format!("http://{}/token", tokens.address());
        tokens.hook(move |_, out| {
            answer(out, "200 OK", &[("Content-Type", "application/json")], body.as_bytes()).map(|()| true)
        });
        let registry = registry(Some(("Bearer t", &format!("Bearer realm=\"{realm}\""))));
        let wanted = blob(&registry, b"bytes");
        assert_eq!(read(&session(&registry, limits()).await, &wanted, 0).await.unwrap(), b"bytes", "{body}");
    }
}

#[tokio::test]
async fn a_list_of_tags_has_an_end() {
    let registry = registry(None);
    let page = |asked: &Asked, out: &mut TcpStream, tag: &str| {
        let body = format!(r#"{{"tags":["no tag","v1","{tag}-{}"]}}"#, asked.path.len());
        let link = format!("<{}1>; rel=\"next\"", asked.path);
        answer(out, "200 OK", &[("Link", &link)], body.as_bytes())
    };
    let serve = |longest: usize, tag: String| {
        registry.hook(move |asked, out| {
            if !asked.path.contains("/tags/list") {
                return Ok(false);
            }
            match asked.path.len() > longest {
                true => answer(out, "200 OK", &[], br#"{"tags":["last"]}"#).map(|()| true),
                false => page(asked, out, &tag).map(|()| true),
            }
        });
    };
    let session_of = |list| session(&registry, Limits { list, ..limits() });
    let patient = session_of(Duration::from_secs(60)).await;
    // What is no tag is not kept.
    serve(0, String::new());
    assert_eq!(patient.repository("a").tags().await.unwrap(), ["last"]);
    serve("/v2/a/tags/list?n=10001".len(), "x".repeat(1000));
    assert_eq!(patient.repository("a").tags().await.unwrap(), ["v1", "v1", "last"]);
    serve(usize::MAX, "x".repeat(15 << 20));
    let error = patient.repository("a").tags().await.unwrap_err();
    assert!(error.to_string().contains("has more than"), "{error}");
    serve(usize::MAX, String::new());
    let error = session_of(Duration::from_millis(100)).await.repository("a").tags().await.unwrap_err();
    assert!(error.to_string().contains("takes longer than"), "{error}");
}

#[tokio::test]
async fn headers_of_the_settings_are_for_the_registry_alone() {
    let (registry, other) = (registry(None), registry(None));
    let settings = tempfile::tempdir().unwrap();
    let directory = settings.path().join(registry.address());
    fs_err::create_dir(&directory).unwrap();
    let server = format!("server = \"http://{}\"\n", registry.address());
    let text = format!("{server}[header]\nx-api-key = \"secret\"\nauthorization = \"Bearer secret\"\n");
    fs_err::write(directory.join("hosts.toml"), text).unwrap();
    let certificates = vec![settings.path().to_owned()];
    let client = Registries::new(Config { certificates, limits: limits(), ..Config::default() });
    let session = open(&client, &registry, &Credentials::default()).await;

    let wanted = blob(&registry, b"bytes");
    let there = format!("http://{}/there", other.address());
    lie(&registry, move |asked, out| {
        let status = match asked.method.as_str() {
            "HEAD" => return answer(out, "404 Not Found", &[], b"").map(|()| true),
            "POST" => "202 Accepted",
            _ => "307 Temporary Redirect",
        };
        answer(out, status, &[("Location", &there)], b"").map(|()| true)
    });
    other.hook(|asked, out| {
        match asked.method.as_str() {
            "GET" => answer(out, "206 Partial Content", &[("Content-Range", "bytes 1-4/5")], b"ytes"),
            _ => answer(out, "201 Created", &[], b""),
        }
        .map(|()| true)
    });
    assert_eq!(read(&session, &wanted, 1).await.unwrap(), b"ytes");
    session.repository("a").put_small(&wanted, "bytes".into()).await.unwrap();
    let asked = other.asked();
    assert_eq!(asked.iter().map(|asked| asked.method.as_str()).collect::<Vec<_>>(), ["GET", "PUT"]);
    assert_eq!(asked[0].header("range"), Some("bytes=1-"));
    let secrets = |asked: &[Asked]| {
        asked.iter().flat_map(|asked| &asked.headers).filter(|(_, value)| value.contains("secret")).count()
    };
    assert_eq!(secrets(&asked), 0, "{asked:?}");
    assert!(secrets(&registry.asked()) > 0);
}

/// A registry that is started anew is not there for a moment; nor is one that a blob was redirected to.
#[tokio::test]
async fn who_is_gone_in_the_middle_is_asked_again() {
    let registry = registry(None);
    let bytes = vec![7; 100_000];
    let wanted = blob(&registry, &bytes);
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let times = Arc::clone(&asked);
    lie(&registry, move |_, out| {
        if times.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0 {
            return Ok(false);
        }
        let to = format!("http://{gone}/blob");
        answer(out, "307 Temporary Redirect", &[("Location", &to)], b"").map(|()| true)
    });
    let session = session(&registry, Limits::default()).await;
    let repository = session.repository("a");
    let mut told = Vec::new();
    let mut reader = repository.blob(&wanted, 0).on_pause(|seconds| told.push(seconds));
    let mut all = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        all.extend_from_slice(&piece);
    }
    drop(reader);
    assert!(all == bytes);
    assert_eq!((told, asked.load(std::sync::atomic::Ordering::Relaxed)), (vec![1], 2));
}
