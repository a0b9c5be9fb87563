//! Owns history entries (image-spec config.md, "history"): who made a layer or changed a config, when and how.

use serde_json::{Map, Value};

use crate::time::Time;

/// What a history entry says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History {
    /// When it was done.
    pub created: Option<Time>,
    /// The command that did it.
    pub created_by: Option<String>,
    /// Who did it.
    pub author: Option<String>,
    /// What they say about it.
    pub comment: Option<String>,
}

/// Whether a history entry stands for a layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stands {
    ForLayer,
    ForNoLayer,
}

impl History {
    /// Returns it with `author`, where it has none.
    #[must_use]
    pub fn or_author(mut self, author: Option<&str>) -> Self {
        self.author = self.author.or_else(|| author.map(str::to_owned));
        self
    }

    /// Returns the entry, its fields in the order in which other builders write them.
    pub(super) fn entry(&self, stands: Stands) -> Value {
        let Self {
            created,
            created_by,
            author,
            comment,
        } = self;
        let mut entry = Map::new();
        let texts = [
            ("created", created.as_ref().map(Time::as_str)),
            ("created_by", created_by.as_deref()),
            ("author", author.as_deref()),
            ("comment", comment.as_deref()),
        ];
        for (key, text) in texts {
            if let Some(text) = text.filter(|text| !text.is_empty()) {
                entry.insert(key.to_owned(), text.into());
            }
        }
        if stands == Stands::ForNoLayer {
            entry.insert("empty_layer".to_owned(), true.into());
        }
        Value::Object(entry)
    }
}

/// Tells whether a history entry of any builder stands for a layer.
pub(super) fn stands_for_layer(entry: &Value) -> bool {
    entry.get("empty_layer").and_then(Value::as_bool) != Some(true)
}
