//! `logs`.

use skiff_api::stream::Decoder;
use skiff_client::Logs;

use super::{Call, attach};
use crate::{
    failure::{Failure, Outcome},
    format::time,
    streams::{Output, pump},
};

/// `docker logs`.
pub(super) async fn logs(call: Call<'_>) -> Outcome {
    let Call { session, matches, args } = call;
    let client = session.engine().await?;
    let container = attach::inspect(&client, &args[0]).await?;
    let moment = |option: &str| {
        let text = matches.some(option).map(time::to_timestamp).transpose();
        text.map_err(|e| Failure::new(format!("invalid value for {option:?}: {e}")))
    };
    let (since, until) = (moment("since")?, moment("until")?);
    let mut response = client
        .container_logs(
            &container.id,
            Logs {
                follow: matches.on("follow"),
                stdout: true,
                stderr: true,
                since: since.as_deref(),
                until: until.as_deref(),
                timestamps: matches.on("timestamps"),
                tail: Some(matches.text("tail")),
                details: matches.on("details"),
            },
        )
        .await?;
    let mut decoder = Decoder::new();
    while let Some(chunk) = response.chunk().await? {
        if container.config.tty {
            Output::Stdout.write_all(&chunk).await?;
        } else {
            pump::write_frames(&mut decoder, &chunk).await?;
        }
    }
    Ok(())
}
