"""The dock widgets: forms, plots and layers; nothing here computes, and nothing imports torch."""
