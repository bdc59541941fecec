"""Search with Optuna."""

from ctune.search.optuna.optuna_search import OptunaSearch

__all__ = ["OptunaSearch"]
