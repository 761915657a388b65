"""A Dask cluster whose workers are jobs, and what of it other processes see."""
