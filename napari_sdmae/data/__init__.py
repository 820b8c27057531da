"""From files to samples: images and tiles (no torch), batches (torch)."""
