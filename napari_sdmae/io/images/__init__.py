"""Pictures and their scale: files of any kind as 8-bit RGB, whole, in bands or in blocks. No torch."""
