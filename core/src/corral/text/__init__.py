"""Text as people and programs have it: what may be shown, docstrings, durations, variables."""
