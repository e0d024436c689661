"""Architecture search on proxy sets."""
