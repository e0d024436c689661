"""A condensed set as files for other programs."""
