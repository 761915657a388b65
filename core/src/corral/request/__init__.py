"""What people write, checked, and drawn as a blueprint."""
