//! Commands about images.

use super::text::*;
use crate::grammar::{Args, Command, Verb, list, switch, value};
use crate::options::types::*;

const NONE: char = '\0';

pub(super) static HISTORY: Command = Command {
    verb: Verb::History,
    usage: "[OPTIONS] IMAGE",
    about: "Show the history of an image",
    aliases: "docker image history, docker history",
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        value(NONE, "format", &STRING, FORMAT_TABLE),
        switch('H', "human", "Print sizes and dates in human readable format").default("true"),
        switch(NONE, "no-trunc", "Don't truncate output"),
        value(
            NONE,
            "platform",
            &STRING,
            "Show history for the given platform. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
        switch('q', "quiet", "Only show image IDs"),
    ]],
};

pub(super) static IMPORT: Command = Command {
    verb: Verb::Import,
    usage: "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    about: "Import the contents from a tarball to create a filesystem image",
    aliases: "docker image import, docker import",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        list('c', "change", &LIST, "Apply Dockerfile instruction to the created image"),
        value('m', "message", &STRING, "Set commit message for imported image"),
        value(NONE, "platform", &STRING, "Set platform if server is multi-platform capable"),
    ]],
};

pub(super) static IMAGE_INSPECT: Command = Command {
    verb: Verb::ImageInspect,
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Display detailed information on one or more images",
    aliases: "",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        value('f', "format", &STRING, FORMAT),
        value(
            NONE,
            "platform",
            &STRING,
            "Inspect a specific platform of the multi-platform image.\nIf the image or the server is not multi-platform capable, the command will error out if the platform does not match.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
        ),
    ]],
};

pub(super) static LOAD: Command = Command {
    verb: Verb::Load,
    usage: "[OPTIONS]",
    about: "Load an image from a tar archive or STDIN",
    aliases: "docker image load, docker load",
    args: Args::None,
    interspersed: true,
    flags: &[&[
        value('i', "input", &STRING, "Read from tar archive file, instead of STDIN"),
        value(
            NONE,
            "platform",
            &STRING,
            "Load only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
        switch('q', "quiet", "Suppress the load output"),
    ]],
};

pub(super) static IMAGE_LS: Command = Command {
    verb: Verb::ImageLs,
    usage: "[OPTIONS] [REPOSITORY[:TAG]]",
    about: "List images",
    aliases: "docker image ls, docker image list, docker images",
    args: Args::AtMost(1),
    interspersed: true,
    flags: &[&[
        switch('a', "all", "Show all images").default("hides intermediate images"),
        switch(NONE, "digests", "Show digests"),
        list('f', "filter", &FILTER, "Filter output based on conditions provided"),
        value(NONE, "format", &STRING, FORMAT_TABLE),
        switch(NONE, "no-trunc", "Don't truncate output"),
        switch('q', "quiet", "Only show image IDs"),
        switch(NONE, "tree", "List multi-platform images as a tree (EXPERIMENTAL)"),
    ]],
};

pub(super) static IMAGE_RM: Command = Command {
    verb: Verb::ImageRm,
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Remove one or more images",
    aliases: "docker image rm, docker image remove, docker rmi",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        switch('f', "force", "Force removal of the image"),
        switch(NONE, "no-prune", "Do not delete untagged parents"),
        list(
            NONE,
            "platform",
            &STRINGS,
            "Remove only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
    ]],
};

pub(super) static PULL: Command = Command {
    verb: Verb::Pull,
    usage: "[OPTIONS] NAME[:TAG|@DIGEST]",
    about: "Download an image from a registry",
    aliases: "docker image pull, docker pull",
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        switch('a', "all-tags", "Download all tagged images in the repository"),
        switch(NONE, "disable-content-trust", "Skip image verification").default("true"),
        value(NONE, "platform", &STRING, "Set platform if server is multi-platform capable"),
        switch('q', "quiet", "Suppress verbose output"),
    ]],
};

pub(super) static PUSH: Command = Command {
    verb: Verb::Push,
    usage: "[OPTIONS] NAME[:TAG]",
    about: "Upload an image to a registry",
    aliases: "docker image push, docker push",
    args: Args::Exactly(1),
    interspersed: true,
    flags: &[&[
        switch('a', "all-tags", "Push all tags of an image to the repository"),
        value(
            NONE,
            "compression",
            &STRING,
            "How layers that the registry lacks are compressed (gzip, zstd, none)",
        )
        .own(),
        switch(NONE, "disable-content-trust", "Skip image signing").default("true"),
        value(
            NONE,
            "platform",
            &STRING,
            "Push a platform-specific manifest as a single-platform image to the registry.\nImage index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)",
        ),
        switch(NONE, "preserve-digests", "Push the image with its attestations as it was pulled, or fail")
            .own(),
        switch('q', "quiet", "Suppress verbose output"),
    ]],
};

/// Ours; docker has none.
pub(super) static VERIFY: Command = Command {
    verb: Verb::ImageVerify,
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Compare everything of one or more images with their digests",
    aliases: "",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        switch(NONE, "mend", "Fetch damaged layers again from a registry that is known to have them"),
        switch('q', "quiet", "Only say what is damaged for good"),
    ]],
};

pub(super) static SAVE: Command = Command {
    verb: Verb::Save,
    usage: "[OPTIONS] IMAGE [IMAGE...]",
    about: "Save one or more images to a tar archive (streamed to STDOUT by default)",
    aliases: "docker image save, docker save",
    args: Args::AtLeast(1),
    interspersed: true,
    flags: &[&[
        value('o', "output", &STRING, "Write to a file, instead of STDOUT"),
        value(
            NONE,
            "platform",
            &STRING,
            "Save only the given platform variant. Formatted as \"os[/arch[/variant]]\" (e.g., \"linux/amd64\")",
        ),
    ]],
};

pub(super) static TAG: Command = Command {
    verb: Verb::Tag,
    usage: "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    about: "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE",
    aliases: "docker image tag, docker tag",
    args: Args::Exactly(2),
    interspersed: true,
    flags: &[],
};

pub(super) static IMAGE_PRUNE: Command = Command {
    verb: Verb::ImagePrune,
    usage: "[OPTIONS]",
    about: "Remove unused images",
    aliases: "",
    args: Args::None,
    interspersed: true,
    flags: &[&[
        switch('a', "all", "Remove all unused images, not just dangling ones"),
        list(NONE, "filter", &FILTER, "Provide filter values (e.g. \"until=<timestamp>\")"),
        switch('f', "force", "Do not prompt for confirmation"),
    ]],
};
