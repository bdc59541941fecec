"""Search with the library bayesian-optimization."""

from ctune.search.bayesopt.bayesopt_search import BayesOptSearch

__all__ = ["BayesOptSearch"]
