"""Its entry point names this module."""
