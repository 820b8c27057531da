"""Which process works in a run folder, and who may take it over. No torch."""
