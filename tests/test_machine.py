"""How much memory there is, and what the JVM gets of it."""

from __future__ import annotations

import ctypes
import platform
from pathlib import Path

import pytest

from streaming_jobs import machine

GIB = 1 << 30


@pytest.mark.parametrize(("total", "heap"), [(1, "1024m"), (4, "1024m"), (16, "4096m"), (24, "6144m"), (256, "8192m")])
def test_the_heap_is_a_quarter_of_the_memory_within_bounds(total: int, heap: str) -> None:
    assert machine.heap(total * GIB) == heap


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_container_has_what_it_is_limited_to(tmp_path: Path, name: str) -> None:
    limit = tmp_path / name
    limit.parent.mkdir(exist_ok=True)
    limit.write_text("268435456\n")
    assert machine.memory(tmp_path) == 256 << 20


def test_without_a_limit_it_is_the_memory_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("max\n")
    total = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:"))
    assert machine.memory(tmp_path) == int(total.split()[1]) << 10 == machine.memory(tmp_path / "nowhere")


@pytest.mark.parametrize(("heap", "expected"), [("6g", "384m"), ("2g", "384m"), ("1g", "341m"), ("1024m", "341m"), ("512m", "170m")])
def test_the_young_generation_is_bounded_and_leaves_a_small_heap_to_what_is_old(heap: str, expected: str) -> None:
    assert machine.young(heap, 384) == expected


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep less")
def test_what_c_libraries_freed_goes_back_to_the_system() -> None:
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [libc.malloc(64 << 10) for _ in range(1024)]
    for block in blocks:
        ctypes.memset(block, 1, 64 << 10)
    for block in blocks[:-1]:  # the last one holds the end of the store, which would go back by itself
        libc.free(block)
    before = _resident_mib()
    machine.give_back()
    assert before - _resident_mib() > 48
    libc.free(blocks[-1])


def _resident_mib() -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon:"))
    return int(line.split()[1]) >> 10
