#!/usr/bin/env bash
# Back and forth with buildah: an image of the store becomes a container of buildah's, is changed there, and comes back.
# As root; needs buildah.
. "$(dirname "$0")/common.sh"

storage=(--root "$place/buildah" --runroot "$place/buildah-run" --storage-driver vfs)
b() { buildah "${storage[@]}" "$@"; }

ocistore import --quiet oci:"$here/testdata/sample:1" 2>/dev/null
ocistore export --quiet sample:1 oci:layout:1 >/dev/null

container=$(b from oci:"$place/layout:1")
mounted=$(b mount "$container")
echo 'by buildah' >"$mounted/etc/motd"
b umount "$container" >/dev/null
b config --label step=buildah "$container"
b commit --quiet --format oci "$container" oci:"$place/layout:buildah" >/dev/null
b rm "$container" >/dev/null

ocistore import --quiet --name sample:buildah oci:"$place/layout:buildah" >/dev/null
ocistore diff sample:1 sample:buildah | tee changes
grep -q '^C.*etc/motd$' changes || fail "buildah's change did not arrive"

# On from there, and once more to buildah.
ocistore unpack --quiet sample:buildah bundle >/dev/null
same "$(cat bundle/rootfs/etc/motd)" "by buildah"
echo 'by both' >bundle/rootfs/etc/motd
ocistore commit --quiet bundle sample:both >/dev/null
ocistore export --quiet sample:both oci:layout:both >/dev/null
container=$(b from oci:"$place/layout:both")
same "$(cat "$(b mount "$container")/etc/motd")" "by both"
b umount "$container" >/dev/null
b rm "$container" >/dev/null
ocistore fsck >/dev/null
echo "buildah: there and back"
