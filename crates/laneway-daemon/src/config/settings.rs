//! Every setting of a `laneway.toml`, in one list: its key, what may stand there, what it does. What is accepted, the
//! commented file of `lane init` and the JSON schema for editors are made from it.

use laneway_core::channel::ChannelKind;
use laneway_core::supervise::RestartPolicy;
use serde_json::{Map, Value, json};

/// One setting.
pub(super) struct Setting {
    /// Its key; see [`super::file::parse`].
    pub(super) key: &'static str,
    /// What may stand there.
    kind: Kind,
    /// What it does: one sentence.
    about: &'static str,
    /// The line of the commented file: what is so without it, or an example.
    line: &'static str,
}

/// What may stand at a key.
enum Kind {
    Text,
    Texts,
    /// A whole number from the first to the second.
    Count(u64, u64),
    /// Like `"64 MiB"`.
    Size,
    /// Like `"10m"`.
    Duration,
    /// `true` or `false`.
    Flag,
    /// When a program is started again.
    Restart,
    /// How a program finds its channel.
    Channel,
    /// Where instances of a program work.
    Isolation,
    /// Codes that programs end with.
    Codes,
    /// Names of the user's choice with texts.
    TextTable,
}

const HEAD: &str = "\
# How lanes of this repository are made: settings of Laneway. Every line that begins with # is only a remark; those
# with a setting show what is so without it, or an example.
";

/// All of them, in the order of the commented file.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        key: "worktree",
        kind: Kind::Text,
        about: "Where the worktree of a lane is; {root} is the main worktree.",
        line: "worktree = \"{root}/.lanes/{lane}\"",
    },
    Setting {
        key: "branch",
        kind: Kind::Text,
        about: "What the branch of a new lane is called.",
        line: "branch = \"lane/{lane}\"",
    },
    Setting {
        key: "max_lanes",
        kind: Kind::Count(1, 10_000),
        about: "The most open lanes that there may be.",
        line: "max_lanes = 200",
    },
    Setting {
        key: "pool",
        kind: Kind::Count(0, 64),
        about: "How many worktrees are kept ready, so that a lane is there at once; not with submodules.",
        line: "pool = 0",
    },
    Setting {
        key: "least_free",
        kind: Kind::Size,
        about: "Room that must be free on the disk before a lane is made.",
        line: "least_free = \"512 MiB\"",
    },
    Setting {
        key: "disposable",
        kind: Kind::Texts,
        about: "Names of ignored folders that a build makes again: a close deletes them without asking (others than \
                these once lane trust has shown them).",
        line: "disposable = [\"target\", \"node_modules\", \"dist\", \"build\", \".venv\", \"__pycache__\", \
               \".pytest_cache\", \".mypy_cache\", \".ruff_cache\", \".tox\", \".gradle\", \".cache\", \".next\", \
               \".nuxt\", \".turbo\", \".parcel-cache\", \".svelte-kit\"]",
    },
    Setting {
        key: "trash_days",
        kind: Kind::Count(0, 3_650),
        about: "How many days the worktree of a lane that was closed with work in it stays in the trash.",
        line: "trash_days = 7",
    },
    Setting {
        key: "rescue_max",
        kind: Kind::Size,
        about: "A larger file is kept in the trash only, for as long as nobody prunes it, and in no commit.",
        line: "rescue_max = \"64 MiB\"",
    },
    Setting {
        key: "copy",
        kind: Kind::Texts,
        about: "Untracked files of the main worktree that each new lane gets a copy of: git's patterns.",
        line: "copy = [\".env\", \"config/*.local\"]",
    },
    Setting {
        key: "link",
        kind: Kind::Texts,
        about: "Paths of the main worktree that each new lane gets a symbolic link to.",
        line: "link = [\"data\"]",
    },
    Setting {
        key: "submodules",
        kind: Kind::Flag,
        about: "Whether submodules are checked out in new lanes, with what the main worktree's own have.",
        line: "submodules = false",
    },
    Setting {
        key: "program",
        kind: Kind::Text,
        about: "Which of the programs below lane run starts if it is given no command; not needed if there is one.",
        line: "program = \"agent\"",
    },
    Setting {
        key: "steps[].name",
        kind: Kind::Text,
        about: "What the step is called.",
        line: "[[steps]]                       # run in each new lane, one after the other\n\
               name = \"deps\"",
    },
    Setting {
        key: "steps[].command",
        kind: Kind::Texts,
        about: "The program and its arguments; no shell reads them, unless it is one: [\"sh\", \"-c\", \"…\"].",
        line: "command = [\"npm\", \"ci\"]",
    },
    Setting {
        key: "steps[].timeout",
        kind: Kind::Duration,
        about: "How long it may take.",
        line: "timeout = \"30m\"",
    },
    Setting {
        key: "steps[].env.*",
        kind: Kind::TextTable,
        about: "Variables beside those of who makes the lane.",
        line: "env = { CI = \"1\" }",
    },
    Setting {
        key: "programs.*.command",
        kind: Kind::Texts,
        about: "A program and its arguments; no shell reads them.",
        line: "[programs.agent]\ncommand = [\"claude\"]",
    },
    Setting {
        key: "programs.*.restart",
        kind: Kind::Restart,
        about: "When it is started again after it has ended by itself: never, on-failure or always.",
        line: "restart = \"on-failure\"",
    },
    Setting {
        key: "programs.*.done_codes",
        kind: Kind::Codes,
        about: "Codes that it may end with beside 0 when its work is done.",
        line: "done_codes = [42]",
    },
    Setting {
        key: "programs.*.isolation",
        kind: Kind::Isolation,
        about: "Where its instances work: each in a lane of its own, or with none in the main worktree itself.",
        line: "isolation = \"lane\"",
    },
    Setting {
        key: "programs.*.channel",
        kind: Kind::Channel,
        about: "The channel that it is given to talk to its supervisor: jsonl or node-ipc.",
        line: "channel = \"jsonl\"",
    },
    Setting {
        key: "programs.*.limit_wall",
        kind: Kind::Duration,
        about: "After so long a run of it is ended, which counts as a failure.",
        line: "limit_wall = \"8h\"",
    },
    Setting {
        key: "programs.*.limit_idle",
        kind: Kind::Duration,
        about: "After so long without output and without a message over its channel a run of it is ended, which counts \
                as a failure.",
        line: "limit_idle = \"1h\"",
    },
];

/// Every key there is.
pub(super) fn keys() -> Vec<&'static str> {
    SETTINGS.iter().map(|setting| setting.key).collect()
}

/// A file in which everything is a remark.
pub(super) fn commented() -> String {
    let mut text = HEAD.to_owned();
    for setting in SETTINGS {
        text.push_str("\n# ");
        text.push_str(setting.about);
        text.push('\n');
        for line in setting.line.lines() {
            text.push_str("# ");
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// The JSON schema of the file.
pub(super) fn schema() -> Value {
    let mut root = table_schema();
    for setting in SETTINGS {
        let mut fragment = kind_schema(&setting.kind);
        fragment.insert("description".to_owned(), setting.about.into());
        place(&mut root, setting.key, fragment);
    }
    root.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    root.insert("title".to_owned(), "laneway.toml".into());
    root.insert("description".to_owned(), "How lanes of a repository are made.".into());
    Value::Object(root)
}

fn table_schema() -> Map<String, Value> {
    let table = json!({ "type": "object", "additionalProperties": false, "properties": {} });
    table.as_object().cloned().unwrap_or_default()
}

fn kind_schema(kind: &Kind) -> Map<String, Value> {
    let schema = match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Duration => json!({ "type": "string", "pattern": "^[0-9]+([.][0-9]{1,3})?(ms|s|m|h)?$" }),
        Kind::TextTable => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Restart => json!({ "enum": RestartPolicy::ALL.map(RestartPolicy::as_str) }),
        Kind::Isolation => json!({ "enum": ["lane", "none"] }),
        Kind::Codes => {
            json!({ "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 255 } })
        }
        Kind::Channel => json!({ "enum": ChannelKind::ALL.map(ChannelKind::as_str) }),
        Kind::Count(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Size => json!({ "anyOf": [
            { "type": "integer", "minimum": 0 },
            { "type": "string", "pattern": "^[0-9]+ *(B|KiB|MiB|GiB|TiB)?$" },
        ]}),
    };
    schema.as_object().cloned().unwrap_or_default()
}

/// Puts what may stand at a key where the schema has it.
fn place(table: &mut Map<String, Value>, key: &str, fragment: Map<String, Value>) {
    let Some((outer, inner)) = key.split_once('.') else {
        if let Some(properties) = properties_of(table) {
            properties.insert(key.to_owned(), Value::Object(fragment));
        }
        return;
    };
    let Some(properties) = properties_of(table) else { return };
    if inner == "*" {
        properties.insert(outer.to_owned(), Value::Object(fragment));
        return;
    }
    if let Some(inner) = inner.strip_prefix("*.") {
        let any = json!({ "type": "object", "additionalProperties": table_schema() });
        let within = properties.entry(outer).or_insert(any);
        if let Value::Object(within) = &mut within["additionalProperties"] {
            place(within, inner, fragment);
        }
        return;
    }
    let of_list = outer.strip_suffix("[]");
    let within = properties.entry(of_list.unwrap_or(outer)).or_insert_with(|| match of_list {
        Some(_) => json!({ "type": "array", "items": table_schema() }),
        None => Value::Object(table_schema()),
    });
    let within = if of_list.is_some() { &mut within["items"] } else { within };
    if let Value::Object(within) = within {
        place(within, inner, fragment);
    }
}

fn properties_of(table: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    table.get_mut("properties").and_then(Value::as_object_mut)
}
