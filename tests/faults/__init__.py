"""A campaign of faults: bad files, killed processes, full disks, clocks that jump. CONTRIBUTING.md tells how it is run."""
