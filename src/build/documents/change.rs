//! Owns what can be changed in an image's config and annotations, as people write it: `KEY=VALUE`, or `KEY` to clear.
//! What makes no sense is refused here, with the form that is expected.

use super::checks;
use super::fields::{FIELDS, Field, Shape};
use crate::error::{Error, Result};

/// One change to an image's config or annotations. Only [`Changes::parse`] makes them.
#[derive(Clone, Debug)]
pub struct ConfigChange {
    pub(super) field: &'static Field,
    pub(super) action: Action,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// The field goes, with all in it.
    Clear,
    /// The pair or member of this name goes.
    Drop(String),
    /// The text becomes this.
    Text(String),
    /// The list becomes this.
    Words(Vec<String>),
    /// A pair is added, or its value changed.
    Pair(String, String),
    /// A member is added.
    Member(String),
}

impl Action {
    /// Tells whether it does nothing where nothing is.
    pub(super) fn takes_away(&self) -> bool {
        match self {
            Self::Clear | Self::Drop(_) => true,
            Self::Text(_) | Self::Words(_) | Self::Pair(..) | Self::Member(_) => false,
        }
    }
}

/// Changes in the order in which they are made: first what is cleared, then what is set.
#[derive(Clone, Debug, Default)]
pub struct Changes(pub(super) Vec<ConfigChange>);

impl Changes {
    /// Parses `KEY=VALUE` of `set` and `KEY` or `KEY=NAME` of `clear`; the grammar is in `docs/cli.md`, "config".
    ///
    /// A list of words begins anew with the first value for it, and each further value adds to it.
    pub fn parse(set: &[String], clear: &[String]) -> Result<Self> {
        let mut changes: Vec<ConfigChange> = Vec::new();
        for text in clear {
            changes.push(parse_clear(text)?);
        }
        let mut later: Vec<ConfigChange> = Vec::new();
        for text in set {
            let change = parse_set(text, &later)?;
            match change.action {
                Action::Clear => changes.push(change),
                _ => add(&mut later, change),
            }
        }
        changes.append(&mut later);
        Ok(Self(changes))
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Adds words to those that were given before, and all else at the end.
fn add(changes: &mut Vec<ConfigChange>, change: ConfigChange) {
    let before = changes
        .iter_mut()
        .find(|other| std::ptr::eq(other.field, change.field));
    match (before.map(|other| &mut other.action), change.action) {
        (Some(Action::Words(before)), Action::Words(words)) => before.extend(words),
        (_, action) => changes.push(ConfigChange {
            field: change.field,
            action,
        }),
    }
}

fn parse_set(text: &str, before: &[ConfigChange]) -> Result<ConfigChange> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let field = field("set", text, name)?;
    let refuse = || refused("set", text, field.form);
    if !text.contains('=') || value.contains('\0') {
        return Err(refuse());
    }
    if value.is_empty() {
        return cleared(field, text, "set");
    }
    let action = match field.shape {
        Shape::Text | Shape::Required => {
            (field.check)(value).then(|| Action::Text(value.to_owned()))
        }
        Shape::Set => (field.check)(value).then(|| Action::Member(value.to_owned())),
        Shape::Env | Shape::Map => value
            .split_once('=')
            .filter(|(name, _)| (field.check)(name))
            .map(|(name, value)| Action::Pair(name.to_owned(), value.to_owned())),
        Shape::Words => {
            let goes_on = before.iter().any(|c| std::ptr::eq(c.field, field));
            // A command line with blanks would be started as one program of that name.
            if !goes_on && !value.starts_with('[') && !checks::is_word(value) {
                return Err(
                    Error::usage("set", format!("'{text}'"), "it would be one word")
                        .hint("write a list as [\"WORD\",\"WORD\"]"),
                );
            }
            words(value)
        }
    };
    let action = action.ok_or_else(refuse)?;
    Ok(ConfigChange { field, action })
}

/// Reads a list of words, or one; `None` where it is neither. `[]` is a list that is cleared.
fn words(value: &str) -> Option<Action> {
    if !value.starts_with('[') {
        return Some(Action::Words(vec![value.to_owned()]));
    }
    let words: Vec<String> = serde_json::from_str(value).ok()?;
    if words.is_empty() {
        return Some(Action::Clear);
    }
    let whole = words.iter().all(|word| !word.contains('\0'));
    whole.then_some(Action::Words(words))
}

fn parse_clear(text: &str) -> Result<ConfigChange> {
    let (name, member) = match text.split_once('=') {
        Some((name, member)) => (name, Some(member)),
        None => (text, None),
    };
    let field = field("clear", text, name)?;
    let Some(member) = member else {
        return cleared(field, text, "clear");
    };
    let has_members = matches!(field.shape, Shape::Env | Shape::Map | Shape::Set);
    if !has_members || member.is_empty() {
        let why = match has_members {
            true => format!("expected {name} or {name}=NAME"),
            false => format!("expected {name}"),
        };
        return Err(Error::usage("clear", format!("'{text}'"), why));
    }
    Ok(ConfigChange {
        field,
        action: Action::Drop(member.to_owned()),
    })
}

fn cleared(field: &'static Field, text: &str, act: &'static str) -> Result<ConfigChange> {
    if field.shape == Shape::Required {
        let why = format!("an image has to say its {}", field.name);
        return Err(Error::usage(act, format!("'{text}'"), why));
    }
    Ok(ConfigChange {
        field,
        action: Action::Clear,
    })
}

fn field(act: &'static str, text: &str, name: &str) -> Result<&'static Field> {
    Field::named(name).ok_or_else(|| {
        let names: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
        let why = format!("expected one of {}", names.join(", "));
        Error::usage(act, format!("'{text}'"), why)
    })
}

fn refused(act: &'static str, text: &str, form: &str) -> Error {
    Error::usage(act, format!("'{text}'"), format!("expected {form}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(set: &[&str], clear: &[&str]) -> Result<Vec<(&'static str, Action)>> {
        let own = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let changes = Changes::parse(&own(set), &own(clear))?;
        let plain = |change: ConfigChange| (change.field.name, change.action);
        Ok(changes.0.into_iter().map(plain).collect())
    }

    fn words(of: &[&str]) -> Action {
        Action::Words(of.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_is_cleared_comes_first_however_it_is_written() {
        assert_eq!(
            parse(&["env=A=1", "label="], &["env", "volume=/v"]).unwrap(),
            [
                ("env", Action::Clear),
                ("volume", Action::Drop("/v".to_owned())),
                ("label", Action::Clear),
                ("env", Action::Pair("A".to_owned(), "1".to_owned())),
            ]
        );
    }

    #[test]
    fn words_are_json_or_one_by_one() {
        assert_eq!(
            parse(&[r#"cmd=["sh","-c","a b"]"#], &[]).unwrap(),
            [("cmd", words(&["sh", "-c", "a b"]))]
        );
        assert_eq!(
            parse(&["cmd=sh", "entrypoint=/e", "cmd=-c", "cmd=a b"], &[]).unwrap(),
            [
                ("cmd", words(&["sh", "-c", "a b"])),
                ("entrypoint", words(&["/e"])),
            ]
        );
        assert_eq!(parse(&["cmd=[]"], &[]).unwrap(), [("cmd", Action::Clear)]);
    }

    #[test]
    fn a_value_may_hold_what_separates_others() {
        assert_eq!(
            parse(&["env=A=b=c d", "label=x=", "annotation=k=[v]"], &[]).unwrap(),
            [
                ("env", Action::Pair("A".to_owned(), "b=c d".to_owned())),
                ("label", Action::Pair("x".to_owned(), String::new())),
                ("annotation", Action::Pair("k".to_owned(), "[v]".to_owned())),
            ]
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_form_that_does() {
        for (set, form) in [
            ("env=A", "env=NAME=VALUE"),
            ("env==1", "env=NAME=VALUE"),
            ("env=A B=1", "env=NAME=VALUE"),
            ("label=x", "label=NAME=VALUE"),
            ("annotation=x", "annotation=NAME=VALUE"),
            ("expose=http", "expose=PORT"),
            ("volume=data", "volume=/PATH"),
            ("workdir=here", "workdir=/PATH"),
            ("stop-signal=KILL", "stop-signal=SIGNAME"),
            ("user=a:b:c", "user=USER[:GROUP]"),
            ("os=gnu/hurd", "os=OS"),
            ("created=today", "created=TIME"),
            ("cmd=[1]", "cmd=WORD"),
            ("cmd=echo hi", r#"["WORD","WORD"]"#),
            ("user", "user=USER[:GROUP]"),
            ("nonsense=1", "expected one of user, env, "),
            ("os=", "has to say its os"),
        ] {
            let error = parse(&[set], &[]).unwrap_err();
            assert_eq!(error.exit_code(), 64, "{set}");
            assert!(error.to_string().contains(form), "{error}");
        }
        for clear in ["nonsense", "user=x", "env=", "architecture"] {
            assert_eq!(parse(&[], &[clear]).unwrap_err().exit_code(), 64, "{clear}");
        }
    }
}
