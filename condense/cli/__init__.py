"""Code shared by all command lines."""
