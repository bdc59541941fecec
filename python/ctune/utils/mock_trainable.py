"""A trainable that costs nothing, for examples and tests."""

from __future__ import annotations

import json
import math
import os
from typing import Any

from ctune.trainable.trainable import Trainable

__all__ = ["MyTrainableClass"]


class MyTrainableClass(Trainable):
    """Reports `episode_reward_mean`, a curve that rises to `height`.

    Its value at step t is `height * tanh(t / width)`. The config may hold `width` and
    `height`, both 1 by default.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Starts at step 0."""
        self.timestep = 0

    def step(self) -> dict[str, Any]:
        """Returns the next point of the curve."""
        self.timestep += 1
        config = self.get_config()
        width, height = float(config.get("width", 1)), float(config.get("height", 1))
        return {"episode_reward_mean": height * math.tanh(self.timestep / width)}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Writes the step to a file of the directory."""
        with open(os.path.join(checkpoint_dir, "checkpoint"), "w", encoding="utf-8") as file:
            json.dump({"timestep": self.timestep}, file)

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Reads that file."""
        with open(os.path.join(checkpoint, "checkpoint"), encoding="utf-8") as file:
            self.timestep = json.load(file)["timestep"]
