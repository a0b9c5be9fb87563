//! The table "Manifests": documents as JSON, strict where readers differ, kept as bytes where nobody knows a field.

use std::fs;

use serde_json::{Value, json};

use crate::layout::{CONFIG, INDEX, LAYER, Layer, Layout, MANIFEST, config, manifest};
use crate::tarball::Tar;
use crate::world::{World, quickly};

fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().unwrap()
}

fn layer() -> Layer {
    Layer::from(Tar::new().file("f", "f"))
}

/// An image's documents as texts.
struct Texts {
    config: String,
    manifest: String,
}

/// Makes an image whose texts are what `change` makes of them, each named by its digest.
fn image(layout: &Layout, change: impl Fn(&str, String) -> String) -> Texts {
    let layer = layer();
    let config = change("config", config(std::slice::from_ref(&layer)).to_string());
    let config_blob = layout.blob(CONFIG, config.as_bytes());
    let blob = layout.blob(LAYER, &layer.blob);
    let manifest = manifest(&config_blob, &[blob]).to_string();
    let manifest = change("manifest", manifest);
    let image = layout.blob(MANIFEST, manifest.as_bytes());
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [image]});
    let index = change("index", index.to_string());
    layout.raw_index(&index);
    Texts { config, manifest }
}

/// A change of one document's text, made in each of the three, is refused; the error names the document.
#[track_caller]
fn refused_everywhere(why: &str, change: impl Fn(String) -> String) {
    for which in ["config", "manifest", "index"] {
        let world = World::new();
        let layout = world.layout();
        let texts = image(
            &layout,
            |name, text| {
                if name == which { change(text) } else { text }
            },
        );
        let named = |text: &str| crate::layout::descriptor("", text.as_bytes())["digest"].clone();
        let name = match which {
            "config" => named(&texts.config),
            "manifest" => named(&texts.manifest),
            _ => "index.json".into(),
        };
        world.refuses(&layout.source(), 4, &[name.as_str().unwrap(), why]);
    }
}

#[track_caller]
fn accepted_everywhere(change: impl Fn(String) -> String) {
    for which in ["config", "manifest", "index"] {
        let world = World::new();
        let layout = world.layout();
        image(
            &layout,
            |name, text| {
                if name == which { change(text) } else { text }
            },
        );
        world.accepts_layout(&layout, &[]).tree(&["f=f"]).warns(&[]);
    }
}

/// Puts a member in front of an object's others.
fn with(member: &str) -> impl Fn(String) -> String + use<> {
    let begin = format!("{{{member},");
    move |text| text.replacen('{', &begin, 1)
}

#[test]
fn json_with_a_key_twice_is_refused() {
    refused_everywhere("the key 'x' twice", with(r#""x":1,"x":1"#));
    refused_everywhere("the key 'x' twice", with(r#""x":1,"\u0078":2"#));
    refused_everywhere("twice", with(r#""deep":[{"a\nb":{},"a\nb":{}}]"#));
    // Readers that take the first and readers that take the last see two images.
    for key in ["config", "layers", "mediaType"] {
        let world = World::new();
        let layout = world.layout();
        image(&layout, |name, text| match name {
            "manifest" => with(&format!(r#""{key}":null"#))(text),
            _ => text,
        });
        world.refuses(&layout.source(), 4, &[&format!("the key '{key}' twice")]);
    }
}

#[test]
fn keys_that_differ_in_case_are_two_keys() {
    // Some readers take `Layers` for `layers`; here it is a field nobody knows.
    accepted_everywhere(with(
        r#""Layers":[],"Manifests":[],"ROOTFS":7,"Config":null"#,
    ));
}

#[test]
fn json_with_a_byte_order_mark_is_refused() {
    refused_everywhere("a byte order mark", |text| format!("\u{feff}{text}"));
}

#[test]
fn json_over_128_levels_deep_is_refused() {
    let deep = |levels: usize| {
        let array = "[".repeat(levels) + &"]".repeat(levels);
        with(&format!(r#""x":{array}"#))
    };
    // The document itself is a level.
    accepted_everywhere(deep(127));
    refused_everywhere("more than 128 levels", deep(128));
    // A million brackets are no deeper a stack.
    refused_everywhere("more than 128 levels", |_| "[".repeat(1 << 20));
    refused_everywhere("more than 128 levels", |_| r#"{"a":"#.repeat(1 << 19));
}

#[test]
fn what_is_no_json_is_refused() {
    refused_everywhere("malformed JSON", |_| String::new());
    refused_everywhere("malformed JSON", |text| text + "x");
    refused_everywhere("malformed JSON", |text| text + "{}");
    refused_everywhere("malformed JSON", |text| text.replacen('{', "{,", 1));
    refused_everywhere("malformed JSON", |text| text[..text.len() - 1].to_owned());
    refused_everywhere("malformed JSON", |_| "NaN".to_owned());
    refused_everywhere("malformed JSON", with(r#""x":"\ud800""#));
}

#[test]
fn json_of_another_kind_than_an_object_is_refused() {
    for other in ["null", "[]", "7", "\"text\""] {
        refused_everywhere("", |_| other.to_owned());
    }
}

#[test]
fn numbers_that_no_size_can_be_are_refused() {
    let sizes = [
        "-1",
        "1.5",
        "1e3",
        "18446744073709551616",
        "null",
        "\"5\"",
        "[5]",
    ];
    for size in sizes {
        for which in ["manifest", "index"] {
            let world = World::new();
            let layout = world.layout();
            image(&layout, |name, text| match name == which {
                true => {
                    let at = text.find("\"size\":").unwrap() + 7;
                    let end = at + text[at..].find([',', '}']).unwrap();
                    format!("{}{size}{}", &text[..at], &text[end..])
                }
                false => text,
            });
            world.refuses(&layout.source(), 4, &["malformed descriptor of sha256:"]);
        }
    }
}

#[test]
fn a_size_beyond_all_measure_is_no_reason_to_allocate() {
    for size in [1_u64 << 63, u64::MAX, 5 << 20] {
        let world = World::of_mib(256);
        let layout = world.layout();
        let mut image = layout.image(&[layer()]);
        image["size"] = size.into();
        layout.index(&[image.clone()]);
        quickly(|| world.refuses(&layout.source(), 3, &[digest(&image)]));
        let mut blob = layout.blob(LAYER, &layer().blob);
        blob["size"] = size.into();
        let config = layout.document(CONFIG, &config(&[layer()]));
        layout.index(&[layout.document(MANIFEST, &manifest(&config, &[blob.clone()]))]);
        quickly(|| world.refuses(&layout.source(), 3, &[digest(&blob)]));
    }
}

#[test]
fn a_number_that_no_float_can_be_is_refused() {
    refused_everywhere("malformed JSON", with(r#""x":1e400"#));
}

#[test]
fn fields_and_annotations_nobody_knows_are_kept_byte_for_byte() {
    accepted_everywhere(with(
        r#""x":[1e300,-0.0,1.10,18446744073709551615,null,true,"\u00e9\/",{"":[ ]}]"#,
    ));
    accepted_everywhere(with(
        r#""annotations":{"":"","org.opencontainers.image.title":"../../etc/passwd","é":"\u001b[2J"}"#,
    ));
    accepted_everywhere(|text| format!(" \t\r\n{}\n\n", text.replace(',', " ,\n\t")));
}

#[test]
fn a_media_type_inside_that_is_not_its_descriptors_is_refused() {
    for inside in [json!(INDEX), json!(""), json!(7), Value::Null] {
        let world = World::new();
        let layout = world.layout();
        image(&layout, |name, text| match name {
            "manifest" => text.replace(&json!(MANIFEST).to_string(), &inside.to_string()),
            _ => text,
        });
        world.refuses(&layout.source(), 4, &["expected mediaType"]);
    }
}

#[test]
fn a_manifest_without_a_media_type_inside_is_what_its_descriptor_says() {
    let world = World::new();
    let layout = world.layout();
    image(&layout, |_, text| {
        text.replace(
            &format!(r#""mediaType":"{MANIFEST}","config""#),
            r#""config""#,
        )
        .replace(&format!(r#""mediaType":"{INDEX}","#), "")
    });
    world.accepts_layout(&layout, &[]).tree(&["f=f"]).warns(&[]);
}

#[test]
fn a_document_with_both_layers_and_manifests_is_refused() {
    for (which, member) in [
        ("manifest", r#""manifests":[]"#),
        ("index", r#""layers":[]"#),
    ] {
        let world = World::new();
        let layout = world.layout();
        image(&layout, |name, text| {
            if name == which {
                with(member)(text)
            } else {
                text
            }
        });
        world.refuses(
            &layout.source(),
            4,
            &["a document with both 'layers' and 'manifests'"],
        );
    }
}

#[test]
fn an_index_that_is_named_a_manifest_is_refused_and_the_other_way_round() {
    let world = World::new();
    let layout = world.layout();
    let mut image = layout.image(&[layer()]);
    let mut index = layout.nested(&[image.clone()]);
    index["mediaType"] = MANIFEST.into();
    image["mediaType"] = INDEX.into();
    for wrong in [index, image] {
        layout.index(std::slice::from_ref(&wrong));
        world.refuses(&layout.source(), 4, &[digest(&wrong), "expected mediaType"]);
    }
}

#[test]
fn parts_of_another_kind_are_refused() {
    for (from, to) in [
        (r#""layers":["#, r#""layers":{"x":["#),
        (r#""layers":["#, r#""layers":[null,"#),
        (r#""config":{"#, r#""config":[{"#),
        (r#""schemaVersion":2"#, r#""schemaVersion":1"#),
        (r#""config":{"#, r#""other":{"#),
    ] {
        let world = World::new();
        let layout = world.layout();
        image(&layout, |name, text| {
            let changed = text.replacen(from, to, 1);
            match name {
                "manifest" if to.contains("{\"x\":[") => changed.replace("]}", "]}}"),
                "manifest" if to.contains(":[{") => changed.replace("},\"layers", "}],\"layers"),
                "manifest" => changed,
                _ => text,
            }
        });
        world.refuses(&layout.source(), 4, &["sha256:"]);
    }
}

#[test]
fn a_document_of_4_mib_is_read_and_a_larger_one_refused() {
    let padded = |len: usize| move |text: String| format!("{text}{}", " ".repeat(len - text.len()));
    accepted_everywhere(padded(4 << 20));
    for which in ["config", "manifest", "index"] {
        let world = World::new();
        let layout = world.layout();
        image(&layout, |name, text| {
            if name == which {
                padded((4 << 20) + 1)(text)
            } else {
                text
            }
        });
        world.refuses(&layout.source(), 4, &["4194304"]);
    }
}

#[test]
fn a_layout_file_that_grows_for_ever_is_not_read_for_ever() {
    let world = World::of_mib(256);
    let layout = world.layout();
    image(&layout, |_, text| text);
    for name in ["oci-layout", "index.json"] {
        let path = layout.path.join(name);
        let good = fs::read(&path).unwrap();
        // A hole of a terabyte.
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        let (code, said) = quickly(|| world.fails(&["import", &layout.source()]));
        assert_eq!(code, 4, "{said}");
        assert!(said.contains(name) && said.contains("4194304"), "{said}");
        fs::write(&path, good).unwrap();
    }
}
