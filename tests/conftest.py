"""What all tests run with: an environment in which their processes start and compute fast."""

import os

# Many small matrices, on few processors: threads of BLAS would wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Else each of hundreds of interpreters compiles the package for itself.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
