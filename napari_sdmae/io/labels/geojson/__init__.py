"""Labels and shapes as GeoJSON, for QuPath and from any writer."""
