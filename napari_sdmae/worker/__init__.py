"""The warm process behind the docks: what can be asked of it (no torch), what it remembers, and who answers."""
