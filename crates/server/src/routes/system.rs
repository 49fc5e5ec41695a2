//! `_ping`, `version`, `info`.

use http::{HeaderName, Method, StatusCode, header};
use serde_json::json;

use crate::{
    convert,
    failure::Outcome,
    reply::Reply,
    request::{Context, Request},
};

pub(super) fn ping(method: &Method) -> Reply {
    let reply = if method == Method::HEAD { Reply::text("") } else { Reply::text("OK") };
    reply
        .with(header::CACHE_CONTROL, "no-cache, no-store, must-revalidate")
        .with(header::PRAGMA, "no-cache")
        .with(HeaderName::from_static("swarm"), "inactive")
}

pub(super) fn version(context: &Context) -> Reply {
    Reply::ok(&convert::system::version(context.engine.system.version()))
}

pub(super) async fn info(context: &Context, request: &Request) -> Outcome<Reply> {
    let version = request.version;
    let mut info = convert::system::info(context.engine.system.info().await?);
    if !version.at_least(49) {
        info.firewall_backend = None;
        for commit in [&mut info.containerd_commit, &mut info.runc_commit, &mut info.init_commit] {
            commit.expected = commit.id.clone();
        }
    }
    if !version.at_least(25) {
        let names = info.security_options.unwrap_or_default();
        let name = |option: &String| {
            option.split(',').find_map(|part| part.strip_prefix("name=")).unwrap_or(option).to_owned()
        };
        info.security_options = Some(names.iter().map(name).collect());
    }
    let mut info = serde_json::to_value(info).expect("wire types have string keys only");
    if !version.at_least(50) {
        info["BridgeNfIptables"] = json!(false);
        info["BridgeNfIp6tables"] = json!(false);
    }
    if !version.at_least(47) {
        info["RegistryConfig"]["AllowNondistributableArtifactsCIDRs"] = json!(null);
        info["RegistryConfig"]["AllowNondistributableArtifactsHostnames"] = json!(null);
    }
    Ok(Reply::json(StatusCode::OK, &info))
}
