use super::*;

fn checked(driver: &str, options: &[(&str, &str)]) -> Result<(), String> {
    let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    check(driver, &options).map_err(|e| e.to_string())
}

#[test]
fn wrong_options_are_refused_in_docker_s_words() {
    // Recorded from Docker 28.5.2.
    let udp = ("gelf-address", "udp://127.0.0.1:12201");
    let tcp = ("gelf-address", "tcp://127.0.0.1:12201");
    let interval = "invalid value for fluentd-async-reconnect-interval: ";
    let timeout = "invalid value for fluentd-write-timeout: value must be a duration";
    for (driver, options, words) in [
        ("nope", &[][..], "error looking up logging plugin nope: plugin \"nope\" not found"),
        ("etwlogs", &[], "error looking up logging plugin etwlogs: plugin \"etwlogs\" not found"),
        ("awslogs", &[], "must specify a value for log opt 'awslogs-group'"),
        ("awslogs", &[("awslogs-group", "")], "must specify a value for log opt 'awslogs-group'"),
        ("awslogs", &[("foo", "1")], "unknown log opt 'foo' for awslogs log driver"),
        ("awslogs", &[("labels", "a")], "unknown log opt 'labels' for awslogs log driver"),
        (
            "awslogs",
            &[("awslogs-group", "g"), ("awslogs-create-group", "x")],
            r#"must specify valid value for log opt 'awslogs-create-group': strconv.ParseBool: parsing "x": invalid syntax"#,
        ),
        (
            "awslogs",
            &[("awslogs-group", "g"), ("awslogs-force-flush-interval-seconds", "0")],
            "must specify a positive integer for log opt 'awslogs-force-flush-interval-seconds': 0",
        ),
        (
            "awslogs",
            &[("awslogs-group", "g"), ("awslogs-max-buffered-events", "-1")],
            "must specify a positive integer for log opt 'awslogs-max-buffered-events': -1",
        ),
        (
            "awslogs",
            &[("awslogs-group", "g"), ("awslogs-datetime-format", "%H"), ("awslogs-multiline-pattern", "x")],
            "you cannot configure log opt 'awslogs-datetime-format' and 'awslogs-multiline-pattern' at the same time",
        ),
        ("awslogs", &[("awslogs-group", "g"), ("awslogs-format", "x")], "unsupported log format 'x'"),
        (
            "awslogs",
            &[("awslogs-group", "g"), ("awslogs-format", "json/emf"), ("awslogs-multiline-pattern", "x")],
            "you cannot configure log opt 'awslogs-datetime-format' or 'awslogs-multiline-pattern' when log opt 'awslogs-format' is set to 'json/emf'",
        ),
        ("gcplogs", &[("foo", "1")], r#""foo" is not a valid option for the gcplogs driver"#),
        ("nope", &[("mode", "x")], "logger: logging mode not supported: x"),
        ("json-file", &[("foo", "1")], "unknown log opt 'foo' for json-file log driver"),
        (
            "json-file",
            &[("max-buffer-size", "1m")],
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        (
            "json-file",
            &[("mode", "non-blocking"), ("max-buffer-size", "x")],
            "error parsing option max-buffer-size: invalid size: 'x'",
        ),
        ("json-file", &[("cache-disabled", "x"), ("foo", "1")], "invalid value for option cache-disabled: x"),
        ("local", &[("labels", "a")], "unknown log opt 'labels' for log driver local"),
        ("syslog", &[("cache-foo", "1")], "unknown log opt 'cache-foo' for syslog log driver"),
        ("syslog", &[("max-size", "1m")], "unknown log opt 'max-size' for syslog log driver"),
        ("syslog", &[("syslog-address", "x")], "unsupported scheme: ''"),
        ("syslog", &[("syslog-address", "foo://x")], "unsupported scheme: 'foo'"),
        ("syslog", &[("syslog-address", "unix:///nope/x")], "stat /nope/x: no such file or directory"),
        ("syslog", &[("syslog-address", "unix://")], "stat : no such file or directory"),
        ("syslog", &[("syslog-address", "tcp://a:1:2")], "address a:1:2: too many colons in address"),
        ("syslog", &[("syslog-facility", "24")], "invalid syslog facility"),
        ("syslog", &[("syslog-facility", "-1")], "invalid syslog facility"),
        ("syslog", &[("syslog-format", "x")], "Invalid syslog format"),
        ("journald", &[("foo", "1")], "unknown log opt 'foo' for journald log driver"),
        ("fluentd", &[("foo", "1")], "unknown log opt 'foo' for fluentd log driver"),
        (
            "fluentd",
            &[("fluentd-address", "foo://x")],
            "invalid fluentd-address (foo://x): unsupported scheme: 'foo'",
        ),
        (
            "fluentd",
            &[("fluentd-address", "1.2.3.4:x")],
            r#"invalid fluentd-address (1.2.3.4:x): parse "tcp://1.2.3.4:x": invalid port ":x" after host"#,
        ),
        (
            "fluentd",
            &[("fluentd-address", "a:1/foo")],
            "invalid fluentd-address (a:1/foo): should not contain a path element",
        ),
        ("fluentd", &[("fluentd-address", "unix:///")], "invalid fluentd-address (unix:///): path is empty"),
        (
            "fluentd",
            &[("fluentd-address", "a:99999")],
            r#"invalid fluentd-address (a:99999): invalid port: strconv.ParseUint: parsing "99999": value out of range"#,
        ),
        ("fluentd", &[("fluentd-async", "x")], r#"strconv.ParseBool: parsing "x": invalid syntax"#),
        (
            "fluentd",
            &[("fluentd-async-reconnect-interval", "1ms")],
            &format!(r#"{interval}value ("1ms") must be between 100ms and 10s"#),
        ),
        (
            "fluentd",
            &[("fluentd-async-reconnect-interval", "10")],
            &format!(r#"{interval}time: missing unit in duration "10""#),
        ),
        ("fluentd", &[("fluentd-buffer-limit", "x")], "invalid size: 'x'"),
        ("fluentd", &[("fluentd-max-retries", "-1")], r#"strconv.ParseUint: parsing "-1": invalid syntax"#),
        (
            "fluentd",
            &[("fluentd-max-retries", "2147483648")],
            "invalid fluentd-max-retries: value out of range",
        ),
        ("fluentd", &[("fluentd-retry-wait", "x")], r#"time: invalid duration "x""#),
        ("fluentd", &[("fluentd-write-timeout", "x")], &format!(r#"{timeout}: time: invalid duration "x""#)),
        ("fluentd", &[("fluentd-write-timeout", "-1s")], &format!("{timeout} that is non-negative")),
        ("splunk", &[("foo", "1")], "unknown log opt 'foo' for splunk log driver"),
        ("gelf", &[], "gelf-address is a required parameter"),
        ("gelf", &[("foo", "1")], "gelf-address is a required parameter"),
        ("gelf", &[("gelf-address", "x")], "gelf: endpoint needs to be TCP or UDP"),
        (
            "gelf",
            &[("gelf-address", "udp://127.0.0.1")],
            "gelf: please provide gelf-address as proto://host:port",
        ),
        ("gelf", &[udp, ("foo", "1")], r#"unknown log opt "foo" for gelf log driver"#),
        (
            "gelf",
            &[udp, ("gelf-compression-type", "x")],
            r#"unknown value "x" for log opt "gelf-compression-type" for gelf log driver"#,
        ),
        (
            "gelf",
            &[udp, ("gelf-compression-level", "10")],
            r#"unknown value "10" for log opt "gelf-compression-level" for gelf log driver"#,
        ),
        (
            "gelf",
            &[udp, ("gelf-tcp-max-reconnect", "1")],
            r#""gelf-tcp-max-reconnect" is only valid for TCP"#,
        ),
        ("gelf", &[tcp, ("gelf-compression-type", "gzip")], "compression is only supported on UDP"),
        (
            "gelf",
            &[tcp, ("gelf-tcp-reconnect-delay", "-1")],
            r#""gelf-tcp-reconnect-delay" must be a positive integer"#,
        ),
    ] {
        assert_eq!(checked(driver, options), Err(words.to_owned()), "{driver} {options:?}");
    }
}

#[test]
fn what_docker_takes_is_taken() {
    for (driver, options) in [
        ("none", &[("foo", "1")][..]),
        ("json-file", &[("max-size", "x"), ("labels", "a"), ("cache-max-size", "1"), ("mode", "")]),
        ("json-file", &[("cache-disabled", ""), ("tag", "{{.Foo}}")]),
        ("local", &[("max-file", "x"), ("mode", "non-blocking"), ("max-buffer-size", "1m")]),
        ("syslog", &[("syslog-address", "udp://"), ("syslog-facility", "local7"), ("env-regex", "(")]),
        ("syslog", &[("syslog-address", "tcp+tls://h"), ("syslog-tls-skip-verify", "x")]),
        ("fluentd", &[("fluentd-address", "tls://h"), ("fluentd-retry-wait", "-1s")]),
        ("fluentd", &[("fluentd-address", ":24224"), ("fluentd-async-reconnect-interval", "0")]),
        ("gelf", &[("gelf-address", "udp://127.0.0.1:1/x"), ("gelf-compression-level", "-1")]),
        ("journald", &[("labels-regex", "(")]),
    ] {
        assert_eq!(checked(driver, options), Ok(()), "{driver} {options:?}");
    }
}
