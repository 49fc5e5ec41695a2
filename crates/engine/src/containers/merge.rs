//! A container's configuration over its image's.

use skiff_images::ContainerConfig as ImageConfig;

use crate::{
    Error, Result,
    model::{ContainerConfig, HealthConfig},
};

/// Takes over from the image what the request leaves open, and answers the program and its arguments.
///
/// # Errors
/// Neither says what to run.
pub(super) fn with_image(config: &mut ContainerConfig, image: &ImageConfig) -> Result<Vec<String>> {
    take_if_empty(&mut config.user, &image.user);
    take_if_empty(&mut config.working_dir, &image.working_dir);
    config.exposed_ports.extend(image.exposed_ports.iter().flatten().map(|(port, _)| port.clone()));
    config.volumes.extend(image.volumes.iter().flatten().map(|(path, _)| path.clone()));
    for variable in image.env.iter().flatten() {
        let name = |v: &str| v.split('=').next().unwrap_or_default().to_owned();
        if !config.env.iter().any(|v| name(v) == name(variable)) {
            config.env.push(variable.clone());
        }
    }
    for (key, value) in image.labels.iter().flatten() {
        config.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    let no_entrypoint = config.entrypoint.as_ref().is_none_or(Vec::is_empty);
    if no_entrypoint {
        if config.cmd.as_ref().is_none_or(Vec::is_empty) {
            config.cmd.clone_from(&image.cmd);
        }
        if config.entrypoint.is_none() {
            config.entrypoint.clone_from(&image.entrypoint);
        }
    }
    if config.stop_signal.as_ref().is_none_or(String::is_empty) && !image.stop_signal.is_empty() {
        config.stop_signal = Some(image.stop_signal.clone());
    }
    config.healthcheck = health(config.healthcheck.take(), image);
    // `--entrypoint ""` is sent like this: no entry point, not the image's either.
    if config.entrypoint.as_ref().is_some_and(|e| e.len() == 1 && e[0].is_empty()) {
        config.entrypoint = None;
    }
    let args: Vec<String> =
        config.entrypoint.iter().flatten().chain(config.cmd.iter().flatten()).cloned().collect();
    if args.is_empty() {
        return Err(Error::Invalid("no command specified".into()));
    }
    Ok(args)
}

fn take_if_empty(value: &mut String, image: &str) {
    if value.is_empty() {
        image.clone_into(value);
    }
}

fn health(asked: Option<HealthConfig>, image: &ImageConfig) -> Option<HealthConfig> {
    let Some(of_image) = &image.healthcheck else { return asked };
    let of_image = HealthConfig {
        test: of_image.test.clone(),
        interval: of_image.interval,
        timeout: of_image.timeout,
        start_period: of_image.start_period,
        start_interval: of_image.start_interval,
        retries: of_image.retries,
    };
    let Some(asked) = asked else { return Some(of_image) };
    let or = |a: i64, b: i64| if a == 0 { b } else { a };
    Some(HealthConfig {
        test: if asked.test.is_empty() { of_image.test } else { asked.test },
        interval: or(asked.interval, of_image.interval),
        timeout: or(asked.timeout, of_image.timeout),
        start_period: or(asked.start_period, of_image.start_period),
        start_interval: or(asked.start_interval, of_image.start_interval),
        retries: or(asked.retries, of_image.retries),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Option<Vec<String>> {
        Some(words.iter().map(|w| (*w).to_owned()).collect())
    }

    #[test]
    fn entry_point_and_command_combine_as_dockers_do() {
        let image = ImageConfig {
            entrypoint: words(&["/entry"]),
            cmd: words(&["default"]),
            ..ImageConfig::default()
        };
        for (entrypoint, cmd, args) in [
            (None, None, "/entry default"),
            (None, words(&["mine"]), "/entry mine"),
            (words(&["/other"]), None, "/other"),
            (words(&["/other"]), words(&["x", "y"]), "/other x y"),
            (words(&[""]), words(&["x"]), "x"),
        ] {
            let mut config = ContainerConfig { entrypoint, cmd, ..ContainerConfig::default() };
            assert_eq!(with_image(&mut config, &image).unwrap().join(" "), args);
        }
        let nothing = with_image(&mut ContainerConfig::default(), &ImageConfig::default());
        assert_eq!(nothing.unwrap_err().to_string(), "no command specified");
    }

    #[test]
    fn what_the_request_says_wins() {
        let image = ImageConfig {
            env: words(&["A=image", "B=image"]),
            user: "image".into(),
            working_dir: "/image".into(),
            cmd: words(&["x"]),
            stop_signal: "INT".into(),
            ..ImageConfig::default()
        };
        let mut config = ContainerConfig {
            env: vec!["B".into(), "C=mine".into()],
            user: "mine".into(),
            ..ContainerConfig::default()
        };
        with_image(&mut config, &image).unwrap();
        assert_eq!(config.env, ["B", "C=mine", "A=image"]);
        assert_eq!((config.user.as_str(), config.working_dir.as_str()), ("mine", "/image"));
        assert_eq!(config.stop_signal.as_deref(), Some("INT"));
    }
}
