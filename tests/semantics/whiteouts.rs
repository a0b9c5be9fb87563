//! The table "Whiteouts" (image-spec layer.md, "Whiteouts").

use crate::tarball::Tar;
use crate::world::accepts;

fn lower() -> Tar {
    Tar::new().dir("d").file("d/x", "lower x").file("d/y", "y")
}

#[test]
fn a_whiteout_and_the_same_name_in_one_layer_in_either_order_replace_the_lower_file() {
    let before = Tar::new().file("d/.wh.x", "").file("d/x", "upper x");
    let after = Tar::new().file("d/x", "upper x").file("d/.wh.x", "");
    for upper in [before, after] {
        accepts([lower(), upper])
            .tree(&["d/", "d/x=upper x", "d/y=y"])
            .warns(&[]);
    }
}
