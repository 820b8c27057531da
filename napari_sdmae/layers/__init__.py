"""Results as napari layers, in NumPy alone: position, name and provenance are decided here, the viewer is not needed."""
