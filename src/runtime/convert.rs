//! Owns the conversion itself: which field of an image's config becomes which of a container's (image-spec
//! conversion.md). Refuses what no runtime could start: another system's image, a user who is not there, paths that
//! are relative, NULs.

use super::ConvertError;
use super::annotations::annotations;
use super::defaults::{self, ENV, SHELL};
use super::image::Image;
use super::isolation::Isolation;
use super::spec::{Mount, Spec, User};
use super::users::Accounts;

/// What a container's config is made of.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The bytes of the image's config.
    pub config: &'a [u8],
    /// The image's users and groups.
    pub accounts: &'a Accounts,
    /// What separates its ids from the host's.
    pub isolation: &'a Isolation,
}

/// A container's config.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Converted {
    /// The bytes of `config.json`.
    pub bytes: Vec<u8>,
    /// Labels that are no annotations, since a runtime would obey them.
    pub left_out: Vec<String>,
    /// Why it cannot be started as it is.
    pub unstartable: Option<Unstartable>,
}

/// An id that the container is to run with and that its user namespace does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unstartable {
    /// The user.
    User(u32),
    /// The group.
    Group(u32),
}

/// Converts an image's config to a container's.
pub fn convert(request: Request<'_>) -> Result<Converted, ConvertError> {
    let Request {
        config,
        accounts,
        isolation,
    } = request;
    let image = Image::parse(config)?;
    if image.os.as_deref() != Some("linux") {
        let os = image.os.as_deref().unwrap_or("nothing");
        return Err(ConvertError::new(format!("expected os linux, got {os}")));
    }
    let account = accounts.find(&image.config.user)?;
    let mut spec = defaults::spec(isolation);
    spec.process.args = args(&image)?;
    spec.process.env = env(&image, account.home.as_deref())?;
    spec.process.cwd = cwd(&image)?;
    spec.process.user = User {
        uid: account.uid,
        gid: account.gid,
        additional_gids: additional(account.additional, isolation),
    };
    spec.mounts.extend(volumes(&image)?);
    let (annotations, left_out) = annotations(&image);
    spec.annotations = annotations;
    Ok(Converted {
        bytes: spec.encode()?,
        left_out,
        unstartable: unstartable(&spec, isolation),
    })
}

fn unstartable(spec: &Spec, isolation: &Isolation) -> Option<Unstartable> {
    let User { uid, gid, .. } = spec.process.user;
    if !isolation.has_uid(uid) {
        Some(Unstartable::User(uid))
    } else if !isolation.has_gid(gid) {
        Some(Unstartable::Group(gid))
    } else {
        None
    }
}

/// Returns the groups that the container can be given.
fn additional(groups: Vec<u32>, isolation: &Isolation) -> Vec<u32> {
    match isolation {
        // Who is not root may not give himself any.
        Isolation::Rootless { .. } => Vec::new(),
        Isolation::None | Isolation::Mapped { .. } => groups
            .into_iter()
            .filter(|gid| isolation.has_gid(*gid))
            .collect(),
    }
}

/// Refuses a NUL: no system call takes a text with one.
fn whole(text: &str, what: &str) -> Result<(), ConvertError> {
    match text.contains('\0') {
        true => Err(ConvertError::new(format!("a NUL in its {what}"))),
        false => Ok(()),
    }
}

fn args(image: &Image) -> Result<Vec<String>, ConvertError> {
    let all = image.config.entrypoint.iter().chain(&image.config.cmd);
    let args: Vec<String> = all.cloned().collect();
    args.iter()
        .try_for_each(|arg| whole(arg, "Entrypoint or Cmd"))?;
    Ok(match args.is_empty() {
        true => vec![SHELL.to_owned()],
        false => args,
    })
}

/// Returns the image's environment, a name that comes twice with its last value, and what it does not set.
fn env(image: &Image, home: Option<&str>) -> Result<Vec<String>, ConvertError> {
    let mut env: Vec<(String, String)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for variable in &image.config.env {
        whole(variable, "Env")?;
        let split = variable
            .split_once('=')
            .filter(|(name, _)| !name.is_empty());
        let (name, value) = split.ok_or_else(|| {
            ConvertError::new(format!("expected NAME=VALUE in its Env, got '{variable}'"))
        })?;
        let place = *places.entry(name.to_owned()).or_insert(env.len());
        match env.get_mut(place) {
            Some((_, there)) => value.clone_into(there),
            None => env.push((name.to_owned(), value.to_owned())),
        }
    }
    let more = ENV.into_iter().chain(home.map(|home| ("HOME", home)));
    for (name, value) in more.filter(|(name, _)| !places.contains_key(*name)) {
        env.push((name.to_owned(), value.to_owned()));
    }
    let line = |(name, value)| format!("{name}={value}");
    Ok(env.into_iter().map(line).collect())
}

fn cwd(image: &Image) -> Result<String, ConvertError> {
    let cwd = image.config.working_dir.as_str();
    whole(cwd, "WorkingDir")?;
    match cwd {
        "" => Ok("/".to_owned()),
        _ if cwd.starts_with('/') => Ok(cwd.to_owned()),
        _ => Err(ConvertError::new(format!(
            "its WorkingDir '{cwd}' is not an absolute path"
        ))),
    }
}

/// Returns a mount for each volume, in the order of their paths, so that one inside another comes after it.
fn volumes(image: &Image) -> Result<Vec<Mount>, ConvertError> {
    let paths = image.config.volumes.keys();
    paths
        .map(|path| {
            whole(path, "Volumes")?;
            let names = path.split('/').filter(|name| !matches!(*name, "" | "."));
            if !path.starts_with('/') || names.clone().count() == 0 {
                return Err(ConvertError::new(format!(
                    "its volume '{path}' is not an absolute path below the root"
                )));
            }
            // A runtime would look outside the root, or take it for something else than the image means.
            if names.clone().any(|name| name == "..") {
                return Err(ConvertError::new(format!("its volume '{path}' has a '..'")));
            }
            Ok(defaults::volume(path))
        })
        .collect()
}
