#!/usr/bin/env bash
# A build that make drives, twice, in two stores: both have one digest, since nothing in it is of the machine or the hour.
# As root; needs make.
. "$(dirname "$0")/common.sh"

cat >Makefile <<'MAKE'
# The time of the sources, not of the build.
export SOURCE_DATE_EPOCH = 1700000000
export OCISTORE_STORE = $(OUT)/store

$(OUT)/digest: hello.txt
	mkdir -p $(OUT)
	$(OCISTORE) import --quiet oci:$(HERE)/testdata/sample:1 >/dev/null 2>&1
	$(OCISTORE) unpack --quiet sample:1 $(OUT)/bundle >/dev/null
	install -D -m 644 hello.txt $(OUT)/bundle/rootfs/usr/share/hello/hello.txt
	$(OCISTORE) commit --quiet $(OUT)/bundle app:1 --created-by make --config cmd=/bin/hello >/dev/null
	$(OCISTORE) inspect --raw app:1 | sha256sum | cut -d' ' -f1 >$@
MAKE
echo 'made by make' >hello.txt

for build in first second; do
  make --no-print-directory --silent OUT="$place/$build" OCISTORE="$ocistore" HERE="$here" "$place/$build/digest"
  echo "$build build: sha256:$(cat $build/digest)"
  # Another hour, and other times of files.
  sleep 1.1
  touch hello.txt
done
same "$(cat second/digest)" "$(cat first/digest)"
OCISTORE_STORE=$place/first/store ocistore inspect --config app:1 | grep -q '2023-11-14T22:13:20Z' ||
  fail "it does not say when its sources were made"
echo "reproducible: both are sha256:$(cat first/digest)"
