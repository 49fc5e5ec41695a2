//! One function for each command.

mod api_socket;
mod attach;
mod cp;
mod create;
mod df;
mod events;
mod exec;
mod explain;
mod files;
mod image;
mod images;
mod info;
mod inspect;
mod lifecycle;
mod logs;
mod manifest;
mod networks;
mod port;
mod ports;
mod prune;
mod ps;
mod reach;
mod registry;
mod run;
mod search;
mod start;
mod stats;
mod top;
mod transfer;
mod tree;
pub(crate) mod version;
mod volumes;

use crate::{
    failure::Outcome,
    grammar::{Matches, Verb},
    session::Session,
};

/// What every command gets.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// Settings and engine.
    pub(crate) session: &'a Session,
    /// Options.
    pub(crate) matches: &'a Matches,
    /// Arguments, as many as the table says.
    pub(crate) args: &'a [String],
}

/// Does what `verb` says.
pub(crate) async fn run(verb: Verb, session: &Session, matches: &Matches, args: &[String]) -> Outcome {
    let call = Call { session, matches, args };
    match verb {
        Verb::Attach => attach::attach(call).await,
        Verb::Commit => files::commit(call).await,
        Verb::ContainerInspect => inspect::inspect(call, inspect::CONTAINERS).await,
        Verb::ContainerLs => ps::ps(call).await,
        Verb::ContainerPrune => prune::container_prune(call).await,
        Verb::Cp => cp::cp(call).await,
        Verb::Create => create::create(call).await,
        Verb::Diff => files::diff(call).await,
        Verb::DiskUsage => df::df(call).await,
        Verb::Events => events::events(call).await,
        Verb::Explain => explain::explain(call).await,
        Verb::Exec => exec::exec(call).await,
        Verb::Export => files::export(call).await,
        Verb::History => images::history(call).await,
        Verb::ImageInspect => inspect::inspect(call, inspect::IMAGES).await,
        Verb::ImageLs => images::images(call).await,
        Verb::ImagePrune => prune::image_prune(call).await,
        Verb::ImageRm => image::rm(call).await,
        Verb::ImageVerify => transfer::verify(call).await,
        Verb::Import => transfer::import(call).await,
        Verb::Info => info::info(call).await,
        Verb::Inspect => inspect::any(call).await,
        Verb::Kill => lifecycle::kill(call).await,
        Verb::Load => transfer::load(call).await,
        Verb::Login => registry::login(call).await,
        Verb::Logout => registry::logout(call).await,
        Verb::Logs => logs::logs(call).await,
        Verb::ManifestAnnotate => manifest::annotate(call),
        Verb::ManifestCreate => manifest::create(call).await,
        Verb::ManifestInspect => manifest::inspect(call).await,
        Verb::ManifestPush => manifest::push(call).await,
        Verb::ManifestRm => manifest::rm(call),
        Verb::NetworkConnect => networks::connect(call).await,
        Verb::NetworkCreate => networks::create(call).await,
        Verb::NetworkDisconnect => networks::disconnect(call).await,
        Verb::NetworkExplain => reach::explain(call).await,
        Verb::NetworkInspect => inspect::inspect(call, inspect::NETWORKS).await,
        Verb::NetworkLs => networks::ls(call).await,
        Verb::NetworkPrune => networks::prune(call).await,
        Verb::NetworkRm => networks::rm(call).await,
        Verb::Pause => lifecycle::pause(call).await,
        Verb::Port => port::port(call).await,
        Verb::Pull => transfer::pull(call).await,
        Verb::Push => transfer::push(call).await,
        Verb::Rename => lifecycle::rename(call).await,
        Verb::Restart => lifecycle::restart(call).await,
        Verb::Rm => lifecycle::rm(call).await,
        Verb::Run => run::run(call).await,
        Verb::Save => transfer::save(call).await,
        Verb::Search => search::search(call).await,
        Verb::Start => start::start(call).await,
        Verb::Stats => stats::stats(call).await,
        Verb::Stop => lifecycle::stop(call).await,
        Verb::SystemPrune => prune::system_prune(call).await,
        Verb::Tag => image::tag(call).await,
        Verb::Top => top::top(call).await,
        Verb::Unpause => lifecycle::unpause(call).await,
        Verb::Update => lifecycle::update(call).await,
        Verb::Version => version::version(call).await,
        Verb::VolumeCreate => volumes::create(call).await,
        Verb::VolumeInspect => inspect::inspect(call, inspect::VOLUMES).await,
        Verb::VolumeLs => volumes::ls(call).await,
        Verb::VolumePrune => volumes::prune(call).await,
        Verb::VolumeRm => volumes::rm(call).await,
        Verb::VolumeUpdate => volumes::update(call).await,
        Verb::Wait => lifecycle::wait(call).await,
    }
}
