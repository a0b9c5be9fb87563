#!/usr/bin/env bash
# A build in two stages: the first has the tools, the second only what they made. As root.
. "$(dirname "$0")/common.sh"

ocistore import --quiet oci:"$here/testdata/sample" >/dev/null 2>&1

# The first stage makes something, with all that its image has.
ocistore unpack --quiet sample:1 builder >/dev/null
mkdir builder/rootfs/out
chroot builder/rootfs /bin/hello >builder/rootfs/out/greeting
ocistore commit --quiet builder build:stage >/dev/null

# The second takes what was made out of the first one's image, and nothing else of it.
ocistore checkout --quiet --link copy --path out build:stage made >/dev/null
ocistore unpack --quiet sample:2 final >/dev/null
install -D -m 644 made/greeting final/rootfs/usr/share/greeting
ocistore commit --quiet final app:1 --message 'the greeting that the first stage made' >/dev/null

ocistore checkout --quiet app:1 tree >/dev/null
same "$(cat tree/usr/share/greeting)" "Hello from the sample image."
[ ! -e tree/out ] || fail "the first stage's folder is in the result"

# The first stage goes, and takes what only it had along; the result stays.
ocistore untag build:stage >/dev/null
ocistore gc >/dev/null
ocistore fsck >/dev/null
ocistore checkout --quiet app:1 after >/dev/null
same "$(cat after/usr/share/greeting)" "Hello from the sample image."
digest=$(ocistore inspect --raw app:1 | sha256sum | cut -d" " -f1)
echo "multi-stage: sha256:$digest"
