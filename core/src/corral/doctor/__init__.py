"""Looks at all that a cluster depends on, before there is one: ``corral doctor``."""
