"""What napari gets besides the dock widgets: sample tissue, readers and writers (napari.yaml)."""
