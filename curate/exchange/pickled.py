"""Pickles of other programs: a restricted unpickler that cannot run code, and a writer of plain values.

A pickle is a program for a stack machine (Python's `pickletools` documents its opcodes). This is such a machine that
knows plain values (dict, list, tuple, str, bytes, int, float, bool, None) and numpy arrays, scalars and dtypes of plain
numbers; whatever else a pickle asks for is refused by name. Python's own unpickler is never called, and no name in a
pickle is ever imported. What is made is a tree of bounded size and depth.
"""

from __future__ import annotations

import math
import pickletools
import re
import struct
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.errors import WorkError

MAX_ITEMS = 16_000_000
"""Steps of the machine, and values of the tree: some 36,000 faces of a pack."""
MAX_DEPTH = 32
_MAX_DIMENSIONS = 8
_LARGEST = 1 << 64
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")


class PickleError(WorkError):
    """A pickle that is damaged, too large, or asks for more than plain values and numpy arrays."""


@dataclass(frozen=True)
class _Global:
    """A name that a pickle may refer to; it represents itself, and nothing is imported."""

    name: str


@dataclass
class _Dtype:
    code: str
    order: str = "="

    def made(self) -> np.dtype[Any]:
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]  # build checked it


@dataclass
class _Array:
    value: np.ndarray[Any, Any] | None = None


_NAMES = {
    **dict.fromkeys(("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"), "reconstruct"),
    **dict.fromkeys(("numpy.core.multiarray scalar", "numpy._core.multiarray scalar"), "scalar"),
    **dict.fromkeys(("numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer"), "frombuffer"),
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    # Protocols 0 to 2 of Python 3 write bytes so.
    "_codecs encode": "encode",
    "__builtin__ bytes": "no bytes",
    "builtins bytes": "no bytes",
    # DeepFaceLab's packs hold two of its IntEnums: read as their numbers.
    "samplelib.Sample SampleType": "number",
    "facelib.FaceType FaceType": "number",
}
"""Everything that a pickle may ask for by name, and what it means here."""

_VALUES = frozenset(
    """
    INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
    """.split()
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}


def loads(data: bytes, max_items: int = MAX_ITEMS) -> Any:
    """Value of a pickle of protocol 0 to 5; raises PickleError that names what was refused or is damaged."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in damaged texts
            return _run(data, max_items)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, AttributeError, MemoryError) as error:
        raise PickleError(f"the pickle is damaged ({type(error).__name__}: {str(error)[:80]})") from None


def _run(data: bytes, max_items: int) -> Any:
    machine = _Machine()
    for steps, (opcode, arg, _) in enumerate(pickletools.genops(data)):
        if steps > max_items:
            raise PickleError(f"the pickle has more than {max_items} steps")
        if opcode.name == "STOP":
            return _Tree(max_items).finish(machine.stack.pop(), 0)
        machine.step(opcode.name, arg)
    raise PickleError("the pickle is damaged (it ends early)")


class _Machine:
    """The stack, the marks and the memo of one pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, arg: Any) -> None:
        """One opcode; PickleError for one that may not be."""
        if name in _VALUES:
            if isinstance(arg, int) and abs(arg) >= _LARGEST:
                raise PickleError("the pickle contains a number of more than 64 bits")
            self.stack.append(bytes(arg) if isinstance(arg, bytearray) else arg)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _STEPS:
            _STEPS[name](self, arg)
        elif name not in ("PROTO", "FRAME"):
            asked = str(arg).replace(" ", ".") if name == "INST" else f"the opcode {name}"
            raise _refused(asked)

    def mark(self, _: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def pop_mark(self, _: Any = None) -> list[Any]:
        items, self.stack = self.stack, self.marked.pop()
        return items

    def make_tuple(self, size: int | None) -> None:
        if size is None:
            items = self.pop_mark()
        else:
            items = [self.stack.pop() for _ in range(size)][::-1]
        self.stack.append(tuple(items))

    def make_list(self, _: Any) -> None:
        items = self.pop_mark()
        self.stack.append(items)

    def make_dict(self, _: Any) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self._set(items)

    def append(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise PickleError(f"the pickle appends to {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def _set(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict:
            raise PickleError(f"the pickle sets items of {type(self.stack[-1]).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int | float | bytes | None):
                raise PickleError(f"the pickle has {type(key).__name__} as a key")
            self.stack[-1][key] = value

    def setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def find(self, name: str) -> None:
        if name not in _NAMES:
            raise _refused(name.replace(" ", ".")[:200])
        self.stack.append(_Global(_NAMES[name]))

    def stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise PickleError("the pickle names no module or object")
        self.find(f"{module} {name}")

    def reduce(self, _: Any) -> None:
        given, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, _Global) or type(given) is not tuple:
            raise PickleError(f"the pickle calls {type(called).__name__}")
        self.stack.append(_call(called.name, given))

    def build(self, _: Any) -> None:
        """Give an array its state."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, _Array):
            _, shape, dtype, fortran, raw = state
            target.value = _array(raw, dtype, shape, "F" if fortran else "C")
        elif isinstance(target, _Dtype):
            if tuple(state[2:5]) != (None, None, None) or state[1] not in ("<", ">", "|", "="):
                raise _refused("a numpy dtype with fields")
            target.order = state[1]
        else:
            raise PickleError(f"the pickle sets the state of {type(target).__name__}")


_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    "MARK": _Machine.mark,
    "POP": lambda m, _: m.stack.pop() if m.stack else m.pop_mark(),
    "POP_MARK": _Machine.pop_mark,
    "DUP": lambda m, _: m.stack.append(m.stack[-1]),
    "LIST": _Machine.make_list,
    "TUPLE": lambda m, _: m.make_tuple(None),
    "TUPLE1": lambda m, _: m.make_tuple(1),
    "TUPLE2": lambda m, _: m.make_tuple(2),
    "TUPLE3": lambda m, _: m.make_tuple(3),
    "DICT": _Machine.make_dict,
    "APPEND": lambda m, _: m.append([m.stack.pop()]),
    "APPENDS": lambda m, _: m.append(m.pop_mark()),
    "SETITEM": _Machine.setitem,
    "SETITEMS": lambda m, _: m._set(m.pop_mark()),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda m, arg: m.memo.__setitem__(arg, m.stack[-1])),
    "MEMOIZE": lambda m, _: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda m, arg: m.stack.append(m.memo[arg])),
    "GLOBAL": _Machine.find,
    "STACK_GLOBAL": _Machine.stack_global,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}


def _refused(what: str) -> PickleError:
    return PickleError(f"the pickle asks for {what}, which is refused: only plain values and numpy arrays are read")


def _call(name: str, given: tuple[Any, ...]) -> Any:
    """What the allowed calls give."""
    if name == "reconstruct" and len(given) == 3:
        return _Array()
    if name == "dtype" and given and isinstance(given[0], str):
        if not _DTYPE.fullmatch(given[0]):
            raise _refused(f"a numpy array of dtype {given[0][:20]!r}")
        return _Dtype(given[0])
    if name == "scalar" and len(given) == 2:
        return _array(given[1], given[0], (), "C").item()
    if name == "frombuffer" and len(given) == 4:
        return _Array(_array(*given))
    if name == "encode" and len(given) == 2 and given[1] in ("latin1", "latin-1"):
        return given[0].encode("latin-1")
    if name == "no bytes" and not given:
        return b""
    if name == "number" and len(given) == 1 and type(given[0]) is int:
        return given[0]
    raise _refused(f"a call of {name} with {len(given)} values")


def _array(raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray[Any, Any]:
    """A numpy array over the bytes, whose number must be the shape's; nothing is allocated for it."""
    if isinstance(raw, str):
        raw = raw.encode("latin-1")  # a pickle of Python 2
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
        raise _refused("a numpy array of objects")
    if type(shape) is not tuple or len(shape) > _MAX_DIMENSIONS or not all(type(n) is int and n >= 0 for n in shape):
        raise PickleError("the pickle has a numpy array without a shape")
    made = dtype.made()
    if math.prod(shape) * made.itemsize != len(raw):
        raise PickleError(f"the pickle has a numpy array of shape {shape} in {len(raw)} bytes")
    return np.frombuffer(raw, made).reshape(shape, order="F" if order == "F" else "C")


class _Tree:
    """Turns what the machine holds into plain values; a value that is shared counts each time that it occurs."""

    def __init__(self, left: int) -> None:
        self.left = left

    def finish(self, value: Any, depth: int) -> Any:
        """The value; PickleError past the limits (a value inside itself is endlessly deep)."""
        self.left -= 1
        if depth > MAX_DEPTH or self.left < 0:
            raise PickleError(f"the pickle is nested deeper than {MAX_DEPTH} or expands beyond its limit")
        if type(value) is dict:
            return {self.finish(k, depth + 1): self.finish(v, depth + 1) for k, v in value.items()}
        if type(value) in (list, tuple):
            items = [self.finish(item, depth + 1) for item in value]
            return items if type(value) is list else tuple(items)
        if isinstance(value, _Array):
            if value.value is None:
                raise PickleError("the pickle has a numpy array without data")
            return value.value
        if isinstance(value, _Dtype):
            return value.made()
        if isinstance(value, _Global):
            raise _refused(f"{value.name} itself")
        return value


def dumps(value: Any) -> bytes:
    """Plain values, and numpy arrays of bytes, as a pickle of protocol 3, which Python 3.0 and later read.

    Raises TypeError for any other value.
    """
    return b"\x80\x03" + _written(value) + b"."


def _written(value: Any) -> bytes:
    if value is None:
        return b"N"
    if value is True or value is False:
        return b"\x88" if value else b"\x89"
    if type(value) is int:
        if -(1 << 31) <= value < 1 << 31:
            return b"J" + struct.pack("<i", value)
        raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw
    if type(value) is float:
        return b"G" + struct.pack(">d", value)
    if type(value) is str:
        raw = value.encode("utf-8", "surrogatepass")
        return b"X" + struct.pack("<I", len(raw)) + raw
    if type(value) is bytes:
        return b"B" + struct.pack("<I", len(value)) + value
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + _written((0,)) + _written(b"b") + b"tR"
        kind = b"cnumpy\ndtype\n" + _written(("u1", False, True)) + b"R"
        kind += _written((3, "|", None, None, None, -1, -1, 0)) + b"b"
        rest = kind + _written(False) + _written(value.tobytes())
        return made + b"(" + _written(1) + _written(value.shape) + rest + b"tb"
    if type(value) is tuple:
        return b"(" + b"".join(map(_written, value)) + b"t"
    if type(value) is list:
        return b"](" + b"".join(map(_written, value)) + b"e"
    if type(value) is dict:
        return b"}(" + b"".join(_written(k) + _written(v) for k, v in value.items()) + b"u"
    raise TypeError(f"{type(value).__name__} is not a plain value")
