"""Datarmor."""

from __future__ import annotations

from pathlib import Path

from corral.testing import Example, SiteConformance

CLUSTERS = "https://github.com/umr-lops/dask-hpcconfig/blob/main/dask_hpcconfig/clusters.yaml"


class TestDatarmor(SiteConformance):
    site = "datarmor"
    hosts = ("datarmor", "datarmor1", "datarmor2.ifremer.fr")
    strangers = ("ftp.ifremer.fr", "mydatarmor")
    examples = (
        Example("datarmor", CLUSTERS, {"walltime": "12h"}, group="node"),
        Example("datarmor-seq", CLUSTERS, {"cores": 1, "memory": "115GB", "walltime": "12h"}),
        Example("memory-alone", CLUSTERS, {"memory": "100GB"}),
    )
    golden = Path(__file__).parent / "golden"
