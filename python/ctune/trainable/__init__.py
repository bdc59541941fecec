"""What can be tuned: classes and functions, and ways to prepare them."""

from ctune.trainable.function_trainable import FunctionTrainable, wrap_function
from ctune.trainable.trainable import Trainable
from ctune.trainable.util import with_parameters, with_resources

__all__ = [
    "FunctionTrainable",
    "Trainable",
    "with_parameters",
    "with_resources",
    "wrap_function",
]
