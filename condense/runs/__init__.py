"""Run folders: files, checkpoints, CSV history, progress bar, cache."""
