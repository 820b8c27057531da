#!/bin/sh
# Unpacks a bundle, installs it and opens napari with every dock, all without a network:   sh bundle/try_bundle.sh ZIP PICTURE
# PICTURE (png) is what the screen showed. Needs Linux, Xvfb, and leave to make a network namespace (unshare).
set -eu
zip=$(realpath "$1") picture=$(realpath "$2") here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m zipfile -e "$zip" "$folder"
cd "$folder"/napari-sdmae-*
export HOME="$folder/home"
mkdir "$HOME"
unshare --map-root-user --net sh -euc '
  ip link set lo up 2>/dev/null || true
  if python3 -c "import socket; socket.create_connection((\"192.0.2.1\", 443), 3)" 2>/dev/null; then echo "there is a network" >&2; exit 1; fi
  sh install.sh "$HOME/napari-sdmae"
  du -sh "$HOME/napari-sdmae"
  "$HOME/napari-sdmae/bin/sdmae" doctor
  xvfb-run -a -s "-screen 0 1366x768x24" "$HOME/napari-sdmae/bin/python" "$1" "$2"
' sh "$here/open_docks.py" "$picture"
