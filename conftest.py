"""What every test of the workspace can use."""

pytest_plugins = ["batch_systems", "measuring", "pytester", "real_life"]
