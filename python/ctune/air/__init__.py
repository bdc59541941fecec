"""The parts of `ray.air` that scripts of Ray Tune import."""
