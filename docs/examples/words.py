"""How often each word is in a text, by a bag, on Grid Engine."""

import dask.bag as db
from dask.distributed import Client

from corral import Cluster

TEXT = ["to be or not to be", "that is the question"] * 500

cluster = Cluster(
    backend="sge",
    queue="all.q",
    cores=2,
    processes=1,
    memory="800 MB",
    walltime="00:10:00",
    local_directory="$TMP",
    extra_directives=["-l mem_free=400M", "-pe smp 2", "-cwd"],
    prologue=["export LC_ALL=C.UTF-8"],
)
client = Client(cluster)
cluster.scale(jobs=2)

counts = dict(db.from_sequence(TEXT, npartitions=20).map(str.split).flatten().frequencies().compute())
print("words", counts["be"], counts["question"])

client.close()
cluster.close()
