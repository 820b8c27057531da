"""Where and in which arithmetic models compute, and what several processes share. Needs torch."""
