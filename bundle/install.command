#!/bin/sh
# macOS: a double click installs napari-sdmae into ~/napari-sdmae. Not tried by its makers.
exec sh "$(dirname "$0")/install.sh" "$@"
