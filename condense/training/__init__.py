"""Training of networks: loop, schedules, threads, bounded memory."""
