"""What the two docks that train share: the run's pages and what watches it."""
