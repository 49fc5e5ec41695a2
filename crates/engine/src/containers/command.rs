//! A command line and a duration as people see them in lists.

use crate::model::{ContainerRecord, HealthStatus, Status, Timestamp};

/// Program and arguments in one line; what has a space is quoted.
pub(super) fn line(args: &[String]) -> String {
    let mut out = args.first().cloned().unwrap_or_default();
    for arg in args.iter().skip(1) {
        match arg.contains(' ') {
            true => out.push_str(&format!(" '{arg}'")),
            false => out.push_str(&format!(" {arg}")),
        }
    }
    out
}

/// `Up 3 seconds`, `Exited (0) 2 hours ago`.
pub(super) fn status(record: &ContainerRecord, now: Timestamp) -> String {
    let state = &record.state;
    let since = |at: Option<Timestamp>| duration(at.map_or(0, |at| now.duration_since(at).as_secs()));
    match state.status {
        Status::Running => match state.health.as_ref().map(|health| health.status) {
            None => format!("Up {}", since(state.started_at)),
            Some(HealthStatus::Starting) => format!("Up {} (health: starting)", since(state.started_at)),
            Some(health) => format!("Up {} ({})", since(state.started_at), health.as_str()),
        },
        Status::Paused => format!("Up {} (Paused)", since(state.started_at)),
        Status::Restarting => format!("Restarting ({}) {} ago", state.exit_code, since(state.finished_at)),
        Status::Removing => "Removal In Progress".into(),
        Status::Dead => "Dead".into(),
        Status::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished_at)),
        Status::Created | Status::Starting => "Created".into(),
    }
}

/// A duration in the largest unit that fits, as Docker rounds it.
fn duration(seconds: i64) -> String {
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match seconds {
        ..1 => "Less than a second".into(),
        1 => "1 second".into(),
        2..60 => format!("{seconds} seconds"),
        _ if minutes == 1 => "About a minute".into(),
        _ if minutes < 60 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".into(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_round_as_dockers_do() {
        for (seconds, text) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (179, "2 minutes"),
            (3600, "About an hour"),
            (2 * 3600, "2 hours"),
            (49 * 3600, "2 days"),
            (15 * 86400, "2 weeks"),
            (100 * 86400, "3 months"),
            (800 * 86400, "2 years"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn arguments_with_spaces_are_quoted() {
        let args: Vec<String> = ["sh", "-c", "echo a b"].map(String::from).into();
        assert_eq!(line(&args), "sh -c 'echo a b'");
        assert_eq!(line(&[]), "");
    }
}
