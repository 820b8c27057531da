"""One module for each group of questions; each loads torch only if it computes."""
