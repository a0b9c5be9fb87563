//! Owns what is mended of kept layers, documents and recipes.

use std::fs;
use std::path::Path;

use crate::harm::{Damage, HARMS, flip, open};
use crate::place::{NAMES, Place, kinds_of, only, sample};

#[test]
fn a_damaged_kept_layer_is_mended_from_a_source_alone() {
    let harms: [Damage; 2] = [flip, |path| open(path).set_len(9).unwrap()];
    for harm in harms {
        let place = Place::with_sample();
        harm(&place.blob(&place.layer("sample:1", 0)));
        let left = place.fsck(&["--repair"], 3);
        assert_eq!(kinds_of(&left["unmended"]), ["blob_damaged"]);
        // Its files are all there.
        place.checks_out("sample:1");
        let from = only(&place.repair(&["--from", &sample()]), "blob_damaged");
        assert!(from.contains("sample"), "{from}");
        place.is_as_new(&NAMES);
    }
}

#[test]
fn contents_come_out_of_a_layer_that_is_damaged_further_on() {
    let place = Place::new(&[&format!("oci:{}:1", sample())]);
    let blob = place.blob(&place.layer("sample:1", 0));
    // A gzip stream that is cut off gives what came before.
    let len = fs::metadata(&blob).unwrap().len();
    open(&blob).set_len(len - 20).unwrap();
    flip(&place.object("bin/hello"));
    let value = place.fsck(&["--repair"], 3);
    assert_eq!(kinds_of(&value["repairs"]), ["flipped"]);
    assert_eq!(kinds_of(&value["unmended"]), ["blob_damaged"]);
}

#[test]
fn a_plain_layer_that_is_kept_is_put_together_from_recipe_and_contents() {
    let place = Place::plain();
    let digest = place.layer("sample:plain", 0);
    fs::create_dir_all(place.blob(&digest).parent().unwrap()).unwrap();
    fs::write(place.blob(&digest), b"not a tar").unwrap();
    let repairs = place.repair(&[]);
    let from = only(&repairs, "blob_damaged");
    assert_eq!(from, "the recipe and the contents of the layer");
    let original = Path::new(&sample())
        .join("blobs")
        .join(digest.replace(':', "/"));
    assert!(fs::read(place.blob(&digest)).unwrap() == fs::read(original).unwrap());
    place.is_as_new(&["sample:plain"]);
}

#[test]
fn documents_are_mended_from_a_source() {
    let manifest = |place: &Place| {
        let digest = &place.documents("sample:1")["descriptor"]["digest"];
        digest.as_str().unwrap().to_owned()
    };
    let config = |place: &Place| {
        let digest = &place.documents("sample:1")["manifest"]["config"]["digest"];
        digest.as_str().unwrap().to_owned()
    };
    let index = |place: &Place| {
        let digest = &place.documents("sample:multi")["descriptor"]["digest"];
        digest.as_str().unwrap().to_owned()
    };
    let which: [&dyn Fn(&Place) -> String; 3] = [&manifest, &config, &index];
    for document in which {
        let place = Place::with_sample();
        let blob = place.blob(&document(&place));
        let good = fs::read(&blob).unwrap();
        for (what, kind, harm) in HARMS {
            harm(&blob);
            let kind = match kind {
                "missing" => "blob_missing",
                _ => "blob_damaged",
            };
            assert_eq!(place.kinds(&[]), [kind], "{what}");
            assert_eq!(place.kinds(&["--quick"]), [kind], "{what}");
            let left = place.fsck(&["--repair"], 3);
            assert_eq!(kinds_of(&left["unmended"]), [kind], "{what}");
            only(&place.repair(&["--from", &sample()]), kind);
            assert!(fs::read(&blob).unwrap() == good, "{what}");
            place.fsck(&[], 0);
        }
        place.is_as_new(&NAMES);
    }
}

#[test]
fn a_recipe_is_made_again_from_the_kept_layer() {
    let place = Place::with_sample();
    let recipe = place.recipe(&place.diff_id("sample:1", 0));
    for (what, kind, harm) in HARMS {
        harm(&recipe);
        let kind = match kind {
            "missing" => "recipe_missing",
            _ => "recipe_damaged",
        };
        let from = only(&place.repair(&[]), kind);
        assert!(from.starts_with("the kept layer sha256:"), "{what}: {from}");
        place.is_as_new(&NAMES);
    }
}

#[test]
fn a_recipe_of_a_layer_that_is_not_kept_is_made_again_from_a_source() {
    let place = Place::plain();
    let recipe = place.recipe(&place.diff_id("sample:plain", 0));
    for (what, kind, harm) in HARMS {
        harm(&recipe);
        let kind = match kind {
            "missing" => "recipe_missing",
            _ => "recipe_damaged",
        };
        let left = place.fsck(&["--repair"], 3);
        assert_eq!(kinds_of(&left["unmended"]), [kind], "{what}");
        // The trees are in the catalog, and the objects are there: it can be checked out all the same.
        place.checks_out("sample:plain");
        let source = format!("oci:{}:1", sample());
        only(&place.repair(&["--from", &source]), kind);
        place.is_as_new(&["sample:plain"]);
    }
}
