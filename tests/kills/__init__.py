"""Kills runs at random moments and resumes them: `python -m tests.kills --times 100`."""
