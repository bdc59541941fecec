"""Names for trainables, environments and inputs."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ctune._encode import brief, check_text
from ctune.error import TuneError

if TYPE_CHECKING:
    from ctune.trainable.trainable import Trainable

__all__ = [
    "get_trainable_cls",
    "is_function_trainable",
    "register_env",
    "register_input",
    "register_trainable",
    "registry_contains_input",
    "registry_get_input",
    "validate_trainable",
]

logger = logging.getLogger("ctune")

TRAINABLE_CLASS = "trainable_class"
ENV_CREATOR = "env_creator"
RLLIB_MODEL = "rllib_model"
RLLIB_PREPROCESSOR = "rllib_preprocessor"
RLLIB_ACTION_DIST = "rllib_action_dist"
RLLIB_INPUT = "rllib_input"
RLLIB_CONNECTOR = "rllib_connector"
TEST = "__test__"
KNOWN_CATEGORIES = [
    TRAINABLE_CLASS,
    ENV_CREATOR,
    RLLIB_MODEL,
    RLLIB_PREPROCESSOR,
    RLLIB_ACTION_DIST,
    RLLIB_INPUT,
    RLLIB_CONNECTOR,
    TEST,
]

# Names of one process. The newest registration of a name counts.
_names: dict[tuple[str, str], Any] = {}


def is_function_trainable(trainable: str | type[Any] | Callable[..., Any]) -> bool:
    """Returns whether a trainable, or the one registered under a name, is a function."""
    from ctune.trainable.function_trainable import FunctionTrainable

    if isinstance(trainable, str):
        trainable = get_trainable_cls(trainable)
    if inspect.isclass(trainable):
        return issubclass(trainable, FunctionTrainable)
    return callable(trainable)


def as_trainable_class(trainable: Any) -> type[Trainable]:
    """Returns a class as it is, and wraps a function into one.

    Raises:
        TypeError: It is a class that is no Trainable, or nothing that can be called.
        ValueError: The function cannot be called with the config alone.
    """
    from ctune.trainable.function_trainable import wrap_function
    from ctune.trainable.trainable import Trainable

    if inspect.isclass(trainable):
        if not issubclass(trainable, Trainable):
            raise TypeError(
                f"trainable: the class {trainable.__name__} is no Trainable. Derive it "
                "from ctune.Trainable, or give a function of the config."
            )
        return trainable
    if not callable(trainable):
        raise TypeError(
            f"trainable: must be a function or a Trainable class, got {brief(trainable)}."
        )
    return wrap_function(trainable)


def register_trainable(
    name: str,
    trainable: type[Any] | Callable[..., Any] | functools.partial[Any],
    warn: bool = True,
) -> None:
    """Registers a trainable, so that run() takes its name.

    Args:
        name: Any text; a second registration takes the place of the first.
        trainable: A function of the config, or a Trainable class.
        warn: Not used: what is registered is what will run.

    Raises:
        TypeError: It cannot be made a trainable, or `name` is no text.
        ValueError: It is a function that cannot be called with the config alone, or `name`
            cannot be written as UTF-8.
    """
    if not isinstance(name, str):
        raise TypeError(f"name: must be a text, got {brief(name)}.")
    check_text("name", name)
    _names[TRAINABLE_CLASS, name] = as_trainable_class(trainable)


def get_trainable_cls(trainable_name: str) -> type[Trainable]:
    """Returns the class registered under a name.

    Raises:
        TuneError: There is none.
    """
    validate_trainable(trainable_name)
    found: type[Trainable] = _names[TRAINABLE_CLASS, trainable_name]
    return found


def validate_trainable(trainable_name: str) -> None:
    """Checks that a trainable of this name was registered.

    Raises:
        TuneError: There is none.
    """
    if (TRAINABLE_CLASS, trainable_name) not in _names:
        known = sorted(name for kind, name in _names if kind == TRAINABLE_CLASS)
        raise TuneError(
            f"Unknown trainable: {trainable_name!r}. Register it first with "
            f"register_trainable({trainable_name!r}, ...), or give the function or "
            f"class itself. Registered: {', '.join(known) or 'none'}."
        )


def register_env(name: str, env_creator: Callable[..., Any]) -> None:
    """Registers a function that makes an environment from a dict.

    Raises:
        TypeError: It cannot be called.
    """
    _register_callable(ENV_CREATOR, name, env_creator)


def register_input(name: str, input_creator: Callable[..., Any]) -> None:
    """Registers a function that makes a source of training data.

    Raises:
        TypeError: It cannot be called.
    """
    _register_callable(RLLIB_INPUT, name, input_creator)


def registry_contains_input(name: str) -> bool:
    """Returns whether register_input() was called with this name."""
    return (RLLIB_INPUT, name) in _names


def registry_get_input(name: str) -> Callable[..., Any]:
    """Returns what register_input() was given under this name."""
    found: Callable[..., Any] = _names[RLLIB_INPUT, name]
    return found


def _register_callable(kind: str, name: str, creator: Callable[..., Any]) -> None:
    if not callable(creator):
        raise TypeError(f"{name}: must be something that can be called, got {brief(creator)}.")
    _names[kind, name] = creator
