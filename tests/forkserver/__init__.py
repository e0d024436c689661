"""Command lines run in forks of a process that has imported what is slow; Linux alone."""
