"""What every test of the workspace can use."""

pytest_plugins = ["batch_systems", "pytester", "real_life"]
