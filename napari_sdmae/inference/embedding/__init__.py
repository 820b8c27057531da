"""Features of the tiles of pictures, for tables, clustering and retrieval."""
