//! `top`.

use serde::Deserialize;

use super::Call;
use crate::{
    failure::{Failure, Outcome},
    format::table,
    say,
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Processes {
    #[serde(default)]
    titles: Vec<String>,
    #[serde(default)]
    processes: Option<Vec<Vec<String>>>,
}

/// `docker top`.
pub(super) async fn top(call: Call<'_>) -> Outcome {
    let client = call.session.engine().await?;
    let arguments = call.args[1..].join(" ");
    let arguments = Some(arguments.as_str()).filter(|a| !a.is_empty());
    let bytes = client.container_top(&call.args[0], arguments).await?;
    let list: Processes = serde_json::from_slice(&bytes).map_err(|e| Failure::new(e.to_string()))?;
    let mut text = list.titles.join("\t") + "\n";
    for process in list.processes.unwrap_or_default() {
        text.push_str(&process.join("\t"));
        text.push('\n');
    }
    say::print(table::align(&text, table::PROCESSES).as_bytes());
    Ok(())
}
