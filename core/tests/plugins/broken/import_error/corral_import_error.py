"""Needs what is not there."""

import no_such_library_of_the_batch_system  # noqa: F401
