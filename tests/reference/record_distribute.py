"""Records how Ray Tune shares resources out among trials.

Run it with a Python that has ray[tune]==2.24.0 (any NumPy that this one accepts):

    python tests/reference/record_distribute.py

It writes distribute.json.gz: the answers to the random calls and streams of sharing.py, which
test_resource_changing.py plays against ctune.

Two things that the reference does are not recorded, since ctune differs on purpose: with mode
"max" a trial without the metric counts as the best, and when several trials pause for new
resources at once, all but one go on without. Resources other than CPU and GPU occur only in
bundles that the reference leaves as they are.
"""

import logging
from pathlib import Path

import sharing

CALLS = 3000
STREAMS = 2300


def main():
    from ray.tune.execution.placement_groups import PlacementGroupFactory
    from ray.tune.schedulers import ASHAScheduler, ResourceChangingScheduler
    from ray.tune.schedulers.resource_changing_scheduler import (
        DistributeResources,
        DistributeResourcesToTopJob,
    )

    logging.disable(logging.INFO)
    api = sharing.SimpleNamespace(
        PlacementGroupFactory=PlacementGroupFactory,
        DistributeResources=DistributeResources,
        DistributeResourcesToTopJob=DistributeResourcesToTopJob,
        ResourceChangingScheduler=ResourceChangingScheduler,
        ASHAScheduler=ASHAScheduler,
    )
    answers = {
        "calls": [sharing.call(n, api) for n in range(CALLS)],
        "streams": [sharing.Stream(n, api).record() for n in range(STREAMS)],
    }
    sharing.save(Path(__file__).parent / "distribute.json.gz", answers)
    tokens = [t for s in answers["streams"] for t in s if isinstance(t, str)]
    counts = {a: sum(t[0] == "r" and t[-1] == a for t in tokens) for a in "CPS"}
    nothing = answers["calls"].count(None)
    print(CALLS, "calls,", nothing, "without an answer;", STREAMS, "streams", counts)


if __name__ == "__main__":
    main()
