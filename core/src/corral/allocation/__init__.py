"""Batch mode: a cluster on what one job was granted, and one program started as many ranks."""
