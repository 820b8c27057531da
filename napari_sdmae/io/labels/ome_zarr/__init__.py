"""Labels as OME-Zarr (NGFF)."""
