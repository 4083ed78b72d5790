"""Pickles of other programs: plain values and numpy arrays are read, all else is refused by name, nothing runs."""

from __future__ import annotations

import os
import pickle
import random
import struct
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from curate.exchange import pickled
from curate.exchange.pickled import PickleError

VALUES = {
    "plain": [1, -1, 2.5, None, True, False, "é\n", b"x\xff", 2**40, -(2**40), (), [], {}, (1, (2, [3]))],
    "float32": np.arange(6, dtype="f4").reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big-endian": np.arange(3, dtype=">i2"),
    "bytes": np.frombuffer(b"\0\1\2", np.uint8),
    "empty": np.zeros((0, 2)),
    "scalar": np.float32(3.5),
}


def same(a, b) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and bool((a == b).all())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return a == b and (isinstance(a, np.generic) or type(a) is type(b))


@pytest.mark.parametrize("protocol", range(6))
def test_python_s_pickles_of_plain_values_and_arrays_are_read(protocol: int) -> None:
    assert same(VALUES, pickled.loads(pickle.dumps(VALUES, protocol)))


def test_what_is_written_python_reads_and_we_do() -> None:
    raw = pickled.dumps(VALUES["plain"])
    assert pickle.loads(raw) == VALUES["plain"] == pickled.loads(raw)  # noqa: S301  # our own
    assert raw[:2] == b"\x80\x03", "Python 3.6, which DeepFaceLab runs on, reads protocols up to 4"
    with pytest.raises(TypeError, match="ndarray"):
        pickled.dumps({"a": np.zeros(2)})
    mask = {"xseg_mask": np.arange(300, dtype=np.uint8)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy's old name, which DeepFaceLab's numpy has
        assert same(pickle.loads(pickled.dumps(mask)), mask)  # noqa: S301  # our own
    assert same(pickled.loads(pickled.dumps(mask)), mask)


def test_the_numbers_of_deepfacelab_s_enums_are_read() -> None:
    assert pickled.loads(b"\x80\x04csamplelib.Sample\nSampleType\nK\x01\x85R.") == 1
    assert pickled.loads(b"\x80\x04cfacelib.FaceType\nFaceType\nK\x04\x85R.") == 4


class Runs:
    """Unpickled by Python, it makes the file that it names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_runs_code_is_refused_and_named(protocol: int, tmp_path: Path) -> None:
    raw = pickle.dumps({"landmarks": [1, Runs(tmp_path / "made")]}, protocol)
    with pytest.raises(PickleError, match=r"posix\.mkdir.*refused"):
        pickled.loads(raw)
    assert not (tmp_path / "made").exists()
    pickle.loads(raw)  # noqa: S301  # shows that it was a real attack
    assert (tmp_path / "made").exists()


EVIL = {
    "global": (b"cos\nsystem\n(S'true'\ntR.", r"os\.system"),
    "stack global": (b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.", r"builtins\.eval"),
    "inst": (b"(S'true'\nios\nsystem\n.", r"os\.system"),
    "obj": (b"(cos\nsystem\nS'true'\no.", r"os\.system"),
    "newobj": (b"\x80\x02cnumpy\nndarray\n)\x81.", "NEWOBJ"),
    "build a list": (b"\x80\x02]}b.", "state of list"),
    "getattr": (b"cbuiltins\ngetattr\n(cnumpy\nndarray\nS'x'\ntR.", r"builtins\.getattr"),
    "numpy's own": (b"cnumpy.testing._private.utils\nrunstring\n(S'1'\n}tR.", "runstring"),
    "ndarray called": (b"cnumpy\nndarray\n(K\x05\x85tR.", "ndarray"),
    "object array": (pickle.dumps(np.array([{}], object)), "dtype 'O8'"),
    "structured": (pickle.dumps(np.zeros(1, [("a", "i4")])), "dtype 'V4'"),
    "text array": (pickle.dumps(np.array(["a"])), "dtype 'U1'"),
    "a set": (pickle.dumps({1}), "EMPTY_SET"),
    "persistent": (b"Px\n.", "PERSID"),
    "extension": (b"\x82\x01.", "EXT1"),
    "out of band": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    "the global itself": (b"cnumpy\nndarray\n.", "ndarray itself"),
    "huge shape": (
        pickle.dumps(np.zeros(4, "u1"), 2).replace(b"K\x04\x85", b"J" + struct.pack("<i", 2**31 - 1) + b"\x85"),
        "in 4 bytes",
    ),
    "huge bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 50) + b"x.", "damaged"),
    "huge frame": (b"\x80\x04\x95" + struct.pack("<Q", 1 << 50) + b"N", "ends early|damaged"),
    "huge number": (b"\x80\x04\x8b" + struct.pack("<i", 1000) + b"\x01" * 1000 + b".", "64 bits"),
    "long number": (b"I" + b"9" * 5000 + b"\n.", "damaged"),
    "tuple as key": (b"}(K\x01\x85K\x01u.", "tuple as a key"),
    "own item": (b"]q\x00h\x00a.", "nested"),
    "nested": (b"]" * 100_000 + b"a" * 99_999 + b".", "nested"),
    "empty": (b"", "damaged"),
    "no end": (b"N", "damaged"),
    "underflow": (b"a.", "damaged"),
    "unknown opcode": (b"\xff.", "damaged"),
}


@pytest.mark.parametrize("name", EVIL)
def test_what_may_not_be_is_refused_and_named(name: str) -> None:
    raw, message = EVIL[name]
    began = time.monotonic()
    with pytest.raises(PickleError, match=message):
        pickled.loads(raw)
    assert time.monotonic() - began < 5


def test_values_that_share_themselves_do_not_explode() -> None:
    value: list = [0]
    for _ in range(30):
        value = [value] * 10
    with pytest.raises(PickleError, match=r"nested|unfolds"):
        pickled.loads(pickle.dumps(value), max_items=100_000)
    shared = [1, 2]
    assert pickled.loads(pickle.dumps([shared, shared])) == [[1, 2], [1, 2]]


def test_more_steps_than_allowed_are_refused() -> None:
    with pytest.raises(PickleError, match="more than 100 steps"):
        pickled.loads(pickle.dumps(list(range(200)), 0), max_items=100)


def test_damage_of_any_kind_is_one_error() -> None:
    chance = random.Random(0)
    whole = pickle.dumps({k: v for k, v in VALUES.items() if k != "plain"}, 2)
    read = 0
    for _ in range(3000):
        raw = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        try:
            pickled.loads(bytes(raw[: chance.randint(1, len(raw))] if chance.random() < 0.3 else raw))
            read += 1
        except PickleError:
            pass
    assert 0 < read < 3000
