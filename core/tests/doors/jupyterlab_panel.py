"""What dask-labextension's server does when people press its buttons: its real code, configured by Dask's files."""

from __future__ import annotations

import asyncio
import json
from typing import Any


async def press() -> list[Any]:
    """New, scale, adapt, list, shut down."""
    from dask_labextension.manager import DaskClusterManager

    seen = []
    async with DaskClusterManager() as panel:
        seen.append(await panel.start_cluster("one"))
        await panel.scale_cluster("one", 2)
        while (now := panel.get_cluster("one"))["workers"] != 2:  # noqa: ASYNC110 - the panel polls
            await asyncio.sleep(0.05)
        seen += [now, panel.adapt_cluster("one", 1, 3), panel.list_clusters()[0]]
        seen.append(await panel.close_cluster("one"))
    return seen


if __name__ == "__main__":
    # JavaScript knows neither NaN nor Infinity.
    print(json.dumps(asyncio.run(press()), allow_nan=False))
