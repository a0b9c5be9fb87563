//! `commit`: a root filesystem becomes an image.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde_json::json;

use super::build_args::{self, Commit};
use super::export::compression;
use super::output::{self, Output};
use super::session::Session;
use super::{clock, laying};
use crate::build::bundle::{Bundle, BundleInfo, INFO};
use crate::build::commit::{
    Base, Committed, Extent, Labels, Options, Source, Unchanged, commit, volumes,
};
use crate::error::{Context as _, Error, Result, quoted};
use crate::meta::Mtime;
use crate::reference::ImageName;
use crate::rootfs::Ownership;
use crate::rootfs::record::Record;
use crate::rootfs::scan::{self, Mask};
use crate::store::{Store, Writer, host_platform};
use crate::wire::Descriptor;

pub(super) fn run(session: &Session, args: &Commit) -> Result<()> {
    let names = build_args::names(&args.names)?;
    let labels = labels(args)?;
    let place = Place::find(args)?;
    let store = session.open_or_make()?;
    // Before anything is looked up: what is found then stays.
    let writer = store.write()?;
    let committed = place.commit(session, args, (&writer, labels), &names)?;
    if let (Place::Bundle { bundle, .. }, true) = (&place, args.refresh) {
        let info = BundleInfo {
            image: names.first().map_or_else(String::new, ToString::to_string),
            manifest: committed.manifest.clone(),
            root: committed.root,
            ..bundle.info.clone()
        };
        bundle.refresh(&info, &committed.record)?;
    }
    print(session, &names, &committed)
}

/// What is committed.
enum Place {
    Bundle {
        bundle: Box<Bundle>,
        rootfs: File,
        record: Option<Record>,
    },
    Directory {
        dir: File,
        owners: Ownership,
    },
}

impl Place {
    fn find(args: &Commit) -> Result<Self> {
        let path = &args.source;
        if args.base.is_none() && Bundle::is_at(path) {
            let bundle = Box::new(Bundle::open(path)?);
            return Ok(Self::Bundle {
                rootfs: bundle.rootfs()?,
                record: bundle.record()?,
                bundle,
            });
        }
        if path.join("config.json").is_file() && path.join("rootfs").is_dir() {
            return Err(refuse_bundle(path));
        }
        if args.refresh {
            let why = "only a bundle of `ocistore unpack` says what it was made from";
            return Err(Error::usage("refresh", quoted(path), why).hint("leave out --refresh"));
        }
        let dir = File::open(path).context("open the directory", quoted(path))?;
        if !dir.metadata().is_ok_and(|stat| stat.is_dir()) {
            return Err(Error::usage("commit", quoted(path), "it is no directory")
                .hint("`ocistore import tar:FILE` takes a root filesystem tarball"));
        }
        Ok(Self::Directory {
            dir,
            owners: laying::owners(&args.owners)?,
        })
    }

    fn commit(
        &self,
        session: &Session,
        args: &Commit,
        (writer, labels): (&Writer<'_>, Labels),
        names: &[ImageName],
    ) -> Result<Committed> {
        let store = writer.store();
        let (dir, owners, base, record) = match self {
            Self::Bundle {
                bundle,
                rootfs,
                record,
            } => (
                rootfs,
                &bundle.info.owners,
                Some(bundle.info.manifest.clone()),
                record.as_ref(),
            ),
            Self::Directory { dir, owners } => {
                let find = |base: &String| store.find_image(base, args.platform.as_deref());
                (dir, owners, args.base.as_ref().map(find).transpose()?, None)
            }
        };
        let base = base.map(|manifest| Ok::<_, Error>((base_image(store, &manifest)?, manifest)));
        let base = base.transpose()?;
        let source = Source {
            dir: dir.as_fd(),
            base: base.as_ref().map(|(image, manifest)| Base {
                manifest,
                image,
                record,
            }),
            upper: None,
        };
        let mut mask = Mask::default();
        for path in &args.mask_path {
            mask.add(path.as_bytes())?;
        }
        if let (Some((image, _)), false) = (&base, args.no_mask_volumes) {
            for path in volumes(store, image)? {
                mask.add(path.as_bytes())
                    .map_err(|e| e.hint("pass --no-mask-volumes"))?;
            }
        }
        let options = options(session, args, (owners.clone(), mask))?;
        commit(writer, source, (labels, &options), names, session.watch())
    }
}

fn refuse_bundle(path: &Path) -> Error {
    let why = format!("it looks like a bundle, but has no {INFO}");
    let rootfs = path.join("rootfs");
    let hint = format!("commit {} with --base REF", quoted(&rootfs));
    Error::failed("commit", quoted(path), why).hint(hint)
}

/// Returns the base; what made a bundle may be gone since.
fn base_image(store: &Store, manifest: &Descriptor) -> Result<crate::image::Image> {
    let image = store.view(|view| view.image(&manifest.digest))?;
    image.ok_or_else(|| {
        let why = "the image that it is to be compared with is not in this store any more";
        Error::missing("commit over", manifest.digest, why)
            .hint("import that image again, or name the store that it is in with --store")
    })
}

fn labels(args: &Commit) -> Result<Labels> {
    Ok(Labels {
        created: args.history.time()?,
        changes: args.fields.changes()?,
        history: args.history.entry("ocistore commit")?,
        unchanged: match args.history_empty {
            true => Unchanged::Noted,
            false => Unchanged::Unsaid,
        },
        platform: args.platform.clone().unwrap_or_else(host_platform),
    })
}

fn options(session: &Session, args: &Commit, scan: (Ownership, Mask)) -> Result<Options> {
    let clamp = clock::source_date_epoch()?.map(|epoch| Mtime {
        secs: i64::try_from(epoch).unwrap_or(i64::MAX),
        nanos: 0,
    });
    let (owners, mask) = scan;
    Ok(Options {
        scan: scan::Options {
            owners,
            mask,
            clamp,
        },
        extent: match args.squash {
            true => Extent::Squashed,
            false => Extent::Changes,
        },
        compression: compression(args.compress),
        jobs: std::num::NonZeroUsize::new(session.jobs()),
    })
}

fn print(session: &Session, names: &[ImageName], committed: &Committed) -> Result<()> {
    let digest = committed.manifest.digest.to_string();
    match &committed.layer {
        Some(layer) => session.note(&format!(
            "new layer: {} entries, {} as files, {} as a blob",
            layer.entries,
            output::bytes(layer.contents.iter().map(|content| content.size).sum()),
            output::bytes(layer.size),
        )),
        None => session.note("nothing changed: no new layer"),
    }
    let lines = names.iter().map(|name| format!("{name} {digest}\n"));
    let images = names
        .iter()
        .map(|name| json!({"name": name.to_string(), "digest": digest}));
    let layer = committed.layer.as_ref().map(|layer| {
        json!({
            "digest": layer.digest.to_string(), "size": layer.size, "diff_id": layer.diff_id.to_string(),
            "entries": layer.entries,
        })
    });
    Output {
        text: lines.collect(),
        json: json!({"images": images.collect::<Vec<_>>(), "layer": layer}),
        quiet: vec![digest.clone()],
    }
    .print(session)
}
