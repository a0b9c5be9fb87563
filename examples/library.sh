#!/usr/bin/env bash
# The Rust examples, which use the library and not the program: what they print is what is so. As root; needs cargo.
. "$(dirname "$0")/common.sh"

cargo build --quiet --examples --manifest-path "$here/Cargo.toml"
built=$(cargo metadata --format-version 1 --no-deps --manifest-path "$here/Cargo.toml" | jq -r .target_directory)/debug/examples
sample=oci:$here/testdata/sample

# All images are listed with their digests, and of each the first files.
"$built/import_and_list" store "$sample" >listed
grep -q '^5 new layers, 5 known, ' listed || fail "it did not say what is new"
grep -q '^warning: missing-padding (1 times, ' listed || fail "it did not warn"
while read -r name digest; do
  grep -qx "$name $digest" listed || fail "$name is not listed"
done < <(ocistore images --digests --json | jq -r '.images[] | .name + " " + .digest')
awk '/^sample:1 /{here=1; next} /^[^ ]/{here=0} here' listed >files
same "$(head -1 files)" "  linux/amd64, 2 layers"
ocistore checkout --quiet sample:1 tree
same "$(awk 'NR > 1 {print $1, $2, $3}' files)" \
  "$(cd tree && find . -type f -printf '%P\n' | LC_ALL=C sort | head -5 | while read -r file; do
    stat --printf '%a %s /%n\n' "$file"
  done)"

# The differences are those that the program tells.
"$built/diff_images" store sample:1 sample:2 >differ
ocistore diff --metadata sample:1 sample:2 >told
grep -q ^A told && grep -q ^D told && grep -q ^C told || fail "the sample has not all kinds of differences"
same "$(sed '$d; s/^added   /A/; s/^deleted /D/; s/^changed /C/; s/ (\(.*\))$/\t\1/; s/, /,/g' differ)" "$(cat told)"
tail -1 differ | grep -qx '[1-9][0-9]* directories were read' || fail "it read nothing"
if "$built/diff_images" store sample:1 sample:none 2>said; then fail "it compared with nothing"; fi
same "$(wc -l <said)" 1

# The image has what is in the directory and says what to run; the layout has it under its tag. Both times alike.
for store in first second; do
  "$built/build_image" $store tree app:1 $store-layout /bin/hello >built
  grep -q "^app:1 sha256:" built || fail "it has no digest"
  OCISTORE_STORE=$store ocistore inspect --raw app:1 | sha256sum >$store-digest
done
same "$(cat second-digest)" "$(cat first-digest)"
OCISTORE_STORE=first ocistore checkout --quiet app:1 again
"$here/tests/corpus/same-tree" tree again || fail "the image is not the directory"
ocistore import --quiet --name app:exported oci:first-layout:1 >/dev/null
same "$(ocistore inspect --config app:exported | jq -c '[.config.Entrypoint, (.rootfs.diff_ids | length)]')" \
  '[["/bin/hello"],1]'
same "$(ocistore inspect --config app:exported | jq -c '[.history[].comment]')" '["a directory","its program"]'
OCISTORE_STORE=$place/first ocistore fsck >/dev/null
echo "library: $(tail -1 differ), sha256:$(cut -d' ' -f1 first-digest)"
