"""What a trial asks for: bundles of resources."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NoReturn

from ctune._encode import brief, check_text

__all__ = ["PlacementGroupFactory", "resource_dict_to_pg_factory"]

_STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


class PlacementGroupFactory:
    """Bundles of resources that a trial holds together.

    The first bundle is for the trial itself, the others for workers that it starts. On
    one machine a trial holds their sum; executors for clusters get the bundles as they
    are. Two objects with the same content are equal.

    Args:
        bundles: At least one, each resource name -> amount. Amounts of 0 are dropped. An
            empty first bundle means that the trial itself needs nothing.
        strategy: "PACK", "SPREAD", "STRICT_PACK" or "STRICT_SPREAD": how a cluster places
            the bundles.
        *args, **kwargs: Kept for executors of clusters.

    Raises:
        ValueError: There is no bundle, or nothing is asked for in all of them, or an
            amount is not a number of 0 or more, or the strategy is unknown.
    """

    def __init__(
        self,
        bundles: list[dict[str, float]],
        strategy: str = "PACK",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        if not isinstance(bundles, (list, tuple)) or not bundles:
            raise ValueError(
                "bundles: must be a list with at least one bundle, such as "
                f'[{{"CPU": 1}}], got {bundles!r}.'
            )
        if strategy not in _STRATEGIES:
            raise ValueError(
                f"strategy: must be one of {', '.join(_STRATEGIES)}, got {brief(strategy)}."
            )
        clean = [_clean(bundle) for bundle in bundles]
        self._head_bundle_is_empty = not clean[0]
        if self._head_bundle_is_empty:
            del clean[0]
        if not clean:
            raise ValueError(
                f"bundles: {bundles!r} asks for nothing. Give the only bundle an amount "
                'above 0, such as {"CPU": 1}.'
            )
        self._bundles = clean
        self._strategy = strategy
        self._args = args
        self._kwargs = kwargs

    @property
    def bundles(self) -> list[dict[str, float]]:
        """A copy of the bundles, without an empty first one."""
        return [dict(bundle) for bundle in self._bundles]

    @property
    def strategy(self) -> str:
        """How a cluster places the bundles."""
        return self._strategy

    @property
    def head_bundle_is_empty(self) -> bool:
        """Whether the trial itself needs nothing."""
        return self._head_bundle_is_empty

    @property
    def head_cpus(self) -> float:
        """CPUs of the trial itself."""
        return 0.0 if self._head_bundle_is_empty else self._bundles[0].get("CPU", 0.0)

    @property
    def required_resources(self) -> dict[str, float]:
        """The sum of all bundles."""
        total: dict[str, float] = {}
        for bundle in self._bundles:
            for name, amount in bundle.items():
                total[name] = total.get(name, 0.0) + amount
        return total

    def to_placement_group(self) -> NoReturn:
        """Raises NotImplementedError: placement groups exist on clusters only."""
        raise NotImplementedError(
            "to_placement_group(): the executors of this machine place trials by "
            "`required_resources`, without placement groups."
        )

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Deprecated name of `to_placement_group`."""
        warnings.warn(
            "Calling a PlacementGroupFactory is deprecated; use to_placement_group().",
            DeprecationWarning,
            stacklevel=2,
        )
        self.to_placement_group()

    def _content(self) -> tuple[Any, ...]:
        bundles = tuple(frozenset(bundle.items()) for bundle in self._bundles)
        extra = (repr(self._args), repr(sorted(self._kwargs.items())))
        return (bundles, self._head_bundle_is_empty, self._strategy, *extra)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PlacementGroupFactory):
            return NotImplemented
        return self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())

    def __repr__(self) -> str:
        bundles = [{}, *self._bundles] if self._head_bundle_is_empty else self._bundles
        return f"PlacementGroupFactory({bundles!r}, strategy={self._strategy!r})"


def _clean(bundle: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(bundle, Mapping):
        raise ValueError(f'bundles: each must be a dict such as {{"CPU": 1}}, got {brief(bundle)}.')
    clean: dict[str, float] = {}
    for name, amount in bundle.items():
        try:
            number = _amount(name, amount)
        except ValueError as error:
            raise ValueError(f"bundles: {error}") from None
        if number:
            clean[name] = number
    return clean


def _amount(name: Any, amount: Any) -> float:
    if not isinstance(name, str):
        raise ValueError(f"names of resources are texts, got {brief(name)}.")
    check_text("name of a resource", name)
    try:
        number = float(amount)
    except (TypeError, ValueError):
        number = -1.0
    if not 0 <= number < float("inf"):
        raise ValueError(
            f"the amount of {name!r} must be a number, 0 or more, got {brief(amount)}."
        )
    return number


def resource_dict_to_pg_factory(
    spec: Mapping[str, Any] | None = None,
) -> PlacementGroupFactory:
    """Makes one bundle of a dict as users write it.

    Args:
        spec: "cpu" or "CPU", "gpu" or "GPU", "memory", and further names, which may
            also stand in a dict under the key "custom_resources". Default: one CPU.

    Raises:
        ValueError: As for PlacementGroupFactory.
    """
    if spec is not None and not isinstance(spec, Mapping):
        raise ValueError(f'must be a dict such as {{"cpu": 1}}, got {brief(spec)}.')
    own = dict(spec or {"cpu": 1})
    custom = own.pop("custom_resources", None) or {}
    if not isinstance(custom, Mapping):
        raise ValueError(f"custom_resources must be a dict, got {brief(custom)}.")
    # Checked here, where names are still those of the user.
    given = {**custom, **own}
    if not any([_amount(name, value) for name, value in given.items() if value is not None]):
        raise ValueError(
            f'{brief(spec)} asks for nothing; give an amount above 0, such as {{"cpu": 1}}.'
        )
    bundle: dict[str, Any] = {}
    for name, lower in (("CPU", "cpu"), ("GPU", "gpu"), ("memory", "memory")):
        asked = own.pop(lower, None)
        if lower != name:
            upper = own.pop(name, None)
            asked = upper if asked is None else asked
        if asked is not None:
            bundle[name] = asked
    bundle.update(custom)
    bundle.update(own)
    return PlacementGroupFactory([bundle])
