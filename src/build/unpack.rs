//! Owns `unpack`: an image becomes a bundle for a container runtime, all of it or nothing.

use std::path::Path;

use rustix::fs::StatVfsMountFlags;

use super::bundle::{BundleInfo, CONFIG, INFO, RECORD, ROOTFS, Rootfs};
use super::{lookup, mounted};
use crate::error::{Error, Result};
use crate::image::Image;
use crate::mount::Mounted;
use crate::rootfs::record::Record;
use crate::rootfs::{self, Flush, Options, Ownership, Report, Staging};
use crate::runtime::{self, Accounts, Converted, Isolation, Request, USER_TABLE_MAX, Unstartable};
use crate::store::{Reader, Store, Writer};
use crate::watch::Watch;
use crate::wire::Descriptor;

/// What is done to a bundle, as errors say it.
const ACT: &str = "unpack to";

/// What is unpacked.
#[derive(Clone, Copy, Debug)]
pub struct Base<'a> {
    /// The name that was asked for.
    pub name: &'a str,
    /// The manifest that it means.
    pub manifest: &'a Descriptor,
    /// What the catalog knows of it.
    pub image: &'a Image,
}

/// What an unpack did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unpacked {
    /// How the root filesystem was made.
    pub report: Report,
    /// Labels that are no annotations of the container, since a runtime would obey them.
    pub left_out: Vec<String>,
    /// Why the container cannot be started as it is.
    pub unstartable: Option<Unstartable>,
}

/// Makes the directory `bundle`, which must be empty or not there yet, a bundle of an image: `rootfs/` with files of its
/// own, `config.json`, and what [`super::bundle`] says of the image.
///
/// Nobody else can get into it, since the image may have programs that give rights away; with maps the container's root
/// can go through it. It is made beside its place, as [`rootfs::checkout`] does.
pub fn unpack(
    writer: &Writer<'_>,
    base: Base<'_>,
    bundle: &Path,
    options: &Options,
    watch: &dyn Watch,
) -> Result<Unpacked> {
    let isolation = isolation(&options.owners);
    let config = container(writer.store(), base, &isolation)?;
    rootfs::in_pool(options.jobs, || {
        let staging = Staging::beside(writer.store(), bundle, ACT)?;
        let report = staging.conclude(|| {
            let report = fill(writer, base, &staging, options, watch)?;
            staging.put_file(CONFIG, &config.bytes)?;
            let info = info(writer.store(), base, &options.owners);
            staging.put_file(INFO, &info.encode())?;
            if let Isolation::Mapped { gids, .. } = &isolation
                && let Some(root) = gids.host_of(0)
            {
                staging.let_through(root)?;
            }
            match options.flush {
                Flush::Whole => staging.sync()?,
                Flush::Never => {}
            }
            watch.check()?;
            Ok(report)
        })?;
        match options.flush {
            Flush::Whole => staging.sync_place()?,
            Flush::Never => {}
        }
        let Converted {
            bytes: _,
            left_out,
            unstartable,
        } = config;
        Ok(Unpacked {
            report,
            left_out,
            unstartable,
        })
    })
}

/// A bundle whose root filesystem is a mount.
#[derive(Clone, Debug)]
pub struct UnpackedMount {
    /// How the root filesystem was mounted.
    pub mounted: Mounted,
    /// Labels that are no annotations of the container, since a runtime would obey them.
    pub left_out: Vec<String>,
}

/// Makes the directory `bundle`, which must be empty or not there yet, a bundle of an image whose `rootfs` is a mount of
/// the store that can be written to: nothing is copied.
///
/// `reader` has to be there before the image is found: what is found then stays.
pub fn unpack_mounted(
    reader: &Reader<'_>,
    base: Base<'_>,
    bundle: &Path,
    watch: &dyn Watch,
) -> Result<UnpackedMount> {
    let store = reader.store();
    let config = container(store, base, &Isolation::None)?;
    let staging = Staging::beside(store, bundle, ACT)?;
    let info = info(store, base, &Ownership::AsImage);
    let said = (info, config.bytes.as_slice());
    Ok(UnpackedMount {
        mounted: mounted::make(reader, (&staging, bundle), said, watch)?,
        left_out: config.left_out,
    })
}

/// Makes the root filesystem and the record of it; it is not waited for that they are on the disk.
fn fill(
    writer: &Writer<'_>,
    base: Base<'_>,
    staging: &Staging,
    options: &Options,
    watch: &dyn Watch,
) -> Result<Report> {
    use std::os::fd::AsFd as _;
    let (store, root) = (writer.store(), &base.image.root);
    let rootfs = staging.make_dir(ROOTFS)?;
    let options = Options {
        flush: Flush::Never,
        ..options.clone()
    };
    let report = rootfs::fill((writer, root), rootfs.as_fd(), &options, watch)?;
    let record = store.view(|view| Record::take(rootfs.as_fd(), view, root, watch))?;
    staging.put_file(RECORD, &record.encode())?;
    Ok(report)
}

fn info(store: &Store, base: Base<'_>, owners: &Ownership) -> BundleInfo {
    BundleInfo {
        image: base.name.to_owned(),
        manifest: base.manifest.clone(),
        root: base.image.root,
        platform: base.image.platform.clone(),
        owners: owners.clone(),
        rootfs: Rootfs::Plain,
        store: std::path::absolute(store.root()).unwrap_or_else(|_| store.root().to_owned()),
    }
}

/// Returns the container's config, before anything is made for it.
fn container(store: &Store, base: Base<'_>, isolation: &Isolation) -> Result<Converted> {
    let config = store.document(&base.image.config)?;
    let accounts = accounts(store, base.image)?;
    let request = Request {
        config: &config,
        accounts: &accounts,
        isolation,
    };
    runtime::convert(request).map_err(|e| {
        Error::malformed("make a container's config of", base.name, e.to_string())
            .hint("`ocistore checkout` lays out its files alone")
    })
}

fn accounts(store: &Store, image: &Image) -> Result<Accounts> {
    let read = |path: &str| {
        let found = store.view(|view| lookup::find_file(view, &image.root, path))?;
        found
            .map(|content| lookup::read_content(store, content, USER_TABLE_MAX, path))
            .transpose()
    };
    Ok(Accounts {
        passwd: read("/etc/passwd")?,
        group: read("/etc/group")?,
    })
}

/// Returns what separates the ids of a container from the host's, whose files are those of `owners`.
fn isolation(owners: &Ownership) -> Isolation {
    match owners {
        Ownership::AsImage => Isolation::None,
        Ownership::Rootless { uid, gid } => Isolation::Rootless {
            uid: *uid,
            gid: *gid,
            resolv_conf: resolv_conf(),
        },
        Ownership::Mapped { uids, gids } => Isolation::Mapped {
            uids: uids.clone().into(),
            gids: gids.clone().into(),
        },
    }
}

/// Returns the options of the mount that the host's `/etc/resolv.conf` is on, as far as a user namespace has to keep
/// them; `None` where there is no such file.
fn resolv_conf() -> Option<Vec<&'static str>> {
    let flags = rustix::fs::statvfs("/etc/resolv.conf").ok()?.f_flag;
    let kept = [
        (StatVfsMountFlags::NOSUID, "nosuid"),
        (StatVfsMountFlags::NODEV, "nodev"),
        (StatVfsMountFlags::NOEXEC, "noexec"),
    ];
    let kept = kept.into_iter().filter(|(flag, _)| flags.contains(*flag));
    Some(kept.map(|(_, option)| option).collect())
}
