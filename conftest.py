"""What every test of the workspace can use."""

from hypothesis import settings

# How long an example takes says more of the machine than of what is tested. In CI, Hypothesis itself sees to that, and
# takes the same examples each time.
settings.register_profile("patient", settings.default, deadline=None)
settings.load_profile("patient")

# Each before those that import it.
pytest_plugins = [
    "own_state",
    "corral.testing.live",
    "batch_systems",
    "lanes",
    "tried",
    "measuring",
    "pytester",
    "real_life",
    "incidents",
    "symptoms",
    "sshd",
    "terminals",
]
