"""The operating system: memory, threads, signals, streams."""
