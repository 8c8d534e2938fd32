"""OPC UA's own address space (namespace 0), built once and kept in the user's cache directory.

Building its six thousand nodes takes asyncua over a second and a half; a node that nobody asks for is now never made.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import platform
from collections.abc import Iterator, MutableMapping
from importlib.metadata import version
from pathlib import Path

import platformdirs
from asyncua import ua
from asyncua.server.address_space import NodeData
from asyncua.server.internal_server import InternalServer

_log = logging.getLogger(__name__)


class LazyNodes(MutableMapping[ua.NodeId, NodeData]):
    """Nodes by id; those of `packed` are made when they are first asked for."""

    def __init__(self, packed: dict[ua.NodeId, bytes]) -> None:
        self._packed = packed
        self._nodes: dict[ua.NodeId, NodeData] = {}

    def __getitem__(self, key: ua.NodeId) -> NodeData:
        try:
            return self._nodes[key]
        except KeyError:
            node: NodeData = pickle.loads(self._packed.pop(key))  # written by ourselves, see `load`
            self._nodes[key] = node
            return node

    def __setitem__(self, key: ua.NodeId, node: NodeData) -> None:
        self._packed.pop(key, None)
        self._nodes[key] = node

    def __delitem__(self, key: ua.NodeId) -> None:
        if self._packed.pop(key, None) is None:
            del self._nodes[key]

    def __contains__(self, key: object) -> bool:
        return key in self._nodes or key in self._packed

    def __iter__(self) -> Iterator[ua.NodeId]:
        yield from list(self._nodes)
        yield from list(self._packed)

    def __len__(self) -> int:
        return len(self._nodes) + len(self._packed)


def cache_file() -> Path:
    """Where the nodes are kept: one file for each pair of asyncua and Python."""
    name = f"opcua-nodes-{version('asyncua')}-{platform.python_version()}.pickle"
    return Path(platformdirs.user_cache_dir("twinbench")) / name


async def load(server: InternalServer, path: Path) -> None:
    """Give a server the standard nodes: from `path` where they are kept, otherwise built by asyncua and kept there.

    The file holds pickles, so it is only read where it belongs to the user who runs the bench and nobody else can write it.
    """
    packed = _read(path)
    if packed is None:
        await InternalServer.load_standard_address_space(server)
        nodes = server.aspace._nodes
        packed = {key: pickle.dumps(node, pickle.HIGHEST_PROTOCOL) for key, node in nodes.items()}
        _write(path, packed)
    server.aspace._nodes = LazyNodes(packed)  # type: ignore[assignment] # all that asyncua asks of it is a mapping


def _read(path: Path) -> dict[ua.NodeId, bytes] | None:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.getuid() or status.st_mode & 0o022:
                _log.warning("%s is not ours alone, not read; remove it or `chmod go-w` it", path)
                return None
            packed: dict[ua.NodeId, bytes] = pickle.load(file)
            return packed
    except FileNotFoundError:
        return None
    except Exception as no:  # noqa: BLE001 - whatever a damaged file raises, the nodes can be built anew
        _log.warning("%s cannot be used (%s), building the nodes anew", path, no)
        return None


def _write(path: Path, packed: dict[ua.NodeId, bytes]) -> None:
    scratch = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch.touch(mode=0o600)
        with scratch.open("wb") as file:
            pickle.dump(packed, file, pickle.HIGHEST_PROTOCOL)
        scratch.replace(path)
    except OSError as no:
        _log.warning("%s cannot be written (%s): every start builds the nodes anew", path, no)
        with contextlib.suppress(OSError):
            scratch.unlink()
