//! How fast the parts of the walk are, each by itself: inflating, taking apart, merging, encoding, planning, marking,
//! comparing. `cargo bench --features bench` measures, `cargo test --features bench --bench parts` runs each once.
//!
//! What a disk does is left out as far as that goes: nothing new is written while a part is measured, but the recipe of
//! the layer that is taken apart.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench that cannot go on has failed, and what it writes is its own"
)]

mod inputs;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ocistore::compress::Compression;
use ocistore::convert::import::{Options, import};
use ocistore::convert::source::Source;
use ocistore::diff::{self, Diff};
use ocistore::digest::TreeId;
use ocistore::limits::Limits;
use ocistore::parts::{self, MemoryNodes, Packed};
use ocistore::reference::{Pick, Place};
use ocistore::store::Store;
use ocistore::store::locks::Wait;
use ocistore::tree::Node;
use ocistore::watch::Unwatched;
use tempfile::TempDir;

use inputs::{FILES, Touched, layout, pack, tar};

/// A store with an image of two layers: all files, then a few of them changed.
struct Yard {
    dir: TempDir,
    store: Store,
    layers: Vec<Packed>,
    /// The tree of the lower layer, and of both.
    roots: (TreeId, TreeId),
    nodes: MemoryNodes,
}

impl Yard {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layers: Vec<Packed> = [Touched::All, Touched::Few]
            .map(|touched| pack(&tar(touched), Compression::Gzip))
            .into();
        let source = dir.path().join("layout");
        layout(&layers, &source);
        let store = Store::create(&dir.path().join("store"), Wait::Forever).unwrap();
        store.create_catalog(|_| Ok(())).unwrap();
        let place = Place::Layout(source, Pick::All);
        let writer = store.write().unwrap();
        let source = Source::open(&place, &Limits::default(), &|| writer.scratch()).unwrap();
        let options = Options {
            jobs: 2,
            ..Options::default()
        };
        import(&writer, &source, &options, &Unwatched).unwrap();
        drop(writer);
        let (roots, nodes) = trees(&store, &layers);
        Self {
            dir,
            store,
            layers,
            roots,
            nodes,
        }
    }
}

/// Merges the layers once more, in memory, and checks that the store has the same tree.
fn trees(store: &Store, layers: &[Packed]) -> ((TreeId, TreeId), MemoryNodes) {
    let writer = store.write().unwrap();
    let mut nodes = MemoryNodes::default();
    let mut roots = Vec::new();
    for layer in layers {
        let parsed = parts::disassemble(&writer, layer, 2).unwrap();
        let (root, new) = parts::overlay(&nodes, roots.last().copied(), &parsed).unwrap();
        nodes.extend(new);
        roots.push(root);
    }
    let found = store.find("parts:1").unwrap();
    assert_eq!(store.image(&found).unwrap().root, roots[1]);
    let lower = |change: &ocistore::store::catalog::Change<'_>| change.put_nodes(nodes.rows());
    store.change_catalog(lower).unwrap();
    ((roots[0], roots[1]), nodes)
}

fn inflating(criterion: &mut Criterion) {
    let tar = tar(Touched::All);
    let mut group = criterion.benchmark_group("inflate and hash");
    group.throughput(Throughput::Bytes(tar.len() as u64));
    for compression in [Compression::Gzip, Compression::Zstd, Compression::None] {
        let layer = pack(&tar, compression);
        group.bench_function(compression.name(), |bencher| {
            bencher.iter(|| parts::inflate(black_box(&layer)).unwrap());
        });
    }
    group.finish();
}

fn taking_apart(criterion: &mut Criterion, yard: &Yard) {
    let layer = &yard.layers[0];
    let len = tar(Touched::All).len() as u64;
    let mut group = criterion.benchmark_group("disassemble");
    group.throughput(Throughput::Bytes(len));
    group.bench_function("gzip, all contents known, 2 jobs", |bencher| {
        bencher.iter_batched(
            || yard.store.write().unwrap(),
            |writer| {
                let parsed = parts::disassemble(&writer, layer, 2).unwrap();
                // Its session folder goes after the clock has stopped.
                (parsed, writer)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn merging(criterion: &mut Criterion, yard: &Yard) {
    let writer = yard.store.write().unwrap();
    let parsed: Vec<parts::Parsed> = yard
        .layers
        .iter()
        .map(|layer| parts::disassemble(&writer, layer, 2).unwrap())
        .collect();
    let mut group = criterion.benchmark_group("overlay");
    for (name, lower, layer) in [
        ("all files on nothing", None, &parsed[0]),
        ("a change of 1 % on them", Some(yard.roots.0), &parsed[1]),
    ] {
        group.throughput(Throughput::Elements(layer.0.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| parts::overlay(&yard.nodes, lower, black_box(layer)).unwrap());
        });
    }
    group.finish();
}

fn encoding(criterion: &mut Criterion, yard: &Yard) {
    let rows: Vec<&[u8]> = yard.nodes.rows().map(|(_, bytes)| bytes).collect();
    let nodes: Vec<Node> = rows.iter().map(|row| Node::decode(row).unwrap()).collect();
    let entries: usize = nodes.iter().map(|node| node.entries.len()).sum();
    let mut group = criterion.benchmark_group("tree nodes");
    group.throughput(Throughput::Elements(entries as u64));
    group.bench_function("encode, both hashes", |bencher| {
        bencher.iter(|| {
            for node in &nodes {
                black_box((TreeId::of(&node.encode()), node.shape()));
            }
        });
    });
    group.bench_function("decode, checked", |bencher| {
        bencher.iter(|| {
            for row in &rows {
                black_box((TreeId::of(row), Node::decode(row).unwrap()));
            }
        });
    });
    group.finish();
}

fn planning(criterion: &mut Criterion, yard: &Yard) {
    let writer = yard.store.write().unwrap();
    let mut group = criterion.benchmark_group("checkout plan");
    group.throughput(Throughput::Elements(FILES as u64));
    group.bench_function("hard links", |bencher| {
        bencher.iter(|| parts::plan(&writer, &yard.roots.1, yard.dir.path()).unwrap());
    });
    group.finish();
}

fn marking(criterion: &mut Criterion, yard: &Yard) {
    let collector = yard.store.collect(&Unwatched).unwrap();
    let contents = parts::mark(&collector).unwrap();
    let mut group = criterion.benchmark_group("mark");
    group.throughput(Throughput::Elements(contents));
    group.bench_function("one image", |bencher| {
        bencher.iter(|| parts::mark(&collector).unwrap());
    });
    group.finish();
}

fn comparing(criterion: &mut Criterion, yard: &Yard) {
    let count = |roots| {
        yard.store.view(|view| {
            let mut diff = Diff::new(view, roots, diff::Options::default(), &Unwatched);
            let mut changes = 0_u64;
            while diff.next_change()?.is_some() {
                changes += 1;
            }
            Ok(changes)
        })
    };
    let mut group = criterion.benchmark_group("diff");
    let (lower, upper) = yard.roots;
    let nothing = parts::overlay(&MemoryNodes::default(), None, &(Vec::new(), Vec::new())).unwrap();
    let row = (nothing.0, nothing.1[0].1.as_slice());
    yard.store
        .change_catalog(|change| change.put_nodes([(&row.0, row.1)].into_iter()))
        .unwrap();
    for (name, roots) in [
        ("2 % of the files differ", (lower, upper)),
        ("against an empty image", (nothing.0, upper)),
        ("the same image", (upper, upper)),
    ] {
        group.throughput(Throughput::Elements(count(roots).unwrap().max(1)));
        group.bench_function(name, |bencher| {
            bencher.iter(|| count(black_box(roots)).unwrap());
        });
    }
    group.finish();
}

fn all(criterion: &mut Criterion) {
    let yard = Yard::new();
    inflating(criterion);
    taking_apart(criterion, &yard);
    merging(criterion, &yard);
    encoding(criterion, &yard);
    planning(criterion, &yard);
    marking(criterion, &yard);
    comparing(criterion, &yard);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = all
}
criterion_main!(benches);
