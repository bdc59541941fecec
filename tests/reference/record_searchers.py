"""Records what the reference's searchers suggest and tell.

Run it with a Python that has ray[tune]==2.24.0, optuna, hyperopt and
bayesian-optimization==1.4.3:

    python tests/reference/record_searchers.py

It writes searchers.json.gz: the versions of the libraries, and for each case of searchers.py
the case and its record. test_optuna.py, test_hyperopt.py, test_bayesopt.py and
test_repeater.py play them against ctune. Not recorded, since ctune differs on purpose: points
of nested spaces, after which the reference fails, or never returns; trials of BayesOptSearch
that fail while it draws at random, after which the reference suggests nothing any more.
"""

import gzip
import importlib.metadata
import json
import logging
import warnings
from pathlib import Path
from types import SimpleNamespace

import optuna
import searchers
from ray import tune
from ray.tune.search import ConcurrencyLimiter, Repeater, Searcher
from ray.tune.search.bayesopt import BayesOptSearch
from ray.tune.search.hyperopt import HyperOptSearch
from ray.tune.search.optuna import OptunaSearch

FILE = Path(__file__).parent / "searchers.json.gz"

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    api = SimpleNamespace(
        tune=tune,
        Searcher=Searcher,
        OptunaSearch=OptunaSearch,
        HyperOptSearch=HyperOptSearch,
        BayesOptSearch=BayesOptSearch,
        ConcurrencyLimiter=ConcurrencyLimiter,
        Repeater=Repeater,
    )
    recorded = {
        "versions": {
            package: importlib.metadata.version(package)
            for package, _ in searchers.LIBRARIES.values()
        },
        "cases": [[case, *searchers.play(case, api)] for case in searchers.cases()],
    }
    text = json.dumps(recorded, separators=(",", ":"))
    FILE.write_bytes(gzip.compress(text.encode(), mtime=0))
