"""The warm process behind the docks: its protocol (no torch), its handlers, and what it keeps in memory."""
