use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::*;
use crate::remote::testing::{block_on, facts, line, options, server, variables};

const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "S"), ("AWS_REGION", "eu-central-1")];

/// A service that has groups and streams, and what it was asked.
#[derive(Default)]
struct Service {
    group: bool,
    stream: bool,
    calls: Vec<(String, Value)>,
    heads: Vec<String>,
    /// What the next `PutLogEvents` gets.
    next: Option<(u16, Value)>,
}

impl Service {
    fn answer(&mut self, head: &str, body: &str) -> (u16, String) {
        let action = head.split("x-amz-target: logs_20140328.").nth(1).unwrap().lines().next().unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        self.heads.push(head.to_owned());
        self.calls.push((action.to_owned(), body));
        let error = |kind: &str| (400, json!({ "__type": kind, "message": "words" }).to_string());
        match action {
            "putlogevents" if !self.stream => error("ResourceNotFoundException"),
            "putlogevents" => match self.next.take() {
                Some((status, body)) => (status, body.to_string()),
                None => (200, "{}".to_owned()),
            },
            "createlogstream" if !self.group => error("com.amazonaws.logs#ResourceNotFoundException"),
            "createlogstream" => {
                self.stream = true;
                (200, String::new())
            }
            "createloggroup" => {
                self.group = true;
                (200, String::new())
            }
            other => panic!("{other}"),
        }
    }
}

fn scene(service: Service, more: &[(&str, &str)]) -> (Arc<Mutex<Service>>, Awslogs) {
    let service = Arc::new(Mutex::new(service));
    let answering = service.clone();
    let url = server(move |head, body| answering.lock().unwrap().answer(head, body));
    let pairs = [&[("awslogs-group", "g"), ("awslogs-endpoint", url.as_str())], more].concat();
    (service, Awslogs::open_in(variables(&KEYS), &options(&pairs), &facts()).unwrap())
}

fn messages(service: &Mutex<Service>) -> Vec<String> {
    let service = service.lock().unwrap();
    let puts = service.calls.iter().filter(|(action, _)| action == "putlogevents");
    let events = puts.flat_map(|(_, body)| body["logEvents"].as_array().cloned().unwrap());
    events.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_missing_is_made_and_the_events_arrive_signed() {
    let (service, mut aws) =
        scene(Service::default(), &[("awslogs-create-group", "true"), ("tag", "{{.Name}}")]);
    block_on(async { assert_eq!(aws.send(&[line(1, "a"), line(2, "b")]).await.unwrap(), None) });
    let service = service.lock().unwrap();
    let actions: Vec<_> = service.calls.iter().map(|(action, _)| action.as_str()).collect();
    let made = ["createlogstream", "createloggroup", "createlogstream"];
    assert_eq!(actions, [&["putlogevents"][..], &made, &["putlogevents"]].concat());
    let events = json!([
        { "timestamp": 1_795_721_685_500_i64, "message": "a" },
        { "timestamp": 1_795_721_685_500_i64, "message": "b" },
    ]);
    assert_eq!(
        service.calls.last().unwrap().1,
        json!({ "logGroupName": "g", "logStreamName": "web", "logEvents": events })
    );
    let head = service.heads.last().unwrap();
    for part in [
        "POST / HTTP/1.1",
        "content-type: application/x-amz-json-1.1",
        "/eu-central-1/logs/aws4_request, signedheaders=content-type;host;x-amz-date;x-amz-target, signature=",
        "authorization: aws4-hmac-sha256 credential=a/",
    ] {
        assert!(head.contains(part), "{head}");
    }
}

#[test]
fn nothing_is_made_that_was_not_asked_for() {
    block_on(async {
        let (service, mut aws) = scene(Service::default(), &[]);
        let error = aws.send(&[line(1, "a")]).await.unwrap_err().to_string();
        assert!(error.ends_with("CreateLogStream: ResourceNotFoundException: words"), "{error}");
        assert!(!service.lock().unwrap().group);
        let (service, mut aws) =
            scene(Service { group: true, ..Service::default() }, &[("awslogs-create-stream", "false")]);
        let error = aws.send(&[line(1, "a")]).await.unwrap_err().to_string();
        assert!(error.ends_with("PutLogEvents: ResourceNotFoundException: words"), "{error}");
        assert!(!service.lock().unwrap().stream);
    });
}

#[test]
fn lines_of_an_event_are_held_until_it_is_complete() {
    let there = || Service { group: true, stream: true, ..Service::default() };
    let pattern = [("awslogs-multiline-pattern", "^E"), ("awslogs-stream", "s")];
    block_on(async {
        let (service, mut aws) = scene(there(), &pattern);
        aws.send(&[line(1, "E1"), line(2, " x")]).await.unwrap();
        assert_eq!(aws.held().len(), 2);
        assert!(messages(&service).is_empty());
        aws.send(&[line(3, " y"), line(4, "E2")]).await.unwrap();
        assert_eq!(messages(&service), ["E1\n x\n y\n"]);
        assert_eq!(aws.held().iter().map(|line| line.number).collect::<Vec<_>>(), [4]);
        assert!(aws.due().is_some());
        // What fails is held as it was.
        service.lock().unwrap().next = Some((500, json!({})));
        aws.flush().await.unwrap_err();
        assert_eq!(aws.held().len(), 1);
        aws.flush().await.unwrap();
        assert_eq!((aws.held().len(), aws.due()), (0, None));
        assert_eq!(messages(&service).last().unwrap(), "E2\n");
    });
}

#[test]
fn what_is_not_kept_there_is_counted() {
    let answer = json!({ "rejectedLogEventsInfo": { "tooOldLogEventEndIndex": 2 } });
    let service = Service { group: true, stream: true, next: Some((200, answer)), ..Service::default() };
    let (_, mut aws) = scene(service, &[]);
    let lines: Vec<_> = (1..=5).map(|n| line(n, "x")).collect();
    let rejected = block_on(aws.send(&lines)).unwrap().unwrap();
    assert_eq!(rejected, Rejected { lines: 2, reason: "too old for CloudWatch Logs".into() });
}

#[test]
fn keys_and_region_of_the_machine_are_found() {
    let metadata = server(|head, _| match head.lines().next().unwrap() {
        "PUT /latest/api/token HTTP/1.1" => (200, "TOKEN".to_owned()),
        _ if !head.contains("x-aws-ec2-metadata-token: token") => (401, String::new()),
        "GET /latest/meta-data/placement/region HTTP/1.1" => (200, "us-west-2".to_owned()),
        "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1" => (200, "role\n".to_owned()),
        "GET /latest/meta-data/iam/security-credentials/role HTTP/1.1" => {
            let keys = json!({
                "Code": "Success", "AccessKeyId": "MACHINE", "SecretAccessKey": "S", "Token": "T",
                "Expiration": "2126-01-01T00:00:00Z",
            });
            (200, keys.to_string())
        }
        _ => (404, String::new()),
    });
    let service = Arc::new(Mutex::new(Service { group: true, stream: true, ..Service::default() }));
    let answering = service.clone();
    let url = server(move |head, body| answering.lock().unwrap().answer(head, body));
    let options = options(&[("awslogs-group", "g"), ("awslogs-endpoint", &url)]);
    let environment = variables(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &metadata)]);
    let mut aws = Awslogs::open_in(environment, &options, &facts()).unwrap();
    block_on(aws.send(&[line(1, "a")])).unwrap();
    let head = service.lock().unwrap().heads.pop().unwrap();
    assert!(head.contains("credential=machine/") && head.contains("/us-west-2/logs/"), "{head}");
    assert!(head.contains("x-amz-security-token: t"), "{head}");
}
