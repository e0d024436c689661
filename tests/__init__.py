"""A package, so that `python -m tests.fuzz` finds it: a dependency installs another `tests`."""
