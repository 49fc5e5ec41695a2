//! What a container is asked to be, apart from its host.

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use super::{HostConfig, NameSet, NetworkingConfig, StringList, StringMap, empty, empty_list, empty_map};
use crate::decode::{self, DecodeError};

/// The portable part of a container's configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[serde(rename = "container.Config")]
pub struct Config {
    pub hostname: String,
    pub domainname: String,
    pub user: String,
    pub attach_stdin: bool,
    pub attach_stdout: bool,
    pub attach_stderr: bool,
    #[serde(skip_serializing_if = "empty_map")]
    pub exposed_ports: Option<NameSet>,
    pub tty: bool,
    pub open_stdin: bool,
    pub stdin_once: bool,
    pub env: StringList,
    #[serde(deserialize_with = "words")]
    pub cmd: StringList,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<HealthConfig>,
    #[serde(skip_serializing_if = "empty")]
    pub args_escaped: bool,
    pub image: String,
    pub volumes: Option<NameSet>,
    pub working_dir: String,
    #[serde(deserialize_with = "words")]
    pub entrypoint: StringList,
    #[serde(skip_serializing_if = "empty")]
    pub network_disabled: bool,
    #[serde(skip_serializing_if = "empty")]
    pub mac_address: String,
    pub on_build: StringList,
    pub labels: StringMap,
    #[serde(skip_serializing_if = "empty")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    #[serde(deserialize_with = "words", skip_serializing_if = "empty_list")]
    pub shell: StringList,
}

/// How a container is found to be healthy. Times are nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase", rename = "v1.HealthcheckConfig")]
pub struct HealthConfig {
    #[serde(skip_serializing_if = "empty_list")]
    pub test: StringList,
    #[serde(skip_serializing_if = "empty")]
    pub interval: i64,
    #[serde(skip_serializing_if = "empty")]
    pub timeout: i64,
    #[serde(skip_serializing_if = "empty")]
    pub start_period: i64,
    #[serde(skip_serializing_if = "empty")]
    pub start_interval: i64,
    #[serde(skip_serializing_if = "empty")]
    pub retries: i64,
}

/// The body of `POST /containers/create`: the configuration's own keys with two more beside them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CreateRequest {
    /// Absent when the body has none of the configuration's keys.
    #[serde(flatten)]
    pub config: Option<Config>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_config: Option<HostConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub networking_config: Option<NetworkingConfig>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase", rename = "container.CreateRequest")]
struct Beside {
    host_config: Option<HostConfig>,
    networking_config: Option<NetworkingConfig>,
}

impl CreateRequest {
    /// Reads a body.
    ///
    /// # Errors
    /// What Go's decoder refuses.
    pub fn decode(body: Value) -> Result<Self, DecodeError> {
        let has_config = matches!(&body, Value::Object(keys) if keys.keys().any(|key| {
            !key.eq_ignore_ascii_case("HostConfig") && !key.eq_ignore_ascii_case("NetworkingConfig") && Config::has(key)
        }));
        let Beside { host_config, networking_config } = decode::from_value(body.clone())?;
        let config = if has_config { Some(decode::from_value(body)?) } else { None };
        Ok(Self { config, host_config, networking_config })
    }
}

impl Config {
    fn has(key: &str) -> bool {
        const KEYS: &[&str] = &[
            "Hostname",
            "Domainname",
            "User",
            "AttachStdin",
            "AttachStdout",
            "AttachStderr",
            "ExposedPorts",
            "Tty",
            "OpenStdin",
            "StdinOnce",
            "Env",
            "Cmd",
            "Healthcheck",
            "ArgsEscaped",
            "Image",
            "Volumes",
            "WorkingDir",
            "Entrypoint",
            "NetworkDisabled",
            "MacAddress",
            "OnBuild",
            "Labels",
            "StopSignal",
            "StopTimeout",
            "Shell",
        ];
        KEYS.iter().any(|known| known.eq_ignore_ascii_case(key))
    }
}

/// The answer to `POST /containers/create`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CreateResponse {
    pub id: String,
    pub warnings: StringList,
}

/// A list of words, or one string that stands for a list of itself.
pub(super) fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<StringList, D::Error> {
    struct Words;
    impl<'de> de::Visitor<'de> for Words {
        type Value = StringList;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("string")
        }
        fn visit_unit<E: de::Error>(self) -> Result<StringList, E> {
            Ok(None)
        }
        fn visit_str<E: de::Error>(self, word: &str) -> Result<StringList, E> {
            Ok(Some(vec![word.to_owned()]))
        }
        fn visit_seq<A: de::SeqAccess<'de>>(self, mut words: A) -> Result<StringList, A::Error> {
            let mut list = Vec::new();
            // Go tries a list first, then a string, and tells of the second.
            let refused = |_| de::Error::custom("json: cannot unmarshal array into Go value of type string");
            while let Some(word) = words.next_element().map_err(refused)? {
                list.push(word);
            }
            Ok(Some(list))
        }
        fn visit_u64<E: de::Error>(self, _: u64) -> Result<StringList, E> {
            Err(E::custom("json: cannot unmarshal number into Go value of type string"))
        }
        fn visit_i64<E: de::Error>(self, _: i64) -> Result<StringList, E> {
            self.visit_u64(0)
        }
        fn visit_f64<E: de::Error>(self, _: f64) -> Result<StringList, E> {
            self.visit_u64(0)
        }
        fn visit_bool<E: de::Error>(self, _: bool) -> Result<StringList, E> {
            Err(E::custom("json: cannot unmarshal bool into Go value of type string"))
        }
        fn visit_map<A: de::MapAccess<'de>>(self, _: A) -> Result<StringList, A::Error> {
            Err(de::Error::custom("json: cannot unmarshal object into Go value of type string"))
        }
    }
    deserializer.deserialize_any(Words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<CreateRequest, DecodeError> {
        CreateRequest::decode(decode::value(json.as_bytes())?)
    }

    #[test]
    fn a_body_without_a_key_of_the_configuration_has_none() {
        for body in ["null", "{}", r#"{"HostConfig":{}}"#, r#"{"nope":1}"#] {
            assert_eq!(read(body).unwrap().config, None, "{body}");
        }
        let both = read(r#"{"image":"a","HostConfig":{"Memory":6,"IpcMode":"host"}}"#).unwrap();
        assert_eq!(both.config.unwrap().image, "a");
        assert_eq!(both.host_config.unwrap().memory, 6);
    }

    #[test]
    fn words_are_a_list_or_one_string() {
        let cmd = |json: &str| read(json).map(|r| r.config.unwrap().cmd);
        assert_eq!(cmd(r#"{"Cmd":"a b"}"#), Ok(Some(vec!["a b".to_owned()])));
        assert_eq!(cmd(r#"{"Cmd":["a","b"]}"#), Ok(Some(vec!["a".to_owned(), "b".to_owned()])));
        assert_eq!(cmd(r#"{"Cmd":[]}"#), Ok(Some(Vec::new())));
        assert_eq!(cmd(r#"{"Cmd":null}"#), Ok(None));
        for (json, found) in [("5", "number"), ("-1.5", "number"), ("[1]", "array"), ("{}", "object")] {
            let words = format!("json: cannot unmarshal {found} into Go value of type string");
            assert_eq!(cmd(&format!(r#"{{"Cmd":{json}}}"#)).unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn every_key_of_the_configuration_is_known() {
        let all = Config {
            exposed_ports: Some(NameSet::from([(String::new(), super::super::Empty {})])),
            ..Config::default()
        };
        for key in serde_json::to_value(all).unwrap().as_object().unwrap().keys() {
            assert!(Config::has(key), "{key}");
        }
    }
}
