"""Files: images, models, and writing that survives a crash."""
