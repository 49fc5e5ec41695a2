//! Google Cloud Logging.
//!
//! Each entry has an id made of the container's and the line's number, so an entry that is sent twice is kept once. Who we are, the
//! project and the machine are found out when something is sent: nothing depends on Google when a container starts.
//!
//! Source: entries.write of the Cloud Logging API reference, version 2.

mod metadata;
mod token;

use std::{collections::BTreeMap, sync::Arc};

use hyper::StatusCode;
use serde::Serialize;
use serde_json::json;
use tokio_rustls::rustls::ClientConfig;

use self::{metadata::Metadata, token::Tokens};
use super::{
    Line, SendError,
    endpoint::{Endpoint, Environment, environment},
    tls::{self, Trust},
};
use crate::{ContainerFacts, OptionError, Options};

const PROJECT: &str = "gcp-project";
const COMMAND: &str = "gcp-log-cmd";
const ZONE: &str = "gcp-meta-zone";
const NAME: &str = "gcp-meta-name";
const ID: &str = "gcp-meta-id";

pub(crate) const OPTIONS: [&str; 5] = [PROJECT, COMMAND, ZONE, NAME, ID];

const SERVICE: &str = "https://logging.googleapis.com";
/// The log's name, as Docker has it.
const LOG: &str = "gcplogs-docker-driver";
/// Entries of one request; it may have 10 MB, and a line has 16 KiB at most.
const AT_ONCE: usize = 500;

/// A log of a project.
pub(crate) struct Gcplogs {
    project: Option<String>,
    instance: Option<Instance>,
    container: Container,
    id: String,
    endpoint: Endpoint,
    tokens: Tokens,
    environment: Environment,
    trust: Arc<ClientConfig>,
}

/// The machine; empty if it is none of Google's and no option says otherwise.
#[derive(Clone, Default, Serialize)]
struct Instance {
    #[serde(skip_serializing_if = "String::is_empty")]
    zone: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    name: String,
    id: String,
    image_name: String,
    image_id: String,
    created: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    command: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

impl Gcplogs {
    pub(crate) fn open(options: &Options, facts: &ContainerFacts) -> Result<Self, OptionError> {
        Self::open_at(SERVICE, environment(), options, facts)
    }

    fn open_at(
        service: &str,
        environment: Environment,
        options: &Options,
        facts: &ContainerFacts,
    ) -> Result<Self, OptionError> {
        let text = |key: &str| options.get(key).cloned().unwrap_or_default();
        let command = match options.get(COMMAND).map(|value| skiff_go::parse_bool(value)) {
            None => false,
            Some(value) => value.map_err(|e| OptionError::value(COMMAND, e))?,
        };
        let trust = tls::config(PROJECT, Trust::default())?;
        let given = Instance { zone: text(ZONE), name: text(NAME), id: text(ID) };
        let is_given = [&given.zone, &given.name, &given.id].iter().any(|value| !value.is_empty());
        Ok(Self {
            project: Some(text(PROJECT)).filter(|project| !project.is_empty()),
            instance: is_given.then_some(given),
            id: facts.id.clone(),
            container: Container {
                name: facts.name.clone(),
                id: facts.id.clone(),
                image_name: facts.image_name.clone(),
                image_id: facts.image_id.clone(),
                created: facts.created.clone(),
                command: if command { facts.command() } else { String::new() },
                metadata: facts.attributes(options, str::to_owned)?,
            },
            endpoint: Endpoint::of(PROJECT, service, &trust)?,
            tokens: Tokens::new(environment.clone(), trust.clone()),
            environment,
            trust,
        })
    }

    pub(crate) async fn send(&mut self, lines: &[Line]) -> Result<(), SendError> {
        if self.project.is_none() {
            self.project = Some(self.tokens.project().await?);
        }
        if self.instance.is_none() {
            self.instance = Some(self.machine().await);
        }
        for lines in lines.chunks(AT_ONCE) {
            self.write(lines).await?;
        }
        Ok(())
    }

    /// The machine, if it is one of Google's.
    async fn machine(&self) -> Instance {
        let Ok(mut metadata) = Metadata::open(&self.environment, &self.trust) else {
            return Instance::default();
        };
        let Ok(id) = metadata.get("instance/id").await else { return Instance::default() };
        let zone = metadata.get("instance/zone").await.unwrap_or_default();
        let name = metadata.get("instance/name").await.unwrap_or_default();
        // `projects/NUMBER/zones/ZONE`
        Instance { id, name, zone: zone.rsplit('/').next().unwrap_or_default().to_owned() }
    }

    async fn write(&mut self, lines: &[Line]) -> Result<(), SendError> {
        let body = self.body(lines).to_string().into_bytes();
        let authorization = format!("Bearer {}", self.tokens.token().await?);
        let headers = [("content-type", "application/json"), ("authorization", authorization.as_str())];
        let answer = self.endpoint.ask("POST", "/v2/entries:write", &headers, body).await?;
        match answer.status {
            StatusCode::OK => Ok(()),
            StatusCode::UNAUTHORIZED => {
                self.tokens.forget();
                Err(self.endpoint.protocol(answer.reason()))
            }
            // "Invalid argument": so it will be the next time.
            StatusCode::BAD_REQUEST => Err(self.endpoint.refused(answer.reason())),
            _ => Err(self.endpoint.protocol(answer.reason())),
        }
    }

    fn body(&self, lines: &[Line]) -> serde_json::Value {
        let project = self.project.as_deref().unwrap_or_default();
        let instance = self.instance.clone().unwrap_or_default();
        let on_machine = !instance.id.is_empty();
        let resource = match on_machine {
            true => json!({
                "type": "gce_instance",
                "labels": { "project_id": project, "instance_id": instance.id, "zone": instance.zone },
            }),
            false => json!({ "type": "global", "labels": { "project_id": project } }),
        };
        let instance =
            (on_machine || !instance.name.is_empty() || !instance.zone.is_empty()).then_some(instance);
        let entry = |line: &Line| {
            let mut payload = json!({ "container": self.container, "message": line.text() });
            if let Some(instance) = &instance {
                payload["instance"] = json!(instance);
            }
            json!({
                "insertId": format!("{}-{:020}", self.id.get(..32).unwrap_or(&self.id), line.number),
                "timestamp": line.moment().to_string(),
                "jsonPayload": payload,
            })
        };
        json!({
            "logName": format!("projects/{project}/logs/{LOG}"),
            "resource": resource,
            "entries": lines.iter().map(entry).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests;
