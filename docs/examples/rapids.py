"""A worker for each GPU, each with a pool of its memory, and UCX between them."""

import os

from dask.distributed import Client
from dask_cuda.plugins import CUDFSetup, RMMSetup

from corral import Cluster


def pool(_: int) -> tuple[str, str]:
    """Which GPU a worker uses, and what allocates its memory."""
    import rmm

    return os.environ["CUDA_VISIBLE_DEVICES"], type(rmm.mr.get_current_device_resource()).__name__


cluster = Cluster(
    backend="slurm",
    queue="gpu",
    gpus=2,
    processes=2,
    cores=2,
    memory="600MB",
    walltime="00:10:00",
    # UCX knows no TLS: whoever reaches the ports of this cluster can use it.
    scheduler_options={"protocol": "ucxx"},
    security=False,
    # The context must be there before UCX is.
    worker_options={"preload": ["dask_cuda.initialize"], "preload_argv": ["--create-cuda-context"]},
)
cluster.scale(jobs=1)
with cluster, Client(cluster) as client:
    # Workers that come later have them, too.
    client.register_plugin(
        RMMSetup(
            initial_pool_size="200 MB",
            maximum_pool_size=None,
            managed_memory=False,
            async_alloc=False,
            release_threshold=None,
            log_directory=None,
            track_allocations=False,
            external_lib_list=None,
        )
    )
    client.register_plugin(CUDFSetup(spill=True, spill_stats=None))
    cluster.wait_for_workers(2)
    workers = client.scheduler_info()["workers"]
    print("over", sorted({address.partition(":")[0] for address in workers}))
    print("on", sorted(client.gather([client.submit(pool, 0, workers=[address], pure=False) for address in workers])))
