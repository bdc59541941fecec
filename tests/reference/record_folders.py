"""Records what the folders of the reference's experiments hold.

Run with a Python that has ray[tune]==2.24.0:

    python tests/reference/record_folders.py tests/reference/folders.json.gz

tests/python/test_folders.py runs the same experiments with ctune and compares.
"""

import gzip
import json
import os
import shutil
import sys
import tempfile
from types import SimpleNamespace

import folders


def library():
    from ray import train, tune

    names = {name: getattr(train, name) for name in ("CheckpointConfig", "Checkpoint", "RunConfig")}
    names |= {"report": train.report, "get_checkpoint": train.get_checkpoint}
    names |= {name: getattr(tune, name) for name in ("run", "Tuner", "Trainable", "TuneConfig")}
    names |= {name: getattr(tune, name) for name in ("grid_search", "choice")}
    return SimpleNamespace(**names)


def main(target):
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    lib = library()
    recorded = {}
    for name, case in folders.CASES.items():
        storage = tempfile.mkdtemp(prefix="recorded_")
        case(lib, storage)
        recorded[name] = folders.read(os.path.join(storage, "exp"))
        shutil.rmtree(storage)
    ray.shutdown()
    with gzip.GzipFile(target, "wb", mtime=0) as file:
        file.write(json.dumps(recorded, indent=1).encode())


if __name__ == "__main__":
    main(sys.argv[1])
