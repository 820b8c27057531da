"""A campaign of faults: bad files, killed processes, full disks, clocks that jump; ``make faults`` runs all of it (CONTRIBUTING.md)."""
