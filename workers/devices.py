"""What this machine has to train on."""

from __future__ import annotations

import os
from functools import cache
from typing import Any


def cores() -> int:
    """Cores this process may use: the affinity mask, and the cgroup's quota where there is one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as f:
            quota, period = f.read().split()
        if quota != "max":
            allowed = min(allowed, max(1, int(int(quota) / int(period))))
    except (OSError, ValueError):
        pass
    return allowed


@cache
def devices(lane: str) -> list[dict[str, Any]]:
    """CPU: its cores.  GPU: what nvidia-smi lists; the worker itself never touches CUDA, its children do."""
    if lane != "gpu":
        return [{"type": "cpu", "cores": cores()}]
    import subprocess

    try:
        out = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    found = [line.split(", ") for line in out.splitlines() if line.strip()]
    return [{"type": "gpu", "name": name, "memory_mb": int(mb)} for name, mb in found]


def free_bytes(lane: str) -> int:
    """Memory that new work may take: host memory for the CPU lane, the first GPU's for the GPU lane."""
    if lane == "gpu":
        return sum(int(d["memory_mb"]) << 20 for d in devices(lane)[:1])
    try:
        with open("/proc/meminfo") as f:
            for line in f:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 1 << 33


def memory_mb() -> int:
    """Memory that training may take on this machine: four fifths of it, or of the cgroup's limit."""
    total = 8 << 30
    try:
        with open("/proc/meminfo") as f:
            total = int(f.readline().split()[1]) * 1024
        with open("/sys/fs/cgroup/memory.max") as f:
            limit = f.read().strip()
        if limit != "max":
            total = min(total, int(limit))
    except (OSError, ValueError, IndexError):
        pass
    return int(0.8 * total) >> 20
