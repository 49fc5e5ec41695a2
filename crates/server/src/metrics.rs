//! Figures for monitoring in the OpenMetrics text format, at `/metrics` of an address of their own.
//!
//! Names that Docker has are Docker's (`engine_daemon_…`); those of containers begin with `skiff_container_`. Nobody who can
//! reach the address can do more than read figures.

use std::{convert::Infallible, fmt::Write};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use skiff_engine::{
    Engine,
    model::{ContainerMetrics, Metrics, Usage},
};
use tokio::net::TcpStream;
use tracing::debug;

const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Answers the requests of one connection.
pub async fn serve_metrics(engine: Engine, socket: TcpStream) {
    let service = service_fn(move |request| {
        let engine = engine.clone();
        async move { Ok::<_, Infallible>(answer(&engine, &request).await) }
    });
    if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await {
        debug!(%error, "connection ended");
    }
}

async fn answer(engine: &Engine, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let plain = |status: StatusCode, text: String| {
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        response
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND, "404 page not found\n".to_owned());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return plain(StatusCode::METHOD_NOT_ALLOWED, String::new());
    }
    match engine.system.metrics(&engine.stats).await {
        Ok(metrics) => {
            let mut response = plain(StatusCode::OK, render(&metrics));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(TYPE));
            response
        }
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// The text, a family after the other.
struct Text(String);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
    Info,
}

type Labels<'a> = &'a [(&'a str, &'a str)];

impl Text {
    fn family(&mut self, name: &str, kind: Kind, unit: &str, help: &str) {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Info => "info",
        };
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.0, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.0, "# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl std::fmt::Display) {
        self.0.push_str(name);
        let mut separator = '{';
        for (key, value) in labels {
            let _ = write!(self.0, "{separator}{key}=\"{}\"", escaped(value));
            separator = ',';
        }
        if separator == ',' {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn render(metrics: &Metrics) -> String {
    let mut text = Text(String::new());
    engine(&mut text, metrics);
    containers(&mut text, &metrics.containers);
    text.0.push_str("# EOF\n");
    text.0
}

fn engine(text: &mut Text, metrics: &Metrics) {
    let name = "engine_daemon_engine";
    text.family(name, Kind::Info, "", "The engine and its host");
    let labels = [
        ("architecture", metrics.architecture.as_str()),
        ("commit", &metrics.commit),
        ("daemon_id", &metrics.id),
        ("graphdriver", &metrics.driver),
        ("kernel", &metrics.kernel),
        ("os", &metrics.os),
        ("version", &metrics.version),
    ];
    text.sample("engine_daemon_engine_info", &labels, 1);
    let mut gauge = |name: &str, unit: &str, help: &str, value: i64| {
        text.family(name, Kind::Gauge, unit, help);
        text.sample(name, &[], value);
    };
    gauge("engine_daemon_engine_cpus_cpus", "cpus", "Processors of the host", metrics.cpus as i64);
    gauge("engine_daemon_engine_memory_bytes", "bytes", "Memory of the host", metrics.memory);
    gauge("engine_daemon_images", "", "Images in the store", metrics.images as i64);
    gauge(
        "engine_daemon_events_subscribers",
        "",
        "Clients that listen to events",
        metrics.event_listeners as i64,
    );
    let mut counter = |name: &str, help: &str, value: u64| {
        text.family(name, Kind::Counter, "", help);
        text.sample(&format!("{name}_total"), &[], value);
    };
    counter("engine_daemon_events", "Events since the daemon started", metrics.events);
    counter("engine_daemon_health_checks", "Health checks since the daemon started", metrics.health_checks);
    counter(
        "engine_daemon_health_checks_failed",
        "Health checks that could not be run or took too long",
        metrics.health_checks_failed,
    );
    counter("skiff_log_lines_sent", "Lines of logs that their receivers have", metrics.log_lines_sent);
    counter(
        "skiff_log_lines_lost",
        "Lines of logs that never reached their receivers",
        metrics.log_lines_lost,
    );
    counter("skiff_log_send_failures", "Tries to send lines of logs that failed", metrics.log_send_failures);
    let name = "engine_daemon_container_states_containers";
    text.family(name, Kind::Gauge, "containers", "Containers by state");
    for (state, count) in metrics.states {
        text.sample(name, &[("state", state)], count);
    }
}

/// A figure of a running container.
struct Figure {
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    help: &'static str,
    value: fn(&Usage) -> f64,
}

const SECOND: f64 = 1e9;

const FIGURES: [Figure; 9] = [
    Figure {
        name: "skiff_container_cpu_seconds",
        kind: Kind::Counter,
        unit: "seconds",
        help: "Processor time",
        value: |usage| usage.cpu_total as f64 / SECOND,
    },
    Figure {
        name: "skiff_container_cpu_throttled_seconds",
        kind: Kind::Counter,
        unit: "seconds",
        help: "Time spent throttled by the quota",
        value: |usage| usage.throttled as f64 / SECOND,
    },
    Figure {
        name: "skiff_container_memory_usage_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "Memory, page cache included",
        value: |usage| usage.memory as f64,
    },
    Figure {
        name: "skiff_container_memory_working_set_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "Memory without the page cache that would be given up first",
        value: |usage| {
            let inactive =
                ["total_inactive_file", "inactive_file"].iter().find_map(|k| usage.memory_stat.get(*k));
            usage.memory.saturating_sub(inactive.copied().unwrap_or(0)) as f64
        },
    },
    Figure {
        name: "skiff_container_memory_limit_bytes",
        kind: Kind::Gauge,
        unit: "bytes",
        help: "The memory limit, or the host's memory",
        value: |usage| usage.memory_limit as f64,
    },
    Figure {
        name: "skiff_container_oom_kills",
        kind: Kind::Counter,
        unit: "",
        help: "Processes killed for want of memory",
        value: |usage| usage.oom_kills as f64,
    },
    Figure {
        name: "skiff_container_pids",
        kind: Kind::Gauge,
        unit: "",
        help: "Processes and threads",
        value: |usage| usage.pids as f64,
    },
    Figure {
        name: "skiff_container_blkio_read_bytes",
        kind: Kind::Counter,
        unit: "bytes",
        help: "Bytes read from block devices",
        value: |usage| io(usage, "read"),
    },
    Figure {
        name: "skiff_container_blkio_write_bytes",
        kind: Kind::Counter,
        unit: "bytes",
        help: "Bytes written to block devices",
        value: |usage| io(usage, "write"),
    },
];

fn io(usage: &Usage, operation: &str) -> f64 {
    let of = usage.io_bytes.iter().filter(|count| count.operation.eq_ignore_ascii_case(operation));
    of.map(|count| count.value as f64).sum()
}

fn of(container: &ContainerMetrics) -> [(&str, &str); 3] {
    [("id", &container.sample.id), ("name", &container.sample.name), ("image", &container.image)]
}

fn containers(text: &mut Text, all: &[ContainerMetrics]) {
    let running = || all.iter().filter_map(|c| Some((c, c.sample.usage.as_ref()?)));
    for Figure { name, kind, unit, help, value } in FIGURES {
        text.family(name, kind, unit, help);
        let sample = if kind == Kind::Counter { format!("{name}_total") } else { name.to_owned() };
        for (container, usage) in running() {
            text.sample(&sample, &of(container), value(usage));
        }
    }
    for (name, help, sent) in [
        ("skiff_container_network_receive_bytes", "Bytes received", false),
        ("skiff_container_network_transmit_bytes", "Bytes sent", true),
    ] {
        text.family(name, Kind::Counter, "bytes", help);
        for (container, usage) in running() {
            for (interface, counts) in &usage.networks {
                let [id, named, image] = of(container);
                let value = if sent { counts.tx_bytes } else { counts.rx_bytes };
                text.sample(&format!("{name}_total"), &[id, named, image, ("interface", interface)], value);
            }
        }
    }
    let mut each = |name: &str, kind: Kind, help: &str, value: &dyn Fn(&ContainerMetrics) -> Option<f64>| {
        text.family(name, kind, "", help);
        let sample = if kind == Kind::Counter { format!("{name}_total") } else { name.to_owned() };
        for container in all {
            if let Some(value) = value(container) {
                text.sample(&sample, &of(container), value);
            }
        }
    };
    each("skiff_container_running", Kind::Gauge, "Whether it runs", &|c| {
        Some(f64::from(u8::from(c.status.is_running())))
    });
    each("skiff_container_restarts", Kind::Counter, "Starts by its restart policy", &|c| {
        Some(c.restarts.into())
    });
    each("skiff_container_exit_code", Kind::Gauge, "How it last ended; 0 while it runs", &|c| {
        c.started_at.map(|_| c.exit_code.into())
    });
    each("skiff_container_started", Kind::Gauge, "When it last started, in seconds since 1970", &|c| {
        c.started_at.map(|at| at.as_second() as f64)
    });
    let name = "skiff_container_health";
    text.family(name, Kind::Gauge, "", "The verdict of its health checks");
    for container in all {
        if let Some(health) = container.health {
            let [id, named, image] = of(container);
            text.sample(name, &[id, named, image, ("status", health.as_str())], 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skiff_engine::model::{Sample, Status};

    #[test]
    fn every_sample_belongs_to_a_family_and_the_text_ends() {
        let usage = Usage { cpu_total: 1_500_000_000, memory: 7, ..Usage::default() };
        let sample = Sample { id: "ab".into(), name: "we\"b".into(), read: None, usage: Some(usage) };
        let container = ContainerMetrics {
            sample,
            image: "busybox".into(),
            status: Status::Running,
            health: None,
            restarts: 2,
            exit_code: 0,
            started_at: None,
            labels: Default::default(),
        };
        let text = render(&Metrics { containers: vec![container], ..Metrics::default() });
        assert!(text.ends_with("# EOF\n"));
        let labels = r#"{id="ab",name="we\"b",image="busybox"}"#;
        assert!(text.contains(&format!("\nskiff_container_cpu_seconds_total{labels} 1.5\n")), "{text}");
        assert!(text.contains(&format!("\nskiff_container_restarts_total{labels} 2\n")), "{text}");
        let mut family = "";
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => family = rest.split(' ').next().unwrap_or_default(),
                None if line.starts_with('#') => {}
                None => assert!(line.starts_with(family), "{line} is not of {family}"),
            }
        }
    }
}
