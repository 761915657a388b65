"""The mean of every month over many years, on jobs of several workers."""

import argparse

import dask.array as da
from dask.distributed import Client

from corral import Cluster

parser = argparse.ArgumentParser()
parser.add_argument("--interface", default="ib0")
options = parser.parse_args()

cluster = Cluster(
    backend="slurm",
    queue="batch",
    account="bio",
    cores=4,
    processes=2,
    memory="1200 MB",
    walltime="00:10:00",
    interface=options.interface,
    local_directory="/tmp",
    log_directory="dask-logs",
    extra_directives=["--comment=climate", "--no-requeue"],
    prologue=["export NUMEXPR_NUM_THREADS=1", "ulimit -c 0"],
)
cluster.scale(jobs=2)
client = Client(cluster)
client.wait_for_workers(4)

months, years = 12, 30
temperature = da.random.default_rng(1).normal(280, 10, size=(years * months, 90, 180), chunks=(36, 90, 180))
climatology = temperature.reshape(years, months, 90, 180).mean(axis=0)
print("climatology", climatology.compute().shape)

client.close()
cluster.close()
