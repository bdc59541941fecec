"""A trainable that costs nothing, for examples and tests."""

from __future__ import annotations

import json
import math
import os
from typing import Any

from ctune.registry import register_trainable
from ctune.trainable.trainable import Trainable

__all__ = [
    "MOCK_ERROR_KEY",
    "MOCK_TRAINABLE_NAME",
    "MyTrainableClass",
    "register_mock_trainable",
]

MOCK_TRAINABLE_NAME = "mock_trainable"
MOCK_ERROR_KEY = "mock_error"


class MyTrainableClass(Trainable):
    """Reports `episode_reward_mean`, a curve that rises to `height`.

    Its value at step t is `height * tanh(t / width)`. The config may hold `width` and
    `height`, both 1 by default, and `mock_error`: whether to fail after a step.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Starts at step 0."""
        self.timestep = 0

    def step(self) -> dict[str, Any]:
        """Returns the next point of the curve."""
        config = self.get_config()
        if config.get(MOCK_ERROR_KEY) and self.timestep >= 1:
            raise RuntimeError(f"{MOCK_ERROR_KEY}: fails after a step, as the config asks for.")
        self.timestep += 1
        width, height = float(config.get("width", 1)), float(config.get("height", 1))
        return {"episode_reward_mean": height * math.tanh(self.timestep / width)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes the step to a file of the directory."""
        with open(os.path.join(checkpoint_dir, "checkpoint"), "w", encoding="utf-8") as file:
            json.dump({"timestep": self.timestep}, file)

    def load_checkpoint(self, checkpoint_dir: Any) -> None:
        """Reads that file."""
        with open(os.path.join(checkpoint_dir, "checkpoint"), encoding="utf-8") as file:
            self.timestep = json.load(file)["timestep"]


def register_mock_trainable() -> None:
    """Registers MyTrainableClass as "mock_trainable"."""
    register_trainable(MOCK_TRAINABLE_NAME, MyTrainableClass)
