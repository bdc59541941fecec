"""Ways to prepare a trainable: bind large objects to it, ask for resources."""

from __future__ import annotations

import functools
import inspect
import logging
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from ctune._encode import brief, check_text
from ctune._pickling import Parameters

if TYPE_CHECKING:
    from ctune.execution.placement_groups import PlacementGroupFactory

__all__ = ["with_parameters", "with_resources"]

logger = logging.getLogger("ctune")


def require_one_argument(function: Callable[..., Any]) -> None:
    """Checks that the config is all that a function needs, besides what is bound to it.

    Raises:
        ValueError: It is not.
    """
    inner, parameters = _unbound(function)
    _check_call(inner, parameters, inspect.Signature.bind)


def _unbound(function: Any) -> tuple[Any, dict[str, Any]]:
    """A function without what with_parameters() bound to it, and that."""
    inner, parameters = getattr(function, "_ctune_bound", (function, None))
    return inner, parameters.values if parameters is not None else {}


def _check_call(
    function: Callable[..., Any], bound: dict[str, Any], bind: Callable[..., Any]
) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # built-in without a signature: the call will tell
    try:
        bind(signature, {}, **dict.fromkeys(bound))
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        extra = "".join(f", {key}=..." for key in bound)
        rule = (
            "with_parameters() hands each object over under its name; the function must "
            "take these names, and need no others."
            if bound
            else "A trainable function takes the config as its only positional argument; "
            "bind further ones with with_parameters()."
        )
        raise ValueError(
            f"trainable: {name}{signature} cannot be called as {name}(config{extra}): "
            f"{error}. {rule}"
        ) from None


def function_name(trainable: Any) -> str:
    """Returns the name under which a trainable appears in trial names.

    Raises:
        ValueError: It has one that cannot be written as UTF-8.
    """
    name = getattr(trainable, "_name", None)
    if isinstance(name, str) and name:
        return check_text("trainable", name)
    if isinstance(trainable, functools.partial):
        return function_name(trainable.func)
    name = getattr(trainable, "__name__", None)
    if not isinstance(name, str):
        logger.warning(
            "A trainable of type %s has no name, so its trials are called DEFAULT. "
            "Register it under a name with register_trainable().",
            type(trainable).__name__,
        )
        return "DEFAULT"
    if name == "<lambda>":
        return "lambda"
    if name.startswith("<"):
        return "DEFAULT"
    return check_text("trainable", name)


def with_parameters(trainable: Any, **kwargs: Any) -> Any:
    """Binds objects to a trainable, which receives them as keyword arguments.

    The objects travel to the workers once, not with each trial's config, and stay out of
    result files: use it for data sets. All workers share the memory of arrays (of NumPy, and
    what is made of them, such as data frames). Where a trial writes to one, what it writes
    is seen by its own worker alone and costs memory there. With the inline executor all
    trials get the objects themselves.

    Args:
        trainable: A function, called as `trainable(config, **kwargs)`; or a Trainable
            class, whose `setup` is called as `setup(config, **kwargs)`. It may have been
            through with_parameters() and with_resources() before.

    Raises:
        ValueError: `trainable` is neither, or does not take these arguments. That others
            are missing is an error of what the trainable is then given to.
    """
    from ctune.trainable.trainable import Trainable

    if inspect.isclass(trainable) and issubclass(trainable, Trainable):
        return _class_with(trainable, kwargs)
    if inspect.isclass(trainable) or not callable(trainable):
        raise ValueError(
            "trainable: with_parameters() takes a function or a Trainable class, got "
            f"{brief(trainable)}."
        )
    function, before = _unbound(trainable)
    parameters = Parameters({**before, **kwargs})
    _check_call(function, parameters.values, inspect.Signature.bind_partial)

    def inner(config: dict[str, Any]) -> Any:
        return function(config, **parameters.values)

    inner.__name__ = inner.__qualname__ = function_name(trainable)
    inner.__doc__ = trainable.__doc__
    cast("Any", inner)._ctune_bound = function, parameters
    for name in ("_resources", "__mixins__"):
        if hasattr(trainable, name):
            setattr(inner, name, getattr(trainable, name))
    return inner


def _class_with(base: type[Any], kwargs: dict[str, Any]) -> type[Any]:
    parameters = Parameters(kwargs)

    def setup(self: Any, config: dict[str, Any], **more: Any) -> None:
        base.setup(self, config, **{**parameters.values, **more})

    return type(base.__name__, (base,), {"setup": setup, "__doc__": base.__doc__})


def with_resources(
    trainable: Any,
    resources: dict[str, float] | PlacementGroupFactory | Callable[[dict[str, Any]], Any],
) -> Any:
    """Attaches a request for resources to a trainable.

    Args:
        trainable: A function, a bound method or a Trainable class.
        resources: A dict such as `{"cpu": 2, "gpu": 0.5}`, a PlacementGroupFactory, or
            a function of the config that returns either. It takes the place of an
            earlier request.

    Raises:
        ValueError: `resources` or `trainable` is none of these.
        RuntimeError: The trainable is an object that refuses new attributes.
    """
    from ctune.execution.placement_groups import (
        PlacementGroupFactory,
        resource_dict_to_pg_factory,
    )
    from ctune.trainable.trainable import Trainable

    request: Any
    if isinstance(resources, PlacementGroupFactory):
        request = resources
    elif isinstance(resources, dict):
        try:
            request = resource_dict_to_pg_factory(resources)
        except ValueError as error:
            raise ValueError(f"resources: {error}") from None
    elif callable(resources):
        request = resources
    else:
        raise ValueError(
            "resources: must be a dict, a PlacementGroupFactory or a function of the "
            f"config, got {brief(resources)}."
        )
    if not callable(trainable):
        raise ValueError(
            "trainable: with_resources() takes a function or a Trainable class, got "
            f"{brief(trainable)}."
        )
    if inspect.isclass(trainable) and issubclass(trainable, Trainable):
        return _class_with_request(trainable, request)
    if isinstance(trainable, types.MethodType):
        return _function_with_request(trainable, request)
    try:
        trainable._resources = request
    except (AttributeError, TypeError) as error:
        raise RuntimeError(
            "trainable: cannot attach resources to an object of type "
            f"{type(trainable).__name__}, which refuses attributes. Wrap it in a "
            "function."
        ) from error
    return trainable


def _class_with_request(base: type[Any], request: Any) -> type[Any]:
    def default_resource_request(cls: type[Any], config: dict[str, Any]) -> Any:
        from ctune.execution.placement_groups import (
            PlacementGroupFactory,
            resource_dict_to_pg_factory,
        )

        asked = request
        if not isinstance(asked, PlacementGroupFactory):
            asked = asked(config)
        if isinstance(asked, dict):
            asked = resource_dict_to_pg_factory(asked)
        return asked

    members = {
        "_resources": request,
        "default_resource_request": classmethod(default_resource_request),
        "__doc__": base.__doc__,
    }
    return type(base.__name__, (base,), members)


def _function_with_request(method: types.MethodType, request: Any) -> Callable[..., Any]:
    def inner(config: dict[str, Any]) -> Any:
        return method(config)

    inner.__name__ = inner.__qualname__ = function_name(method)
    inner.__doc__ = method.__doc__
    cast("Any", inner)._resources = request
    return inner
