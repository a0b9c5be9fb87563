//! Owns which fields of an image's documents can be changed, what each is called, and what it takes.

use super::checks;

/// A field that can be changed.
#[derive(Debug)]
pub(super) struct Field {
    /// What it is called on the command line.
    pub(super) name: &'static str,
    /// Its key in the document.
    pub(super) key: &'static str,
    pub(super) home: Home,
    pub(super) shape: Shape,
    /// How a change is written, for who wrote it otherwise.
    pub(super) form: &'static str,
    /// Tells whether a text, a name of a pair or a member makes sense.
    pub(super) check: fn(&str) -> bool,
}

/// Which object has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Home {
    /// The config itself.
    Image,
    /// The config's `config`: what a container is started with.
    Run,
    /// The manifest.
    Manifest,
}

/// What its values look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// A text.
    Text,
    /// A text that no image is without.
    Required,
    /// A list of words.
    Words,
    /// A list of `NAME=VALUE`.
    Env,
    /// An object of texts.
    Map,
    /// An object whose keys are the members, and whose values are empty objects.
    Set,
}

impl Field {
    /// Finds a field by its name.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }
}

/// All of them, as image-spec config.md and manifest.md have them.
pub(super) static FIELDS: &[Field] = &[
    Field {
        name: "user",
        key: "User",
        home: Home::Run,
        shape: Shape::Text,
        form: "user=USER[:GROUP]",
        check: checks::is_user,
    },
    Field {
        name: "env",
        key: "Env",
        home: Home::Run,
        shape: Shape::Env,
        form: "env=NAME=VALUE",
        check: checks::is_word,
    },
    Field {
        name: "entrypoint",
        key: "Entrypoint",
        home: Home::Run,
        shape: Shape::Words,
        form: "entrypoint=WORD or entrypoint=[\"WORD\",\"WORD\"]",
        check: checks::is_word,
    },
    Field {
        name: "cmd",
        key: "Cmd",
        home: Home::Run,
        shape: Shape::Words,
        form: "cmd=WORD or cmd=[\"WORD\",\"WORD\"]",
        check: checks::is_word,
    },
    Field {
        name: "workdir",
        key: "WorkingDir",
        home: Home::Run,
        shape: Shape::Text,
        form: "workdir=/PATH",
        check: checks::is_absolute,
    },
    Field {
        name: "label",
        key: "Labels",
        home: Home::Run,
        shape: Shape::Map,
        form: "label=NAME=VALUE",
        check: checks::is_word,
    },
    Field {
        name: "expose",
        key: "ExposedPorts",
        home: Home::Run,
        shape: Shape::Set,
        form: "expose=PORT[-PORT][/tcp|/udp|/sctp]",
        check: checks::is_port,
    },
    Field {
        name: "volume",
        key: "Volumes",
        home: Home::Run,
        shape: Shape::Set,
        form: "volume=/PATH",
        check: checks::is_absolute,
    },
    Field {
        name: "stop-signal",
        key: "StopSignal",
        home: Home::Run,
        shape: Shape::Text,
        form: "stop-signal=SIGNAME or stop-signal=NUMBER",
        check: checks::is_signal,
    },
    Field {
        name: "created",
        key: "created",
        home: Home::Image,
        shape: Shape::Text,
        form: "created=TIME, as in created=2026-11-24T16:35:00Z",
        check: checks::is_time,
    },
    Field {
        name: "author",
        key: "author",
        home: Home::Image,
        shape: Shape::Text,
        form: "author=TEXT",
        check: checks::is_text,
    },
    Field {
        name: "architecture",
        key: "architecture",
        home: Home::Image,
        shape: Shape::Required,
        form: "architecture=ARCH, as in architecture=arm64",
        check: checks::is_platform_part,
    },
    Field {
        name: "os",
        key: "os",
        home: Home::Image,
        shape: Shape::Required,
        form: "os=OS, as in os=linux",
        check: checks::is_platform_part,
    },
    Field {
        name: "variant",
        key: "variant",
        home: Home::Image,
        shape: Shape::Text,
        form: "variant=VARIANT, as in variant=v8",
        check: checks::is_platform_part,
    },
    Field {
        name: "annotation",
        key: "annotations",
        home: Home::Manifest,
        shape: Shape::Map,
        form: "annotation=NAME=VALUE",
        check: checks::is_word,
    },
];
