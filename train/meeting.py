"""What several processes of torchrun meet by: a part of its store for each start.

torchrun keeps one store over all its restarts, and its count of restarts differs between machines; so processes of a
restart may read the addresses of those that died, and fail or wait for nobody (pytorch/pytorch issue 135712). Here
rank 0 opens a part of the store with a new name at each start, and every other rank takes it once rank 0 has answered.
"""

from __future__ import annotations

import os
import time
import uuid
from datetime import timedelta
from typing import Any

from torch.distributed import DistStoreError, PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # not in its __all__

PAUSE = 0.05
"""Seconds between two looks at what rank 0 announced."""


def own_store(patience: timedelta) -> dict[str, Any]:
    """Arguments of `init_process_group`: store, rank and world_size; empty unless torchrun serves the store."""
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or int(os.environ["WORLD_SIZE"]) < 2:
        return {}
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=patience)
    return {"store": meet(store, rank, size, patience), "rank": rank, "world_size": size}


def meet(store: Store, rank: int, size: int, patience: timedelta) -> Store:
    """The part of a store that only the processes of this start use.

    Raises DistStoreError if the others have not come within `patience`.
    """
    mine = uuid.uuid4().hex
    if rank == 0:
        store.set("faceset/start", mine)
        for other in range(1, size):
            store.wait([f"faceset/{mine}/here/{other}"], patience)
            store.set(f"faceset/{mine}/taken/{other}", store.get(f"faceset/{mine}/here/{other}").decode())
        return PrefixStore(f"faceset/{mine}", store)
    end = time.monotonic() + patience.total_seconds()
    while time.monotonic() < end:
        store.wait(["faceset/start"], patience)
        start = store.get("faceset/start").decode()
        store.set(f"faceset/{start}/here/{rank}", mine)
        answer = f"faceset/{start}/taken/{rank}"
        if store.check([answer]) and store.get(answer).decode() == mine:
            return PrefixStore(f"faceset/{start}", store)
        time.sleep(PAUSE)
    raise DistStoreError(f"rank {rank} waited {patience.total_seconds():.0f} s for rank 0 to start")
