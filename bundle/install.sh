#!/bin/sh
# Installs napari-sdmae from this folder, without the internet:   sh install.sh [FOLDER]
# FOLDER (default: ~/napari-sdmae) gets a virtual environment. PYTHON=/path/to/python chooses the Python.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=${1:-"$HOME/napari-sdmae"}
version=$(cat "$here/python-version.txt")
python=${PYTHON:-python$version}

if [ "$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" != "$version" ]; then
  echo "This bundle holds packages for Python $version, and $python is not that. Install Python $version, or set PYTHON." >&2
  exit 1
fi
if [ -e "$target" ]; then
  echo "$target exists already. Name another folder: sh install.sh FOLDER" >&2
  exit 1
fi

echo "Checking the files"
cd "$here"
if command -v sha256sum >/dev/null; then
  sha256sum --check --quiet checksums.txt
else
  shasum -a 256 --check --quiet checksums.txt
fi

echo "Installing into $target (minutes)"
"$python" -m venv "$target"
# Neither the machine's settings of pip nor its variables may lead to the internet.
PIP_CONFIG_FILE=/dev/null "$target/bin/python" -m pip --isolated install --quiet --no-index --find-links "$here/wheels" "napari-sdmae[all]"
echo "Ready. Start it with:   $target/bin/napari"
