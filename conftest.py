"""What every test of the workspace can use."""

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
]
