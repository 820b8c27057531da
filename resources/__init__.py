"""Files shipped with napari-sdmae: presets, sample tissue, icons."""
