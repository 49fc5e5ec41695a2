//! `diff`, `export`, `commit`.

use std::path::Path;

use skiff_client::Query;

use super::{
    Call, create,
    transfer::{NewFile, copy_to_stdout},
};
use crate::{failure::Outcome, reference::Reference, say, streams::terminal};

/// `docker diff`.
pub(super) async fn diff(call: Call<'_>) -> Outcome {
    let client = call.session.engine().await?;
    let changes = client.container_changes(&call.args[0]).await?;
    let letter = |kind: u8| match kind {
        0 => 'C',
        1 => 'A',
        _ => 'D',
    };
    let lines: Vec<String> = changes.iter().map(|c| format!("{} {}", letter(c.kind), c.path)).collect();
    if !lines.is_empty() {
        say::line(&lines.join("\n"));
    }
    Ok(())
}

/// `docker export`.
pub(super) async fn export(call: Call<'_>) -> Outcome {
    let path = call.matches.text("output");
    if path.is_empty() && terminal::stdout_is_terminal() {
        return Err("cowardly refusing to save to a terminal. Use the -o flag or redirect".into());
    }
    let target = match path {
        "" => None,
        path => Some(NewFile::create(Path::new(path), "failed to export container")?),
    };
    let client = call.session.engine().await?;
    let response = client.container_export(&call.args[0]).await?;
    match target {
        Some(file) => file.fill(response).await,
        None => copy_to_stdout(response).await,
    }
}

/// `docker commit`.
pub(super) async fn commit(call: Call<'_>) -> Outcome {
    let (matches, args) = (call.matches, call.args);
    let mut query = Query::new().with("container", &args[0]);
    if let Some(name) = args.get(1).filter(|name| !name.is_empty()) {
        if let Reference::Named { digest: Some(_), .. } = Reference::parse(name)? {
            return Err("refusing to create a tag with a digest reference".into());
        }
        let (repository, tag) = create::split_tag(name);
        query = query.with("repo", repository).with("tag", tag);
    }
    query = query.with("comment", matches.text("message")).with("author", matches.text("author"));
    for change in matches.all("change") {
        query = query.with("changes", change);
    }
    let pause = !matches.changed("pause") || matches.on("pause");
    let query = query.maybe("pause", (!pause).then_some("0"));
    let client = call.session.engine().await?;
    say::line(&client.commit(query).await?);
    Ok(())
}
