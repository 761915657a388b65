"""One task for each GPU at a time, on jobs with one GPU each."""

import os

from dask.distributed import Client

from corral import Cluster


def infer(batch: int) -> tuple[int, str]:
    """Stand in for a model: which device it would have used."""
    return batch, os.environ["CUDA_VISIBLE_DEVICES"]


cluster = Cluster(
    backend="slurm",
    name="inference",
    queue="gpu",
    cores=2,
    processes=1,
    memory="500MB",
    walltime="00:10:00",
    extra_directives=["--gres=gpu:1"],
    skip_directives=["--mem"],
    worker_options={"resources": {"GPU": 1}},
)
cluster.adapt(minimum_jobs=1, maximum_jobs=2)
client = Client(cluster)

futures = [client.submit(infer, batch, resources={"GPU": 1}) for batch in range(8)]
devices = dict(client.gather(futures))
print("inferred", sorted(devices), "on", min(devices.values()))

client.close()
cluster.close()
