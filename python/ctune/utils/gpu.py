"""What the processors, the memory and the GPUs of this machine are doing."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Any

__all__ = ["UtilMonitor", "wait_for_gpu"]

logger = logging.getLogger("ctune")

_QUERY = "index,uuid,utilization.gpu,memory.used,memory.total"


@dataclass
class _Gpu:
    index: int
    uuid: str
    load: float  # 0 to 1
    memory: float  # 0 to 1


def _gpus() -> list[_Gpu]:
    """Returns the GPUs that NVIDIA's driver tells of.

    Raises:
        OSError: There is no such driver.
        subprocess.SubprocessError: It does not answer.
    """
    answer = subprocess.run(
        ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    found = []
    for line in answer.stdout.splitlines():
        index, uuid, load, used, total = (cell.strip() for cell in line.split(","))
        # Drivers that cannot measure the load say so in words.
        percent = float(load) if load.replace(".", "").isdigit() else 0.0
        found.append(_Gpu(int(index), uuid, percent / 100, float(used) / float(total)))
    return found


def wait_for_gpu(
    gpu_id: int | str | None = None,
    target_util: float = 0.01,
    retry: int = 20,
    delay_s: int = 5,
    gpu_memory_limit: float | None = None,
) -> bool:
    """Waits until a GPU's memory is free, as a trial before this one may still release it.

    Args:
        gpu_id: Number or UUID of the GPU. Default: the first of CUDA_VISIBLE_DEVICES.
        target_util: The part of its memory that may be in use, 0 to 1.
        retry: How many times to look.
        delay_s: Seconds between two looks.
        gpu_memory_limit: Gone: use `target_util`.

    Returns:
        True.

    Raises:
        RuntimeError: The memory is still in use; there is no GPU, or no NVIDIA driver.
        ValueError: There is no such GPU, or `gpu_memory_limit` is given.
    """
    if gpu_memory_limit is not None:
        raise ValueError("gpu_memory_limit: is gone; use target_util, a part of 1.")
    if gpu_id is None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
        if not visible:
            raise RuntimeError(
                "gpu_id: no GPU is visible here, as CUDA_VISIBLE_DEVICES is empty. Give the "
                "trial one with with_resources(), or name one."
            )
        gpu_id = visible
    for left in reversed(range(int(retry))):
        gpu = _find(gpu_id)
        if gpu.memory <= target_util:
            return True
        logger.info("GPU %s: %.1f%% of its memory is in use; waiting.", gpu_id, 100 * gpu.memory)
        if left:
            time.sleep(delay_s)
    raise RuntimeError(
        f"gpu_id: more than {target_util:.1%} of the memory of GPU {gpu_id} stays in use. See "
        "who uses it with nvidia-smi, or raise target_util."
    )


def _find(gpu_id: int | str) -> _Gpu:
    try:
        gpus = _gpus()
    except (OSError, subprocess.SubprocessError) as error:
        raise RuntimeError(
            f"gpu_id: GPUs cannot be asked about, as nvidia-smi fails: {error}"
        ) from error
    wanted = str(gpu_id)
    for gpu in gpus:
        if wanted in (str(gpu.index), gpu.uuid):
            return gpu
    known = ", ".join(f"{gpu.index} ({gpu.uuid})" for gpu in gpus) or "none"
    raise ValueError(f"gpu_id: there is no GPU {gpu_id!r} here; there is: {known}.")


class UtilMonitor(threading.Thread):
    """Measures now and then how busy the machine is; needs psutil, and NVIDIA's driver for GPUs.

    Args:
        start: Whether to begin at once.
        delay: Seconds between two measurements.
    """

    def __init__(self, start: bool = True, delay: float = 0.7) -> None:
        super().__init__(daemon=True)
        self.delay = delay
        self.stopped = True
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._values: dict[str, list[float]] = {}
        self._asks_gpus = True
        self._psutil: Any = None
        try:
            import psutil
        except ImportError:
            logger.warning("UtilMonitor measures nothing without psutil: pip install psutil")
            return
        self._psutil = psutil
        psutil.cpu_percent(interval=None)  # each call tells of the time since the one before
        if start:
            self.start()

    def start(self) -> None:
        """Measures once, and begins to measure now and then. Nothing without psutil."""
        if self._psutil is None:
            return
        self.stopped = False
        self._measure()
        super().start()

    def run(self) -> None:
        """Measures until stop()."""
        while not self._ended.wait(self.delay):
            self._measure()

    def _measure(self) -> None:
        values = {
            "cpu_util_percent": self._psutil.cpu_percent(interval=None),
            "ram_util_percent": self._psutil.virtual_memory().percent,
        }
        if self._asks_gpus:
            try:
                for gpu in _gpus():
                    values[f"gpu_util_percent{gpu.index}"] = gpu.load
                    values[f"vram_util_percent{gpu.index}"] = gpu.memory
            except (OSError, ValueError, subprocess.SubprocessError):
                self._asks_gpus = False
        with self._lock:
            for name, value in values.items():
                self._values.setdefault(name, []).append(float(value))

    def get_data(self) -> dict[str, Any]:
        """Returns {"perf": mean of each value since the last call}; {} when it has stopped."""
        if self.stopped:
            return {}
        with self._lock:
            values, self._values = self._values, {}
        return {"perf": {name: sum(seen) / len(seen) for name, seen in values.items()}}

    def stop(self) -> None:
        """Ends the measurements."""
        self.stopped = True
        self._ended.set()
