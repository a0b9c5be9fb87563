# Owns what every example begins with: a place that goes away, a store in it, the program, and stopping at the first error.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ocistore=$(command -v "${OCISTORE:-$here/target/release/ocistore}") || {
  echo "no ocistore: cargo build --release, or name it in OCISTORE" >&2
  exit 1
}
# buildah takes a path for a name, which has to be in small letters.
place=${TMPDIR:-/tmp}/ocistore-example-$$
mkdir -m 700 "$place"
export OCISTORE_STORE=$place/store
trap 'rm -rf "$place"' EXIT
cd "$place"

ocistore() { "$ocistore" "$@"; }

# Says what goes wrong, and stops.
fail() {
  echo "not as it should be: $*" >&2
  exit 1
}

# Checks that two texts are the same.
same() { [ "$1" = "$2" ] || fail "expected '$2', got '$1'"; }

# Runs a bundle as its config says, with a terminal; prints what the container printed.
run_bundle() {
  script -qec "runc --root '$place/runc' run -b '$1' ocistore-example-$$" /dev/null </dev/null | tr -d '\r'
}
