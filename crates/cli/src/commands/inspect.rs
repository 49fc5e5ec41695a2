//! `inspect` of any object.

use skiff_client::{Client, Error};

use super::Call;
use crate::{
    failure::{Failure, Outcome},
    say,
    shapes::{
        container::CONTAINER,
        image::{self, IMAGE},
        network::NETWORK,
        volume::VOLUME,
    },
    template::{self, Functions, Json, MissingKey, Template, Value, shape::StructShape},
};

/// What can be looked at here, in the order in which a name is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Container,
    Image,
    Network,
    Volume,
}

const KINDS: [(&str, Kind); 4] = [
    ("container", Kind::Container),
    ("image", Kind::Image),
    ("network", Kind::Network),
    ("volume", Kind::Volume),
];

/// Every kind that docker knows, for the error about a kind that it does not.
const DOCKERS_KINDS: [&str; 10] =
    ["config", "container", "image", "network", "node", "plugin", "secret", "service", "task", "volume"];

impl Kind {
    async fn get(self, client: &Client, name: &str, call: Call<'_>) -> Result<Vec<u8>, Error> {
        let bytes = match self {
            Self::Container => client.container_inspect(name, call.matches.on("size")).await,
            Self::Image => client.image_inspect(name, None).await,
            Self::Network => client.network_inspect(name, call.matches.on("verbose")).await,
            Self::Volume => client.volume_inspect(name).await,
        };
        bytes.map(Into::into)
    }

    fn shape(self) -> Option<&'static StructShape> {
        match self {
            Self::Container => Some(&CONTAINER),
            Self::Image => Some(&IMAGE),
            Self::Network => Some(&NETWORK),
            Self::Volume => Some(&VOLUME),
        }
    }
}

/// `docker inspect`.
pub(super) async fn any(call: Call<'_>) -> Outcome {
    let kinds: Vec<Kind> = match call.matches.text("type") {
        "" => KINDS.iter().map(|(_, kind)| *kind).collect(),
        wanted => match KINDS.iter().find(|(name, _)| *name == wanted) {
            Some((_, kind)) => vec![*kind],
            None if DOCKERS_KINDS.contains(&wanted) => {
                return Err(
                    format!("inspect of type {wanted:?} is not supported by this version of skiff").into()
                );
            }
            None => {
                let known = DOCKERS_KINDS.join("\", \"");
                return Err(format!("unknown type: {wanted:?}: must be one of \"{known}\"").into());
            }
        },
    };
    inspect(call, &kinds).await
}

/// Looks at objects of these kinds and prints all that were found, before it complains about the others.
pub(super) async fn inspect(call: Call<'_>, kinds: &[Kind]) -> Outcome {
    let mut printer = Printer::new(call.matches.text("format")).map_err(|e| Failure::new(e).code(64))?;
    let client = call.session.engine().await?;
    let mut errors = Vec::new();
    for name in call.args {
        match find(call, &client, kinds, name).await {
            Ok((kind, bytes)) => errors.extend(printer.add(kind, bytes).err()),
            Err(error) => errors.push(error),
        }
    }
    printer.flush();
    if errors.is_empty() { Ok(()) } else { Err(Failure::new(errors.join("\n"))) }
}

async fn find(
    call: Call<'_>,
    client: &Client,
    kinds: &[Kind],
    name: &str,
) -> Result<(Kind, Vec<u8>), String> {
    for kind in kinds {
        match kind.get(client, name, call).await {
            Ok(bytes) => {
                if call.matches.on("size") && *kind != Kind::Container {
                    let name = KINDS.iter().find(|(_, k)| k == kind).map_or("", |(name, _)| name);
                    say::error(&format!("WARNING: --size ignored for {name}"));
                }
                return Ok((*kind, bytes));
            }
            Err(error) if kinds.len() > 1 && may_be_another_kind(&error) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Err(format!("Error: No such object: {name}"))
}

fn may_be_another_kind(error: &Error) -> bool {
    let text = error.to_string();
    error.is_not_found() || text.contains("not supported") || text.contains("invalid reference format")
}

enum Printer {
    /// A JSON array, indented or not.
    Json { elements: Vec<Vec<u8>>, indent: bool },
    /// A line for each.
    Template { template: Template, lines: String },
}

impl Printer {
    fn new(format: &str) -> Result<Self, String> {
        match format {
            "" => Ok(Self::Json { elements: Vec::new(), indent: true }),
            "json" => Ok(Self::Json { elements: Vec::new(), indent: false }),
            text => Ok(Self::Template {
                template: template::parse(text, Functions::Values)
                    .map_err(|e| format!("template parsing error: {e}"))?,
                lines: String::new(),
            }),
        }
    }

    fn add(&mut self, kind: Kind, bytes: Vec<u8>) -> Result<(), String> {
        match self {
            Self::Json { elements, .. } => elements.push(bytes),
            Self::Template { template, lines } => {
                lines.push_str(&render(template, kind, &bytes)?);
                lines.push('\n');
            }
        }
        Ok(())
    }

    fn flush(self) {
        match self {
            Self::Json { elements, .. } if elements.is_empty() => say::line("[]"),
            Self::Json { elements, indent } => {
                let array = [b"[".as_slice(), &elements.join(b",".as_slice()), b"]"].concat();
                let text = String::from_utf8_lossy(&array);
                say::line(&if indent {
                    crate::format::json::indent(&text, "    ")
                } else {
                    crate::format::json::compact(&text)
                });
            }
            Self::Template { lines, .. } if lines.is_empty() => say::line(""),
            Self::Template { lines, .. } => say::print(lines.as_bytes()),
        }
    }
}

/// Runs a template on the answer as Go's struct, and if that fails, on the answer as it is: so that both Go's names
/// and JSON's work.
fn render(template: &Template, kind: Kind, bytes: &[u8]) -> Result<String, String> {
    let json: Json =
        serde_json::from_slice(bytes).map_err(|e| format!("unable to read inspect data: {e}"))?;
    let typed = kind.shape().and_then(|shape| match kind {
        Kind::Image => shape.value(&image::as_go(json.clone())),
        _ => shape.value(&json),
    });
    if let Some(Ok(text)) =
        typed.map(|value| template::execute(template, &value, Functions::Values, MissingKey::NoValue))
    {
        return Ok(text);
    }
    template::execute(template, &Value::raw(&json), Functions::Values, MissingKey::Error)
        .map_err(|e| format!("template parsing error: {e}"))
}

/// The kinds of `container inspect`.
pub(super) const CONTAINERS: &[Kind] = &[Kind::Container];
/// The kinds of `image inspect`.
pub(super) const IMAGES: &[Kind] = &[Kind::Image];
/// The kinds of `network inspect`.
pub(super) const NETWORKS: &[Kind] = &[Kind::Network];
/// The kinds of `volume inspect`.
pub(super) const VOLUMES: &[Kind] = &[Kind::Volume];
