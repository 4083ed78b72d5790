"""Processes that torchrun starts again do not take what an earlier start left in its store."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import DistStoreError, HashStore, Store

from train.meeting import meet, own_store

SOON = timedelta(seconds=20)


def started(store: Store, size: int, late: float = 0.0) -> list[Store]:
    """One part per rank; rank 0 comes `late` seconds after the others."""
    with ThreadPoolExecutor(size) as pool:
        others = [pool.submit(meet, store, rank, size, SOON) for rank in range(1, size)]
        time.sleep(late)
        first = pool.submit(meet, store, 0, size, SOON)
        return [first.result(), *(other.result() for other in others)]


def test_a_later_start_reads_nothing_of_an_earlier_one() -> None:
    store = HashStore()
    for part in started(store, 3):
        part.set("address", "old")
    again = started(store, 3, late=0.5)
    assert not any(part.check(["address"]) for part in again)
    again[0].set("address", "new")
    assert [part.get("address") for part in again] == [b"new"] * 3


def test_without_rank_0_the_others_give_up() -> None:
    store = HashStore()
    started(store, 2)
    with pytest.raises(DistStoreError, match="rank 1 waited 1 s"):
        meet(store, 1, 2, timedelta(seconds=1))


def test_only_torchruns_store_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_USE_AGENT_STORE", raising=False)
    assert own_store(SOON) == {}
