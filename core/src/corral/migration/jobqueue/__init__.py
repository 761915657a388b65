"""dask-jobqueue: what a call of one of its classes is in corral's words. Pure."""
