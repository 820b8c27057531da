"""Where and in which arithmetic models compute, and what several processes share. All but `info` need torch."""
