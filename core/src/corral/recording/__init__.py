"""What a batch system really answers, written down: a small life of a few jobs, for the tests of its backend."""
