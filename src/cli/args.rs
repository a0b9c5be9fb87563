//! Owns what can be typed. Help texts are here and, of commands that make images, in `build_args`; nowhere else.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::size;

/// A local store for OCI images: every file once, root filesystems by hard links, every digest kept.
#[derive(Parser, Debug)]
#[command(
    name = "ocistore",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed or \"no\", 2 not there, 3 damage, 4 malformed input, \
64 usage, 75 busy.\nREF: NAME[:TAG], NAME@DIGEST, a digest, or at least 6 of its first hex digits."
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Flags that every command takes.
#[derive(Args, Debug)]
pub(super) struct Global {
    /// The store's folder [default: /var/lib/ocistore for root, else ~/.local/share/ocistore]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "OCISTORE_STORE",
        hide_env_values = true
    )]
    pub(super) store: Option<PathBuf>,
    /// Print the result as one JSON document
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// The same, as other tools spell it
    #[arg(long, global = true, value_name = "FORMAT")]
    pub(super) format: Option<Format>,
    /// Print only the bare result: one digest or name a line
    #[arg(short, long, global = true)]
    pub(super) quiet: bool,
    /// Show progress on stderr
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) progress: When,
    /// Use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: When,
    /// How many threads, at most 256 [default: the cores there are]
    #[arg(short, long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(super) jobs: Option<u16>,
    /// Fail with exit code 75 instead of waiting for another ocistore
    #[arg(long, global = true)]
    pub(super) no_wait: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Json,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum When {
    /// When stderr is a terminal
    Auto,
    /// Never
    Never,
    /// Always
    Always,
}

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Make the store, if there is none
    Init,
    /// Take images in: OCI layouts, OCI archives, docker archives, root filesystem tarballs, or - for standard input
    #[command(visible_alias = "load")]
    Import(Import),
    /// List images
    #[command(visible_alias = "ls")]
    Images(Images),
    /// Give an image another name
    Tag(Tag),
    /// Take names away; space comes back with gc
    #[command(visible_alias = "rm")]
    Untag(Untag),
    /// Exit with 0 if there is such an image, else with 1
    Exists(Exists),
    /// Show an image's documents
    Inspect(Inspect),
    /// Lay out an image's root filesystem, its files hard links into the store: for reading and deploying
    Checkout(Checkout),
    /// Show an image as a file system at a folder, without copying any file; alone: list what is mounted
    Mount(Mount),
    /// Take a mount away
    Umount(Umount),
    /// Make a bundle for runc or crun: a root filesystem to change, and a config.json
    Unpack(Unpack),
    /// Make an image of a bundle, or of any folder: a layer of what changed over the image it was made from
    #[command(visible_alias = "repack")]
    Commit(Box<super::build_args::Commit>),
    /// Change an image's config and annotations; its layers stay
    Config(super::build_args::Config),
    /// Show what differs between the root filesystems of two images: a letter (A, C or D) and a path a line
    Diff(Diff),
    /// Write images to an OCI layout or archive, byte for byte as they came
    #[command(visible_alias = "save")]
    Export(Export),
    /// Delete what no name needs
    #[command(visible_alias = "prune")]
    Gc(Gc),
    /// Drop the compressed layers that can be made again bit for bit, once that is proved
    Compact(Compact),
    /// Re-hash everything and name all damage, or mend it
    #[command(visible_alias = "verify")]
    Fsck(Fsck),
    /// Show what the store holds and saves
    #[command(visible_alias = "stats")]
    Df,
    /// Print a shell's completions
    Completion(Completion),
    /// Print the man page
    Man(Man),
}

#[derive(Args, Debug)]
pub(super) struct Import {
    // Not doc comments, here and below: in those the brackets would be links.
    #[arg(
        required_unless_present = "layout",
        value_name = "SRC",
        help = "oci:DIR[:REF], oci-archive:FILE[:REF], docker-archive:FILE[:REF], a path, or -; \
tar:FILE or tar:- is a root filesystem"
    )]
    pub(super) sources: Vec<String>,
    /// An OCI layout whose path contains a colon
    #[arg(long, value_name = "DIR", conflicts_with = "sources")]
    pub(super) layout: Option<PathBuf>,
    /// The image to take from --layout
    #[arg(long = "ref", value_name = "NAME", requires = "layout")]
    pub(super) reference: Option<String>,
    /// What to call the source's only image
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    #[arg(
        long,
        value_name = "KEY=VALUE",
        help = "Of a root filesystem: a field of the new image's config, as the command config sets it; repeatable"
    )]
    pub(super) config: Vec<String>,
    /// Whether compressed layer blobs are kept, for byte-identical export
    #[arg(long, value_name = "WHAT", default_value = "keep")]
    pub(super) blobs: Blobs,
    /// Treat warnings as errors
    #[arg(long)]
    pub(super) strict: bool,
    /// Where a layer is compressed otherwise than its media type says, let its bytes decide
    #[arg(long)]
    pub(super) lenient: bool,
    #[command(flatten)]
    pub(super) limits: Limits,
}

/// What a source may ask for. Sizes are bytes, or take K, M, G or T in powers of 1024.
#[derive(Args, Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "a field is called as its flag is"
)]
#[command(next_help_heading = "Limits, for sources that are trusted with more, or with less")]
pub(super) struct Limits {
    /// Bytes of a manifest, index or config, at most 64M [default: 4M]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(super) max_json: Option<u64>,
    /// Bytes of a PAX header or a long name [default: 1M]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(super) max_extension: Option<u64>,
    /// Entries of a layer [default: 4194304]
    #[arg(long, value_name = "N")]
    pub(super) max_entries: Option<u64>,
    /// Layers of an image [default: 1024]
    #[arg(long, value_name = "N")]
    pub(super) max_layers: Option<u64>,
    /// Pieces of a sparse file [default: 1048576]
    #[arg(long, value_name = "N")]
    pub(super) max_sparse: Option<u64>,
    /// Bytes of a layer's tar, and of its files with their holes [default: 64G]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub(super) max_layer: Option<u64>,
    /// How many times larger than its blob a tar of over 64M may be [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) max_expansion: Option<u64>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Blobs {
    /// Keep them
    Keep,
    /// Drop those that are proved to be made again bit for bit, as far as that takes a quarter of the import's time
    Auto,
    /// Keep files and recipes only: export makes the same tars, compressed anew
    Drop,
}

#[derive(Args, Debug)]
pub(super) struct Images {
    /// Show full digests
    #[arg(long)]
    pub(super) digests: bool,
}

#[derive(Args, Debug)]
pub(super) struct Tag {
    /// The image
    #[arg(value_name = "REF")]
    pub(super) reference: String,
    /// Its new name
    #[arg(value_name = "NEW")]
    pub(super) new: String,
}

#[derive(Args, Debug)]
pub(super) struct Untag {
    /// The names
    #[arg(required = true, value_name = "NAME")]
    pub(super) names: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct Exists {
    /// The image
    #[arg(value_name = "REF")]
    pub(super) reference: String,
}

#[derive(Args, Debug)]
pub(super) struct Inspect {
    /// The image
    #[arg(value_name = "REF")]
    pub(super) reference: String,
    /// Print the stored bytes of the manifest or index
    #[arg(long, conflicts_with = "config")]
    pub(super) raw: bool,
    /// Print the stored bytes of the config
    #[arg(long)]
    pub(super) config: bool,
    /// Which image of an index: OS/ARCH[/VARIANT]
    #[arg(long, value_name = "PLATFORM")]
    pub(super) platform: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct Checkout {
    /// The image
    #[arg(value_name = "REF")]
    pub(super) reference: String,
    /// Where to; must not exist or be an empty folder, but for --update
    #[arg(value_name = "DIR")]
    pub(super) target: PathBuf,
    /// Make the checkout of another image that DIR is one of this image, by what differs alone
    #[arg(long, conflicts_with = "path")]
    pub(super) update: bool,
    /// Replace what was changed in DIR, and remove what was added
    #[arg(long, requires = "update")]
    pub(super) force: bool,
    /// How files get there [default: hardlink, or as DIR was made]
    #[arg(long, value_name = "HOW")]
    pub(super) link: Option<Link>,
    /// Only this folder of the image
    #[arg(long, value_name = "SUB")]
    pub(super) path: Option<std::ffi::OsString>,
    #[command(flatten)]
    pub(super) laying: Laying,
}

/// How an image's files are laid out, whatever for.
#[derive(Args, Debug)]
pub(super) struct Laying {
    /// Which image of an index: OS/ARCH[/VARIANT] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub(super) platform: Option<String>,
    #[command(flatten)]
    pub(super) owners: Owners,
    /// Treat warnings as errors
    #[arg(long)]
    pub(super) strict: bool,
    /// Do not wait for the disk: after a power cut the folder may be anything
    #[arg(long)]
    pub(super) no_sync: bool,
}

/// Whose files stand for the image's users'.
#[derive(Args, Debug)]
pub(super) struct Owners {
    /// Without what takes root: all files are yours, devices are left out [default, unless you are root]
    #[arg(long, conflicts_with_all = ["uid_map", "gid_map"])]
    pub(super) rootless: bool,
    /// Give files of the image's users to others: SIZE ids from CONTAINER on to those from HOST on; repeatable
    #[arg(long, value_name = "CONTAINER:HOST:SIZE")]
    pub(super) uid_map: Vec<String>,
    /// The same for groups
    #[arg(long, value_name = "CONTAINER:HOST:SIZE")]
    pub(super) gid_map: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct Mount {
    /// The image, or the folder of a bundle whose root filesystem is to be mounted again
    #[arg(value_name = "REF|BUNDLE")]
    pub(super) what: Option<String>,
    /// Where; must not exist or be an empty folder
    #[arg(value_name = "DIR", requires = "what")]
    pub(super) target: Option<PathBuf>,
    /// Let it be written to: changes are kept in the store, beside the image, until umount
    #[arg(long, requires = "target")]
    pub(super) rw: bool,
    /// Which image of an index: OS/ARCH[/VARIANT] [default: this machine's]
    #[arg(long, value_name = "PLATFORM", requires = "target")]
    pub(super) platform: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct Umount {
    /// Where it is mounted, or its id
    #[arg(value_name = "DIR|ID")]
    pub(super) target: PathBuf,
    /// Throw away the changes that were made through it
    #[arg(long)]
    pub(super) discard: bool,
}

#[derive(Args, Debug)]
pub(super) struct Unpack {
    /// The image
    #[arg(value_name = "REF")]
    pub(super) reference: String,
    /// Where to; must not exist or be an empty folder
    #[arg(value_name = "BUNDLE")]
    pub(super) bundle: PathBuf,
    /// Copy nothing: the root filesystem is a mount, and what is written to it is kept in the store. Takes root
    #[arg(long, conflicts_with_all = ["link", "rootless", "uid_map", "gid_map", "strict", "no_sync"])]
    pub(super) mount: bool,
    /// How files get there: never as links into the store, since they are there to be changed
    #[arg(long, value_name = "HOW", default_value = "reflink")]
    pub(super) link: Link,
    #[command(flatten)]
    pub(super) laying: Laying,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    /// Links into the store: writing to a file there writes into the store
    Hardlink,
    /// Copies that share their blocks, on file systems that can
    Reflink,
    /// Copies
    Copy,
}

#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a field is a flag")]
pub(super) struct Diff {
    /// An image
    #[arg(value_name = "A")]
    pub(super) before: String,
    /// Another, a bundle, or a directory (a path begins with '/' or '.', or is tried where no image has the name): what
    /// it has more is added, what it lacks deleted
    #[arg(value_name = "B")]
    pub(super) after: String,
    /// Which image of an index, on both sides: OS/ARCH[/VARIANT] [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub(super) platform: Option<String>,
    /// Only names, types, contents and hard links count: not mode, owner, time and attributes
    #[arg(long)]
    pub(super) content: bool,
    /// Say of each changed path in what it differs, after a tab
    #[arg(long, conflicts_with = "stat")]
    pub(super) metadata: bool,
    /// Only count
    #[arg(long)]
    pub(super) stat: bool,
    /// Exit with 1 if anything differs
    #[arg(long)]
    pub(super) exit_code: bool,
    /// Write the layer, an uncompressed tar, that makes B of A
    #[arg(long, requires = "output", conflicts_with_all = ["content", "metadata", "stat"])]
    pub(super) tar: bool,
    /// Where to: a file, or '-' for standard output
    #[arg(short, long, value_name = "FILE", requires = "tar")]
    pub(super) output: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Export {
    #[arg(
        required = true,
        value_name = "REF... DST",
        help = "The images, then oci:DIR[:REF], oci-archive:FILE[:REF] or a folder"
    )]
    pub(super) references_and_destination: Vec<String>,
    /// Call images there by their full names, not only by their tags
    #[arg(long)]
    pub(super) full_names: bool,
    /// Compress layers anew; their digests change
    #[arg(long, value_name = "HOW")]
    pub(super) recompress: Option<Compress>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Compress {
    Gzip,
    Zstd,
    None,
}

#[derive(Args, Debug)]
pub(super) struct Gc {
    /// Only tell what would be deleted
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Wait this long for commands that began earlier, to free what they may need; the next gc frees the rest
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(super) wait: u32,
}

#[derive(Args, Debug)]
pub(super) struct Compact {
    /// Only tell what would be dropped
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Wait this long for commands that began earlier, and may read what is dropped; the next gc frees the rest
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(super) wait: u32,
}

#[derive(Args, Debug)]
pub(super) struct Fsck {
    /// Only look at files, without reading them: finds what was written through a checkout's links
    #[arg(long, conflicts_with = "repair")]
    pub(super) quick: bool,
    /// Mend what is damaged or missing; what was in its place goes to lost+found in the store
    #[arg(long)]
    pub(super) repair: bool,
    #[arg(
        long,
        requires = "repair",
        value_name = "SRC",
        help = "Where the same images are, to mend from: as import takes it; repeatable"
    )]
    pub(super) from: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct Completion {
    /// The shell
    pub(super) shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub(super) struct Man {
    /// The command whose page it is; all of ocistore without one
    pub(super) command: Option<String>,
}
