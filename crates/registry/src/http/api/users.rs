//! `/users`, `/users/{name}`.

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Call, Reply, done};
use crate::{Error, clock, http::route::wrong_method};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    name: String,
    password: String,
    #[serde(default)]
    admin: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserChange {
    #[serde(default)]
    admin: Option<bool>,
    #[serde(default)]
    disabled: Option<bool>,
    #[serde(default)]
    password: Option<String>,
}

pub(super) async fn answer(call: &Call, rest: &[&str]) -> Result<Reply, Error> {
    let (registry, caller) = (&call.registry, &call.caller);
    registry.require_admin(caller)?;
    match (&call.method, rest) {
        (&Method::GET, []) => {
            let state = registry.accounts.read();
            let list = state.users.iter().map(|(name, user)| {
                json!({ "name": name, "admin": user.admin, "disabled": user.disabled, "created": clock::rfc3339(user.created) })
            });
            Ok(Reply::json(&list.collect::<Vec<Value>>()))
        }
        (&Method::POST, []) => {
            let new: NewUser = call.json()?;
            registry.accounts.add_user(&new.name, &new.password, new.admin).await?;
            registry.note(caller, "user.add", &new.name);
            Ok(Reply::json_with(StatusCode::CREATED, &json!({ "name": new.name })))
        }
        (&Method::PATCH, [name]) => {
            let change: UserChange = call.json()?;
            registry
                .accounts
                .change_user(name, change.admin, change.disabled, change.password.as_deref())
                .await?;
            registry.note(caller, "user.change", name);
            Ok(done())
        }
        (&Method::DELETE, [name]) => {
            registry.accounts.remove_user(name).await?;
            registry.note(caller, "user.remove", name);
            Ok(done())
        }
        _ => Ok(wrong_method("GET, POST, PATCH, DELETE")),
    }
}
