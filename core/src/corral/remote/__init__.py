"""A cluster whose scheduler lives in a job of its own, and its face in other processes."""
