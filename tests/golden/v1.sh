#!/bin/bash
# tests/golden/v1.sh BUILD-DIRECTORY: writes tests/golden/v1 anew.  Only before a format is released, or when
# it is extended: what is there must stay readable for ever, so that a released one only gets company.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$1" && pwd)
cd "$top"
rm -rf tests/golden/v1
"$build/tests/make_repositories" "$top/tests/golden/v1"
cd tests/golden/v1
find . -type d -empty -delete
find . -type d -exec chmod 755 {} +
find . -type f -exec chmod 644 {} +
find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort | xargs sha256sum >SHA256SUMS
