"""One batch system, as the core talks to it."""
