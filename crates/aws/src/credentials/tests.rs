use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::Answer;

/// Status and body for a request, or silence.
type Says = dyn Fn(&str) -> Option<(u16, String)> + Send + Sync;

/// A service in this process: what it was asked, and what it says.
#[derive(Clone)]
struct Service {
    asked: Arc<Mutex<Vec<String>>>,
    answer: Arc<Says>,
}

impl Ask for Service {
    async fn ask(&self, request: crate::Request<'_>) -> Result<Answer, String> {
        let crate::Request { method, service, path, headers, body } = request;
        let line = format!("{method} {service}{path} {headers:?} {body}");
        self.asked.lock().unwrap().push(line.clone());
        match (self.answer)(&line) {
            Some((status, body)) => Ok(Answer { status, body }),
            None => std::future::pending().await,
        }
    }
}

type Scene = (Credentials<Service>, Arc<Mutex<Vec<String>>>);

fn scene(
    variables: &[(&str, &str)],
    answer: impl Fn(&str) -> Option<(u16, String)> + Send + Sync + 'static,
) -> Scene {
    let all: BTreeMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let service = Service { asked: Arc::default(), answer: Arc::new(answer) };
    let asked = service.asked.clone();
    (Credentials::new(Arc::new(move |name| all.get(name).cloned()), service), asked)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

fn json(id: &str, seconds: i64) -> Option<(u16, String)> {
    let end = Timestamp::now() + SignedDuration::from_secs(seconds);
    let text = format!(
        "{{\"Code\":\"Success\",\"AccessKeyId\":\"{id}\",\"SecretAccessKey\":\"S\",\"Token\":\"T\",\"Expiration\":\"{end}\"}}"
    );
    Some((200, text))
}

const FULL: [(&str, &str); 1] = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/get?x=1")];

#[test]
fn a_machine_is_asked_when_nothing_else_is_there() {
    let (credentials, asked) = scene(&[], |line| match line {
        line if line.starts_with("PUT ") => Some((200, "TOKEN\n".to_owned())),
        line if !line.contains("\"TOKEN\"") => Some((401, String::new())),
        line if line.contains("/security-credentials/ ") => Some((200, "role\n".to_owned())),
        line if line.contains("/region ") => Some((200, "us-west-2".to_owned())),
        _ => json("MACHINE", 3600),
    });
    let keys = run(credentials.keys()).unwrap();
    assert_eq!((keys.id.as_str(), keys.secret.as_str(), keys.token.as_deref()), ("MACHINE", "S", Some("T")));
    assert_eq!(run(credentials.region()).as_deref(), Ok("us-west-2"));
    assert!(
        asked.lock().unwrap()[2]
            .starts_with("GET http://169.254.169.254/latest/meta-data/iam/security-credentials/role ")
    );
    assert!(!format!("{keys:?}").contains('S'));
}

#[test]
fn what_is_nearer_comes_first() {
    let token = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(token.path(), "a b&c\n").unwrap();
    let token = token.path().to_str().unwrap();
    let web = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ("AWS_REGION", "eu-north-1"),
    ];
    let sts = |line: &str| {
        assert!(line.starts_with("POST https://sts.eu-north-1.amazonaws.com/ "), "{line}");
        assert!(line.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&"), "{line}");
        assert!(line.ends_with("&WebIdentityToken=a+b%26c"), "{line}");
        let text = "<A><Credentials><AccessKeyId>WEB</AccessKeyId><SecretAccessKey>S</SecretAccessKey>\
                    <SessionToken>T</SessionToken><Expiration>2126-01-01T00:00:00Z</Expiration></Credentials></A>";
        Some((200, text.to_owned()))
    };
    let id = |variables: &[&[(&str, &str)]], answer: fn(&str) -> Option<(u16, String)>| {
        run(scene(&variables.concat(), answer).0.keys()).map(|keys| keys.id)
    };
    let environment = [("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "S")];
    let container = |line: &str| {
        assert!(
            line.starts_with("GET http://127.0.0.1:9/get?x=1 [(\"authorization\", \"a b&c\")]"),
            "{line}"
        );
        json("CONTAINER", 3600)
    };
    let authorization = [("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token)];
    assert_eq!(id(&[&environment, &web, &FULL], |_| None).unwrap(), "ENV");
    assert_eq!(id(&[&web, &FULL], sts).unwrap(), "WEB");
    assert_eq!(id(&[&FULL, &authorization], container).unwrap(), "CONTAINER");
    let relative = [("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/x")];
    let agent = |line: &str| {
        line.starts_with("GET http://169.254.170.2/v2/x []").then(|| json("AGENT", 3600)).flatten()
    };
    assert_eq!(id(&[&relative, &FULL], agent).unwrap(), "AGENT");
}

#[test]
fn what_is_named_and_has_none_is_told() {
    let wrong = |variables: &[(&str, &str)], answer: fn(&str) -> Option<(u16, String)>| {
        run(scene(variables, answer).0.keys()).unwrap_err().to_string()
    };
    assert_eq!(
        wrong(&[("AWS_ACCESS_KEY_ID", "x")], |_| None),
        "no keys from the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are needed together"
    );
    assert_eq!(
        wrong(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/missing"), ("AWS_ROLE_ARN", "r")], |_| None),
        "no keys from /missing: No such file or directory (os error 2)"
    );
    // A token goes to nobody on the way.
    assert_eq!(
        wrong(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://10.0.0.1/x")], |_| None),
        "no keys from AWS_CONTAINER_CREDENTIALS_FULL_URI: http://10.0.0.1/x is neither https nor on this machine"
    );
    let denied = "<E><Error><Code>AccessDenied</Code><Message>Not yours</Message></Error></E>";
    let file = tempfile::NamedTempFile::new().unwrap();
    let web = [("AWS_WEB_IDENTITY_TOKEN_FILE", file.path().to_str().unwrap()), ("AWS_ROLE_ARN", "r")];
    let (credentials, _) = scene(&web, move |_| Some((403, denied.to_owned())));
    let error = run(credentials.keys()).unwrap_err().to_string();
    assert_eq!(error, "no keys from https://sts.amazonaws.com: AccessDenied Not yours");
    let all = "no keys from the environment, the user's files, a container's role or the machine's: ";
    let machine = wrong(&[], |_| None);
    assert_eq!(machine, format!("{all}http://169.254.169.254: no answer within 5 seconds"));
    let disabled = wrong(&[("AWS_EC2_METADATA_DISABLED", "true")], |_| None);
    assert_eq!(disabled, format!("{all}the machine: AWS_EC2_METADATA_DISABLED is set"));
    let nothing =
        wrong(&[], |line| Some(if line.starts_with("PUT") { (200, "t".into()) } else { (404, "no".into()) }));
    assert_eq!(
        nothing,
        format!(
            "{all}http://169.254.169.254: GET /latest/meta-data/iam/security-credentials/: status 404 no"
        )
    );
    let failed =
        wrong(&FULL, |_| Some((200, r#"{"Code":"AssumeRoleUnauthorizedAccess","Message":"no"}"#.into())));
    assert_eq!(failed, "no keys from http://127.0.0.1:9: AssumeRoleUnauthorizedAccess no");
}

/// A service that numbers the keys it gives, which are good for so many seconds; 0 is no answer but 500.
fn numbered(seconds: [i64; 3]) -> Scene {
    let count = AtomicUsize::new(0);
    scene(&FULL, move |_| {
        let n = count.fetch_add(1, Ordering::Relaxed);
        match seconds.get(n) {
            None | Some(0) => Some((500, String::new())),
            Some(seconds) => json(&n.to_string(), *seconds),
        }
    })
}

/// As if time had passed.
fn pass(credentials: &Credentials<Service>, seconds: i64) {
    let by = SignedDuration::from_secs(seconds);
    let mut held = credentials.held();
    if let Some(found) = &mut held.found {
        found.end = found.end.map(|end| end - by);
        found.renew = found.renew.map(|renew| renew - by);
    }
    held.failed = None;
}

#[test]
fn keys_are_renewed_before_they_end() {
    run(async {
        let (credentials, asked) = numbered([3600, 60, 3600]);
        let id = async || credentials.keys().await.map(|keys| keys.id);
        assert_eq!(id().await.unwrap(), "0");
        pass(&credentials, 3200);
        assert_eq!(id().await.unwrap(), "0");
        pass(&credentials, 200);
        // Those that live short after half of their life.
        assert_eq!((id().await.unwrap(), id().await.unwrap()), ("1".into(), "1".into()));
        pass(&credentials, 31);
        assert_eq!(id().await.unwrap(), "2");
        assert_eq!(asked.lock().unwrap().len(), 3);
        // Whose service fails are used to their end.
        pass(&credentials, 3400);
        assert_eq!((id().await.unwrap(), id().await.unwrap()), ("2".into(), "2".into()));
        assert_eq!(asked.lock().unwrap().len(), 4);
        pass(&credentials, 300);
        assert_eq!(id().await.unwrap_err().reason, "GET /get?x=1: status 500");
    });
}

#[test]
fn what_a_service_refuses_is_fetched_again_once() {
    run(async {
        let (credentials, asked) = numbered([3600, 3600, 0]);
        let first = credentials.keys().await.unwrap();
        credentials.forget(&first);
        assert_eq!(credentials.keys().await.unwrap().id, "1");
        // Who was slow says nothing of the new ones.
        credentials.forget(&first);
        assert_eq!(credentials.keys().await.unwrap().id, "1");
        assert_eq!(asked.lock().unwrap().len(), 2);
    });
}

#[test]
fn many_wait_for_one_answer() {
    run(async {
        let (credentials, asked) = scene(&FULL, |_| None);
        let waiting = async || credentials.keys().await.unwrap_err();
        let (a, b, c) = tokio::join!(waiting(), waiting(), waiting());
        assert!(a == b && b == c && a.reason == "no answer within 5 seconds", "{a}");
        assert_eq!(asked.lock().unwrap().len(), 1);
    });
}
