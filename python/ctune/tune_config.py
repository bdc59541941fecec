"""How a Tuner searches, and what happens to stored trials when it is restored."""

from ctune._config import ResumeConfig, TuneConfig

__all__ = ["ResumeConfig", "TuneConfig"]
