//! `version` and `--version`.

use super::Call;
use crate::{
    failure::{Failure, Outcome},
    format::table,
    say,
    shapes::system::VERSION,
    template::{self, Functions, Json, MissingKey},
};

/// The docker command line whose grammar and output this one has.
pub(crate) const DOCKER: &str = "28.5.2";
/// Version of the API that this program was written for.
const API: &str = "1.51";

/// What is shown without `--format`, in the template language itself. Details of a component come in the order of
/// their names because maps are visited so.
const TEXT: &str = "{{with .Client -}}\nClient:{{if ne .Platform nil}}{{if ne .Platform.Name \"\"}} {{.Platform.Name}}{{end}}{{end}}\n \
    Version:\t{{.Version}}\n API version:\t{{.APIVersion}}{{if ne .APIVersion .DefaultAPIVersion}} (downgraded from \
    {{.DefaultAPIVersion}}){{end}}\n Go version:\t{{.GoVersion}}\n Git commit:\t{{.GitCommit}}\n Built:\t{{.BuildTime}}\n \
    OS/Arch:\t{{.Os}}/{{.Arch}}\n Context:\t{{.Context}}\n{{- end}}\n\n{{- if ne .Server nil}}{{with .Server}}\n\n\
    Server:{{if ne .Platform.Name \"\"}} {{.Platform.Name}}{{end}}\n {{- range $component := .Components}}\n \
    {{$component.Name}}:\n  {{- if eq $component.Name \"Engine\" }}\n  Version:\t{{.Version}}\n  API version:\t\
    {{index .Details \"ApiVersion\"}} (minimum version {{index .Details \"MinAPIVersion\"}})\n  Go version:\t\
    {{index .Details \"GoVersion\"}}\n  Git commit:\t{{index .Details \"GitCommit\"}}\n  Built:\t{{index .Details \
    \"BuildTime\"}}\n  OS/Arch:\t{{index .Details \"Os\"}}/{{index .Details \"Arch\"}}\n  Experimental:\t{{index \
    .Details \"Experimental\"}}\n  {{- else }}\n  Version:\t{{$component.Version}}\n  {{- range $key, $value := \
    $component.Details}}\n  {{$key}}:\t{{$value}}\n   {{- end}}\n  {{- end}}\n {{- end}}\n {{- end}}{{- end}}";

const LAYOUT: table::Layout = table::Layout { minimum: 20, padding: 1 };

/// `--version`. Scripts take the version out of the line that begins with `Docker version`.
pub(crate) fn print_short(program: &str) {
    let own = env!("CARGO_PKG_VERSION");
    match program {
        "docker" => say::line(&format!("Docker version {DOCKER}, build skiff-{own}")),
        _ => say::line(&format!("skiff version {own} (docker command line {DOCKER})")),
    }
}

/// What this program says of itself, as `version` and `info` show it.
pub(super) fn client(call: Call<'_>, api: Option<String>) -> Vec<(String, Json)> {
    let mut entries = vec![("Version", DOCKER.to_owned())];
    entries.extend(api.map(|version| ("ApiVersion", version)));
    entries.extend([
        ("DefaultAPIVersion", API.to_owned()),
        ("GitCommit", format!("skiff-{}", env!("CARGO_PKG_VERSION"))),
        ("GoVersion", "none (Rust)".to_owned()),
        ("Os", std::env::consts::OS.to_owned()),
        ("Arch", architecture().to_owned()),
        ("BuildTime", String::new()),
        ("Context", call.session.context.clone()),
    ]);
    entries
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| (key.to_owned(), Json::Str(text)))
        .collect()
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        other => other,
    }
}

/// `docker version`.
pub(super) async fn version(call: Call<'_>) -> Outcome {
    let text = match call.matches.text("format") {
        "" => TEXT,
        "json" => "{{json .}}",
        custom => custom,
    };
    let template = template::parse(text, Functions::Values).map_err(|e| {
        let e = e.replacen("template: :", "template: version:", 1);
        Failure::new(format!("template parsing error: {e}")).code(64)
    })?;
    let client_api = call.session.engine().await?;
    let server = client_api.engine_version().await;
    let mut both = vec![("Client".to_owned(), Json::Object(client(call, Some(client_api.version()))))];
    let mut failure = None;
    match server {
        Ok(bytes) => {
            let mut server: Json = serde_json::from_slice(&bytes).map_err(|e| Failure::new(e.to_string()))?;
            read_build_times(&mut server);
            both.push(("Server".to_owned(), server));
        }
        Err(error) => failure = Some(Failure::from(error)),
    }
    let value = VERSION.value(&Json::Object(both)).ok_or("the engine's version is not as the API says")?;
    let rendered = template::execute(&template, &value, Functions::Values, MissingKey::NoValue);
    let text = rendered.as_deref().unwrap_or_default().to_owned() + "\n";
    say::print(table::align(&text, LAYOUT).as_bytes());
    rendered
        .map_err(|e| e.replacen("template: :", "template: version:", 1).replacen("\"\"", "\"version\"", 1))?;
    failure.map_or(Ok(()), Err)
}

/// The time at which the engine was built, made readable: `Tue Sep 15 11:02:57 2026`.
fn read_build_times(server: &mut Json) {
    let Json::Object(entries) = server else { return };
    let components = entries.iter_mut().find(|(key, _)| key == "Components");
    let Some((_, Json::List(components))) = components else { return };
    for component in components.iter_mut().filter(|c| c.get("Name") == Some(&Json::Str("Engine".to_owned())))
    {
        let Json::Object(fields) = component else { continue };
        let details = fields.iter_mut().find(|(key, _)| key == "Details");
        let Some((_, Json::Object(details))) = details else { continue };
        for (key, value) in details.iter_mut() {
            if key == "BuildTime"
                && let Json::Str(text) = value
                && let Ok(moment) = text.parse::<jiff::Timestamp>()
            {
                *text = moment.strftime("%a %b %e %H:%M:%S %Y").to_string();
            }
        }
    }
}
