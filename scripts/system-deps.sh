#!/bin/sh
# Debian packages that the tests use as independent readers and browsers. Never called by npm.
set -eu
packages='dcmtk dicom3tools pixelmed-apps python3-pydicom openssl chromium xmlsec1 libxml2-utils postgresql-15'
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "As root on Debian: apt-get install -y --no-install-recommends $packages" >&2
  exit 0
fi
apt-get -qq -o DPkg::Lock::Timeout=300 update
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 install -y --no-install-recommends $packages >/dev/null
