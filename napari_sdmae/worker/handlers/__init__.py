"""One module for each group of requests; each loads torch only if it computes."""
