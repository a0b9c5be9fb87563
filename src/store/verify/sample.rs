//! Small stores for tests, made by hand through the same handles that importing uses.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::digest::{ChainId, ContentId, DiffId, Digest, TreeId};
use crate::image::{Image, ImageLayer};
use crate::meta::{Meta, Mtime};
use crate::path::Name;
use crate::recipe::ContentRef;
use crate::reference::ImageName;
use crate::store::locks::Wait;
use crate::store::{Store, Writer};
use crate::tree::{Content, Item, Kind, Leaf, Node, Subtree};
use crate::wire::{self, Descriptor};

/// A file of a layer: path and bytes.
pub(crate) type File<'a> = (&'a str, &'a [u8]);

/// A store in a folder that goes with it.
pub(crate) struct Sample {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: Store,
}

/// The metadata of every file of a sample.
pub(crate) fn meta() -> Meta {
    Meta {
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Mtime {
            secs: 1_700_000_000,
            nanos: 5,
        },
        ..Meta::default()
    }
}

impl Sample {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::create(&dir.path().join("store"), Wait::Never).unwrap();
        store.create_catalog(|_| Ok(())).unwrap();
        Self { dir, store }
    }

    /// Adds an image of these layers under a name, all of it kept and recorded; returns its record.
    pub(crate) fn image(&self, name: &str, layers: &[&[File<'_>]]) -> Image {
        let writer = self.store.write().unwrap();
        let made: Vec<ImageLayer> = layers.iter().map(|files| layer(&writer, files)).collect();
        let merged: BTreeMap<&str, &[u8]> = layers.iter().flat_map(|l| l.iter().copied()).collect();
        let mut nodes = BTreeMap::new();
        let root = tree(&merged.into_iter().collect::<Vec<_>>(), &mut nodes).id;
        let config = config_of(&made);
        let config_digest = stage(&writer, &config);
        let manifest = manifest_of(&config, &made);
        let image = Image {
            manifest: stage(&writer, &manifest),
            config: config_digest,
            layers: made,
            root,
            platform: "linux/amd64".to_owned(),
            created: String::new(),
        };
        let published = writer.publish().unwrap();
        let givens: BTreeMap<_, _> = published.objects.into_iter().collect();
        let top = ChainId::prefixes(&image.diff_ids()).pop();
        self.store
            .change_catalog(|change| {
                change.put_nodes(nodes.iter().map(|(id, bytes)| (id, bytes.as_slice())))?;
                change.put_givens(givens.iter())?;
                top.iter()
                    .try_for_each(|chain| change.put_chain(chain, &root))?;
                change.put_image(&image)
            })
            .unwrap();
        drop(writer);
        self.name(
            name,
            Descriptor::new(wire::OCI_MANIFEST, image.manifest, manifest.len() as u64),
        );
        image
    }

    /// Adds a document without a name.
    pub(crate) fn document(&self, bytes: &[u8]) -> Digest {
        let writer = self.store.write().unwrap();
        let digest = stage(&writer, bytes);
        writer.publish().unwrap();
        digest
    }

    pub(crate) fn name(&self, name: &str, descriptor: Descriptor) {
        let name = ImageName::parse(name).unwrap();
        self.store
            .change_names(|names| {
                names.set(&name, descriptor);
                Ok(())
            })
            .unwrap();
    }

    pub(crate) fn untag(&self, name: &str) {
        let name = ImageName::parse(name).unwrap();
        assert!(
            self.store
                .change_names(|names| Ok(names.remove(&name)))
                .unwrap()
        );
    }

    /// Where the object of these bytes is.
    pub(crate) fn object(&self, bytes: &[u8]) -> PathBuf {
        self.store
            .root()
            .join(self.store.object_path(&ContentId::of(bytes)))
    }

    /// Every file below one of the store's folders.
    pub(crate) fn files(&self, folder: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut waiting = vec![self.store.root().join(folder)];
        while let Some(path) = waiting.pop() {
            if path.is_dir() {
                waiting.extend(fs::read_dir(path).unwrap().map(|e| e.unwrap().path()));
            } else {
                found.push(path);
            }
        }
        found.sort();
        found
    }
}

/// JSON of a descriptor.
pub(crate) fn descriptor(media_type: &str, digest: &Digest, size: u64) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{digest}","size":{size}}}"#)
}

fn stage(writer: &Writer<'_>, bytes: &[u8]) -> Digest {
    let digest = Digest::sha256(bytes);
    writer.stage_document(&digest, bytes).unwrap();
    digest
}

/// A layer's "tar" is its names and bytes one after another: what a tar is, is not these tests' subject.
fn layer(writer: &Writer<'_>, files: &[File<'_>]) -> ImageLayer {
    let mut recipe = writer.begin_recipe().unwrap();
    let (mut tar, mut contents) = (Vec::new(), Vec::new());
    for (path, bytes) in files {
        tar.extend_from_slice(path.as_bytes());
        tar.extend_from_slice(bytes);
        recipe.literal(path.as_bytes()).unwrap();
        if !bytes.is_empty() {
            recipe.content(None).unwrap();
            let id = writer.add_object(bytes, &owned(writer)).unwrap();
            contents.push(ContentRef {
                id,
                size: bytes.len() as u64,
            });
        }
    }
    let digest = Digest::sha256(&tar);
    recipe
        .finish(
            &DiffId(digest),
            tar.len() as u64,
            files.len() as u64,
            &contents,
        )
        .unwrap();
    writer.stage_document(&digest, &tar).unwrap();
    ImageLayer {
        blob: digest,
        size: tar.len() as u64,
        diff_id: DiffId(digest),
    }
}

fn owned(writer: &Writer<'_>) -> Meta {
    writer.owners().apply(&meta())
}

fn config_of(layers: &[ImageLayer]) -> Vec<u8> {
    let ids: Vec<String> = layers
        .iter()
        .map(|l| format!("\"{}\"", l.diff_id))
        .collect();
    format!(
        r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        ids.join(",")
    )
    .into_bytes()
}

fn manifest_of(config: &[u8], layers: &[ImageLayer]) -> Vec<u8> {
    let config = descriptor(
        wire::OCI_CONFIG,
        &Digest::sha256(config),
        config.len() as u64,
    );
    let layers: Vec<String> = layers
        .iter()
        .map(|l| descriptor(wire::OCI_LAYER, &l.blob, l.size))
        .collect();
    format!(
        r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#,
        layers.join(",")
    )
    .into_bytes()
}

/// Makes the nodes of a tree out of sorted paths.
fn tree(files: &[File<'_>], nodes: &mut BTreeMap<TreeId, Vec<u8>>) -> Subtree {
    let mut below: BTreeMap<&str, Vec<File<'_>>> = BTreeMap::new();
    let mut node = Node {
        meta: Meta::implicit_dir(),
        entries: Vec::new(),
    };
    for (path, bytes) in files {
        match path.split_once('/') {
            Some((first, rest)) => below.entry(first).or_default().push((rest, bytes)),
            None => node
                .entries
                .push((Name::parse(path.as_bytes()).unwrap(), leaf(bytes))),
        }
    }
    for (name, files) in below {
        let subtree = tree(&files, nodes);
        node.entries
            .push((Name::parse(name.as_bytes()).unwrap(), Item::Dir(subtree)));
    }
    node.entries.sort_by(|a, b| a.0.cmp(&b.0));
    node.encode_into(nodes)
}

fn leaf(bytes: &[u8]) -> Item {
    let content = match bytes.len() as u64 {
        0 => Content::Empty,
        size => Content::Object {
            id: ContentId::of(bytes),
            size,
        },
    };
    Item::Leaf(Leaf {
        kind: Kind::File(content),
        meta: meta(),
        group: None,
    })
}
