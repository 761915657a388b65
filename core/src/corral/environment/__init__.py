"""What follows a program to its jobs: the search path, Dask's configuration, variables."""
