//! Execs.

use skiff_api::model::{ExecCreateRequest, ExecInspect, ExecProcessConfig};
use skiff_engine::model::{ExecConfig, ExecRecord};

pub(crate) fn config(wire: ExecCreateRequest) -> ExecConfig {
    ExecConfig {
        user: wire.user,
        privileged: wire.privileged,
        tty: wire.tty,
        console_size: wire.console_size,
        attach_stdin: wire.attach_stdin,
        attach_stderr: wire.attach_stderr,
        attach_stdout: wire.attach_stdout,
        detach_keys: wire.detach_keys,
        env: wire.env.unwrap_or_default(),
        working_dir: wire.working_dir,
        cmd: wire.cmd.unwrap_or_default(),
    }
}

pub(crate) fn inspect(exec: ExecRecord) -> ExecInspect {
    let config = exec.config;
    let mut words = config.cmd.into_iter();
    ExecInspect {
        id: exec.id.to_string(),
        running: exec.running,
        exit_code: exec.exit_code.map(i64::from),
        process_config: Some(ExecProcessConfig {
            tty: config.tty,
            entrypoint: words.next().unwrap_or_default(),
            arguments: words.collect(),
            privileged: Some(config.privileged),
            user: config.user,
        }),
        open_stdin: exec.open_stdin,
        open_stderr: config.attach_stderr,
        open_stdout: config.attach_stdout,
        can_remove: false,
        container_id: exec.container.to_string(),
        detach_keys: Some(String::new()),
        pid: i64::from(exec.pid),
    }
}
