"""What runs inside a job: ``PYTHON -m corral.launch OPTIONS`` turns its node into Dask workers.

Importing this package imports nothing: the launcher decides what is loaded when (see `__main__`).
"""
