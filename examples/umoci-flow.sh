#!/usr/bin/env bash
# The loop of umoci: take an image in, unpack it, change its files with any tool, commit, run what came of it, give it to
# others. As root; needs runc and skopeo.
. "$(dirname "$0")/common.sh"

ocistore import --quiet oci:"$here/testdata/sample:1" 2>/dev/null
ocistore unpack sample:1 bundle

# What a package manager would do in a chroot.
chroot bundle/rootfs /bin/hello
echo 'Welcome.' >bundle/rootfs/etc/motd
rm -r bundle/rootfs/usr/share/games
mkdir bundle/rootfs/srv/data

ocistore commit bundle sample:changed --message 'a word of welcome' --config label=step=1
ocistore diff sample:1 sample:changed | tee changes
grep -q '^C.*etc/motd$' changes || fail "the message of the day did not change"
grep -q '^D.*usr/share/games' changes || fail "the games are still there"
grep -q '^A.*srv/data' changes || fail "there is no folder for data"

# What is in the image is what was in the bundle.
ocistore checkout --quiet sample:changed tree
"$here/tests/corpus/same-tree" bundle/rootfs tree || fail "the image is not what was committed"

# It runs.
ocistore unpack sample:changed again
run_bundle again | grep -q 'Hello from the sample image' || fail "it says nothing"

# Others read it, and the digest is the same on the way back.
ocistore export sample:changed oci:layout:changed
skopeo inspect oci:layout:changed >/dev/null
digest=$(ocistore inspect --raw sample:changed | sha256sum | cut -d' ' -f1)
same "$(skopeo inspect --format '{{.Digest}}' oci:layout:changed)" "sha256:$digest"
ocistore fsck >/dev/null
echo "umoci-flow: sha256:$digest"
