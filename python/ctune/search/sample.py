"""What a hyperparameter may be: numbers, choices, functions of the others.

Sources of the sampling rules: the documented interface of Ray Tune, and Bergstra and
Bengio, "Random Search for Hyper-Parameter Optimization", JMLR 13 (2012), section 2.4.
"""

from __future__ import annotations

import copy
import inspect
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ctune import _ctune
from ctune.search._view import _SpecView

__all__ = [
    "BaseSampler",
    "Categorical",
    "Domain",
    "Float",
    "Function",
    "Grid",
    "Integer",
    "LogUniform",
    "Normal",
    "Quantized",
    "Sampler",
    "Uniform",
    "choice",
    "lograndint",
    "loguniform",
    "qlograndint",
    "qloguniform",
    "qrandint",
    "qrandn",
    "quniform",
    "randint",
    "randn",
    "sample_from",
    "uniform",
]

logger = logging.getLogger(__name__)

_D = TypeVar("_D", bound="Domain")


# --- samplers ------------------------------------------------------------------------


class Sampler:
    """Draws values of a domain. Subclass it, and override `sample`, for a rule of your own."""

    def sample(
        self,
        domain: Domain,
        config: Any = None,
        size: int = 1,
        random_state: Any = None,
    ) -> Any:
        """Draws values.

        Args:
            domain: What to draw values of.
            config: The configuration so far.
            size: How many values.
            random_state: A `numpy.random.Generator` or `RandomState`; with the methods
                `integers` and `random` in either case.

        Returns:
            One value if `size` is 1, else that many.
        """
        raise NotImplementedError(f"{type(self).__name__}.sample() is missing.")

    def __str__(self) -> str:
        return type(self).__name__.removeprefix("_")


class BaseSampler(Sampler):
    """The sampler of domains that have none."""

    def __str__(self) -> str:
        return "Base"


class _Native(Sampler):
    """A sampler whose rule is in the engine."""

    def sample(
        self,
        domain: Domain,
        config: Any = None,
        size: int = 1,
        random_state: Any = None,
    ) -> Any:
        """Draws values: a scalar if `size` is 1, else an array, or a list of categories."""
        return _draw(domain, self, size, random_state)


class Uniform(_Native):
    """Every value is equally likely."""

    def __str__(self) -> str:
        return "Uniform"


class LogUniform(_Native):
    """Uniform in the logarithm.

    Args:
        base: Of the logarithm, greater than 0 and not 1; only matters for rounding.

    Raises:
        ValueError: `base` is out of range.
    """

    def __init__(self, base: float = 10) -> None:
        _number("base", base)
        if not base > 0 or base == 1:
            raise ValueError(f"base: must be greater than 0 and not 1, got {base}; 10 is usual.")
        self.base = base

    def __str__(self) -> str:
        return "LogUniform"


class Normal(_Native):
    """Normally distributed.

    Args:
        mean: Expected value.
        sd: Standard deviation, greater than 0.

    Raises:
        ValueError: `sd` is out of range.
    """

    def __init__(self, mean: float = 0.0, sd: float = 0.0) -> None:
        _number("mean", mean)
        _number("sd", sd)
        if not math.isfinite(mean):
            raise ValueError(f"mean: must be a finite number, got {mean}.")
        if not 0 < sd < math.inf:
            raise ValueError(f"sd: must be a finite number greater than 0, got {sd}.")
        self.mean = mean
        self.sd = sd

    def __str__(self) -> str:
        return "Normal"


class Grid(Sampler):
    """Every category in turn: the sampler of `grid_search`."""

    def sample(
        self,
        domain: Domain,
        config: Any = None,
        size: int = 1,
        random_state: Any = None,
    ) -> Any:
        """Cannot be: a grid is gone through, not drawn from."""
        raise RuntimeError("A grid is gone through, not sampled; use `generate_variants`.")

    def __str__(self) -> str:
        return "Grid"


class Quantized(Sampler):
    """Rounds what another sampler draws to multiples of `q`.

    Args:
        sampler: Draws the values.
        q: Greater than 0. Both bounds of the domain count, if they are multiples.

    Raises:
        ValueError: `q` is out of range.
    """

    def __init__(self, sampler: Sampler | None, q: float) -> None:
        _number("q", q)
        if not q > 0:
            raise ValueError(f"q: must be greater than 0, got {q}.")
        self.sampler = sampler or Uniform()
        self.q = q

    def get_sampler(self) -> Sampler:
        """Returns the sampler whose values are rounded."""
        return self.sampler

    def sample(
        self,
        domain: Domain,
        config: Any = None,
        size: int = 1,
        random_state: Any = None,
    ) -> Any:
        """Draws values: a scalar if `size` is 1, else a list."""
        if domain._form(self.sampler, self.q) is not None:
            drawn = _draw(domain, self.sampler, size, random_state, self.q)
            return drawn if size == 1 else list(drawn)
        if self.q == 1:
            return self.sampler.sample(domain, config, size, random_state)
        inner = copy.copy(domain)
        lower, upper = getattr(domain, "lower", -math.inf), getattr(domain, "upper", math.inf)
        inner.lower, inner.upper = _inwards(lower, upper, self.q)  # type: ignore[attr-defined]
        drawn = self.sampler.sample(inner, config, size, random_state)
        values = [domain.cast(round(v / self.q) * self.q) for v in _listed(drawn, size)]
        return values[0] if size == 1 else values

    def __str__(self) -> str:
        return "Quantized"


def _inwards(lower: float, upper: float, q: float) -> tuple[float, float]:
    """The outermost multiples of q within the bounds."""
    return (
        lower if math.isinf(lower) else math.ceil(lower / q) * q,
        upper if math.isinf(upper) else math.floor(upper / q) * q,
    )


def _listed(drawn: Any, size: int) -> list[Any]:
    return [drawn] if size == 1 else list(drawn)


class _Stream:
    """A legacy stream under the names that the newer one has."""

    def __init__(self, random_state: Any) -> None:
        self.random_state = random_state

    def __getattr__(self, name: str) -> Any:
        legacy = {"integers": "randint", "random": "rand"}.get(name, name)
        return getattr(self.random_state, legacy)


def _stream(random_state: Any) -> Any:
    """What a sampler written in Python draws from."""
    import numpy as np

    if random_state is None:
        return _Stream(np.random.mtrand._rand)
    if isinstance(random_state, int):
        return np.random.default_rng(random_state)
    if isinstance(random_state, np.random.RandomState):
        return _Stream(random_state)
    return random_state


def _draw(domain: Domain, sampler: Sampler, size: int, random_state: Any, q: float = 0.0) -> Any:
    form = domain._form(sampler, q)
    if form is None:
        raise TypeError(f"sampler: {sampler} cannot draw values of a {type(domain).__name__}.")
    while isinstance(random_state, _Stream):
        random_state = random_state.random_state
    return domain._drawn(_ctune.sample_domain(form, random_state, size), size)


def _log_bounds(lower: float, upper: float, base: float) -> tuple[float, float]:
    """Logarithms as NumPy takes them, so that draws agree with it to the last bit."""
    import numpy as np

    return float(np.log(lower) / np.log(base)), float(np.log(upper) / np.log(base))


# --- domains -------------------------------------------------------------------------


class Domain(_ctune.Domain):
    """What values a hyperparameter may have, and how they are drawn.

    Attributes:
        sampler: How values are drawn; None: the default of the class.
    """

    sampler: Sampler | None = None
    default_sampler_cls: type[Sampler] | None = None

    def cast(self, value: Any) -> Any:
        """Returns the value in the domain's type."""
        return value

    def set_sampler(self, sampler: Sampler, allow_override: bool = False) -> None:
        """Chooses how values are drawn.

        Raises:
            ValueError: A sampler was chosen before, and `allow_override` is False.
        """
        if self.sampler and not allow_override:
            raise ValueError(
                f"sampler: {self} has the sampler {self.sampler} already; choose one of "
                f"{self.sampler} and {sampler}, or pass allow_override=True."
            )
        self.sampler = sampler

    def get_sampler(self) -> Sampler:
        """Returns the chosen sampler, or a new default one."""
        if self.sampler is not None:
            return self.sampler
        return (self.default_sampler_cls or BaseSampler)()

    def sample(self, config: Any = None, size: int = 1, random_state: Any = None) -> Any:
        """Draws values.

        Args:
            config: The configuration so far, for functions of it.
            size: How many values.
            random_state: A seed, a `numpy.random.Generator` or `RandomState`. Default: the
                global stream of NumPy, `numpy.random.seed`.

        Returns:
            One value if `size` is 1, else an array or list of that many.
        """
        sampler = self.get_sampler()
        if self._engine_form() is None:
            random_state = _stream(random_state)
        return sampler.sample(self, config=config, size=size, random_state=random_state)

    def is_grid(self) -> bool:
        """Returns whether every value is tried."""
        return isinstance(self.sampler, Grid)

    def is_function(self) -> bool:
        """Returns whether values are computed by a function."""
        return False

    def is_valid(self, value: Any) -> bool:
        """Returns whether the domain holds the value."""
        raise NotImplementedError(f"{type(self).__name__}.is_valid() is missing.")

    @property
    def domain_str(self) -> str:
        """The domain as text."""
        return "(unknown)"

    def _derived(self: _D, sampler: Sampler) -> _D:
        new = copy.copy(self)
        new.set_sampler(sampler)
        return new

    def _quantized(self: _D, q: float) -> _D:
        new = copy.copy(self)
        new.set_sampler(Quantized(new.get_sampler(), q), allow_override=True)
        return new

    def _form(self, sampler: Sampler, q: float) -> tuple[Any, ...] | None:
        """The domain as the engine knows it; None: the sampler is written in Python."""
        return None

    def _engine_form(self) -> tuple[Any, ...] | None:
        sampler = self.get_sampler()
        q = 0.0
        if isinstance(sampler, Quantized):
            if type(sampler).sample is not Quantized.sample:
                return None
            q = sampler.q
            sampler = sampler.sampler
        if type(sampler).sample is not _Native.sample:
            return None
        return self._form(sampler, q)

    def _drawn(self, values: list[Any], size: int) -> Any:
        """What the engine drew, as users get it."""
        if size == 1:
            return values[0]
        import numpy as np

        return np.array(values)


class Float(Domain):
    """Floats from `lower` to `upper`.

    Args:
        lower, upper: Bounds; None: none.

    Raises:
        TypeError: A bound is no number.
    """

    class _Uniform(Uniform):
        pass

    class _LogUniform(LogUniform):
        pass

    class _Normal(Normal):
        pass

    default_sampler_cls = _Uniform

    def __init__(self, lower: float | None, upper: float | None) -> None:
        self.lower = _number("lower", lower) if lower is not None else -math.inf
        self.upper = _number("upper", upper) if upper is not None else math.inf

    def cast(self, value: Any) -> float:
        """Returns the value as a float."""
        return float(value)

    def uniform(self) -> Float:
        """Returns the domain with every value equally likely.

        Raises:
            ValueError: A bound is missing.
        """
        if not self.lower > -math.inf:
            raise ValueError("lower: a uniform float needs a finite lower bound.")
        if not self.upper < math.inf:
            raise ValueError("upper: a uniform float needs a finite upper bound.")
        return self._derived(self._Uniform())

    def loguniform(self, base: float = 10) -> Float:
        """Returns the domain uniform in the logarithm.

        Raises:
            ValueError: The bounds are not 0 < lower and upper < infinity.
        """
        _check_log(self.lower, self.upper)
        return self._derived(self._LogUniform(base))

    def normal(self, mean: float = 0.0, sd: float = 1.0) -> Float:
        """Returns the domain normally distributed."""
        return self._derived(self._Normal(mean, sd))

    def quantized(self, q: float) -> Float:
        """Returns the domain with values rounded to multiples of `q`.

        Raises:
            ValueError: A finite bound is no multiple of `q`.
        """
        _number("q", q)
        if not q > 0:
            raise ValueError(f"q: must be greater than 0, got {q}.")
        for name, bound in (("lower", self.lower), ("upper", self.upper)):
            if math.isfinite(bound) and not math.isclose(bound / q, round(bound / q)):
                raise ValueError(
                    f"{name}: must be a multiple of q = {q}, got {bound}; use "
                    f"{round(bound / q) * q:.12g}, or another q."
                )
        return self._quantized(q)

    def is_valid(self, value: float) -> bool:
        """Returns whether lower <= value <= upper."""
        return self.lower <= value <= self.upper

    @property
    def domain_str(self) -> str:
        """The bounds as text."""
        return f"({self.lower}, {self.upper})"

    def _form(self, sampler: Sampler, q: float) -> tuple[Any, ...] | None:
        if isinstance(sampler, Normal):
            if math.isfinite(self.lower) or math.isfinite(self.upper):
                raise ValueError(
                    f"normal: works without bounds only, got {self.domain_str}; use "
                    "Float(None, None)."
                )
            return ("normal", sampler.mean, sampler.sd, q)
        if isinstance(sampler, LogUniform):
            return ("float", self.lower, self.upper, True, sampler.base, q)
        if isinstance(sampler, Uniform):
            return ("float", self.lower, self.upper, False, 0.0, q)
        return None


class Integer(Domain):
    """Integers from `lower` to `upper` - 1; to `upper` when quantized with q > 1.

    Args:
        lower, upper: Bounds.

    Raises:
        ValueError: A bound is not a whole number.
    """

    class _Uniform(Uniform):
        pass

    class _LogUniform(LogUniform):
        pass

    default_sampler_cls = _Uniform

    def __init__(self, lower: int, upper: int) -> None:
        self.lower = _whole("lower", lower)
        self.upper = _whole("upper", upper)

    def cast(self, value: Any) -> int:
        """Returns the value as an int."""
        return int(value)

    def uniform(self) -> Integer:
        """Returns the domain with every value equally likely."""
        return self._derived(self._Uniform())

    def loguniform(self, base: float = 10) -> Integer:
        """Returns the domain uniform in the logarithm.

        Raises:
            ValueError: The lower bound is not greater than 0.
        """
        _check_log(self.lower, self.upper)
        return self._derived(self._LogUniform(base))

    def quantized(self, q: float) -> Integer:
        """Returns the domain with multiples of `q` only.

        Raises:
            ValueError: `q` is not greater than 0.
        """
        return self._quantized(q)

    def is_valid(self, value: int) -> bool:
        """Returns whether lower <= value <= upper."""
        return self.lower <= value <= self.upper

    @property
    def domain_str(self) -> str:
        """The bounds as text."""
        return f"({self.lower}, {self.upper})"

    def _form(self, sampler: Sampler, q: float) -> tuple[Any, ...] | None:
        if isinstance(sampler, LogUniform):
            return ("int", self.lower, self.upper, True, sampler.base, q)
        if isinstance(sampler, Uniform):
            return ("int", self.lower, self.upper, False, 0.0, q)
        return None


class Categorical(Domain):
    """One of several values, which may be domains, or dicts and lists that hold some.

    Args:
        categories: The values.

    Raises:
        TypeError: `categories` is no list of values.
    """

    class _Uniform(Uniform):
        pass

    default_sampler_cls = _Uniform

    def __init__(self, categories: Sequence[Any]) -> None:
        try:
            self.categories = list(categories)
        except TypeError:
            raise TypeError(
                f"categories: must be a list of values, got {categories!r:.80}; write "
                "choice([...])."
            ) from None

    def uniform(self) -> Categorical:
        """Returns the domain with every category equally likely."""
        return self._derived(self._Uniform())

    def grid(self) -> Categorical:
        """Returns the domain with every category tried."""
        return self._derived(Grid())

    def __len__(self) -> int:
        return len(self.categories)

    def __getitem__(self, item: int) -> Any:
        return self.categories[item]

    def is_valid(self, value: Any) -> bool:
        """Returns whether the value is a category."""
        return value in self.categories

    @property
    def domain_str(self) -> str:
        """The categories as text."""
        return f"{self.categories}"

    def _form(self, sampler: Sampler, q: float) -> tuple[Any, ...] | None:
        return ("choice", self.categories) if type(sampler).sample is _Native.sample else None

    def _engine_form(self) -> tuple[Any, ...] | None:
        return ("grid", self.categories) if self.is_grid() else super()._engine_form()

    def _drawn(self, values: list[Any], size: int) -> Any:
        drawn = [self.categories[i] for i in values]
        return drawn[0] if size == 1 else drawn


class Function(Domain):
    """Values that a function computes, from the configuration if it takes an argument.

    Args:
        func: Takes the configuration, or nothing.

    Raises:
        TypeError: `func` is not callable.
        ValueError: `func` needs more than one argument.
    """

    class _CallSampler(BaseSampler):
        def sample(
            self,
            domain: Domain,
            config: Any = None,
            size: int = 1,
            random_state: Any = None,
        ) -> Any:
            assert isinstance(domain, Function)
            given = config if size != 1 and isinstance(config, list) else [config] * size
            values = [domain._call(c) for c in given]
            return values[0] if size == 1 else values

    default_sampler_cls = _CallSampler

    def __init__(self, func: Callable[..., Any]) -> None:
        if not callable(func):
            raise TypeError(f"func: must be callable, got {func!r:.80}.")
        self.pass_config = _takes_config(func)
        self.func = func

    def is_function(self) -> bool:
        """True."""
        return True

    def is_valid(self, value: Any) -> bool:
        """True: a function may give anything."""
        return True

    @property
    def domain_str(self) -> str:
        """The function as text."""
        return f"{self.func}()"

    def _engine_form(self) -> tuple[Any, ...] | None:
        return ("function",) if isinstance(self.get_sampler(), self._CallSampler) else None

    def _call(self, config: Any) -> Any:
        if not self.pass_config:
            return self.func()
        try:
            return self.func(config)
        except (AttributeError, KeyError):
            # Written for the spec, in which the configuration is an entry.
            value = self.func(_SpecView({"config": _SpecView(config or {})}))
            logger.warning(
                "sample_from: functions of a spec (`lambda spec: spec.config.x`) are "
                'deprecated; write `lambda config: config["x"]`.'
            )
            return value


def _takes_config(func: Callable[..., Any]) -> bool:
    try:
        signature = inspect.signature(func)
    except ValueError:  # some builtins do not tell
        return True
    for arguments in ((None,), ()):
        try:
            signature.bind(*arguments)
        except TypeError:
            continue
        return bool(arguments)
    raise ValueError(
        f"func: must be callable with the configuration or with nothing, got {func!r:.80} "
        f"with the signature {signature}."
    )


def _number(name: str, value: Any) -> Any:
    # Comparing tells without importing NumPy, whose scalars are numbers too.
    try:
        _ = value > 0.0
    except TypeError:
        raise TypeError(f"{name}: must be a number, got {value!r:.80}.") from None
    return value


def _check_log(lower: float, upper: float) -> None:
    if not lower > 0:
        raise ValueError(
            f"lower: a log scale needs a lower bound greater than 0, got {lower}; give the "
            "value itself, not its logarithm."
        )
    if not 0 < upper < math.inf:
        raise ValueError(
            f"upper: a log scale needs a finite upper bound greater than 0, got {upper}."
        )


def _whole(name: str, value: Any) -> int:
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}: must be a whole number, got {value!r:.80}.") from None
    if whole != value:
        raise ValueError(f"{name}: must be a whole number, got {value!r:.80}.")
    return whole


# --- constructors --------------------------------------------------------------------


def sample_from(func: Callable[..., Any]) -> Function:
    """A value that a function computes.

    Args:
        func: Takes the configuration, a dict in which all other parameters are set, or
            nothing.

    Raises:
        TypeError: `func` is not callable.
        ValueError: `func` needs more than one argument.
    """
    return Function(func)


def uniform(lower: float, upper: float) -> Float:
    """A float in [lower, upper), every value equally likely."""
    return Float(lower, upper).uniform()


def quniform(lower: float, upper: float, q: float) -> Float:
    """A multiple of `q` from `lower` to `upper`, both included."""
    return Float(lower, upper).uniform().quantized(q)


def loguniform(lower: float, upper: float, base: float = 10) -> Float:
    """A float in [lower, upper), uniform in its logarithm.

    Args:
        lower, upper: Bounds, 0 < lower.
        base: Of the logarithm; only matters for rounding.

    Raises:
        ValueError: A bound is out of range.
    """
    return Float(lower, upper).loguniform(base)


def qloguniform(lower: float, upper: float, q: float, base: float = 10) -> Float:
    """A multiple of `q` from `lower` to `upper`, both included; uniform in its logarithm."""
    return Float(lower, upper).loguniform(base).quantized(q)


def choice(categories: Sequence[Any]) -> Categorical:
    """One of the values, each equally likely.

    Args:
        categories: The values. They may be search spaces themselves, which only count if
            they are chosen.
    """
    return Categorical(categories).uniform()


def randint(lower: int, upper: int) -> Integer:
    """An integer from `lower` to `upper` - 1."""
    return Integer(lower, upper).uniform()


def lograndint(lower: int, upper: int, base: float = 10) -> Integer:
    """An integer from `lower` to `upper` - 1, uniform in its logarithm."""
    return Integer(lower, upper).loguniform(base)


def qrandint(lower: int, upper: int, q: int = 1) -> Integer:
    """A multiple of `q` from `lower` to `upper`; `upper` is not included if q is 1."""
    return Integer(lower, upper).uniform().quantized(q)


def qlograndint(lower: int, upper: int, q: int, base: float = 10) -> Integer:
    """A multiple of `q` from `lower` to `upper`, uniform in its logarithm.

    `upper` is not included if q is 1.
    """
    return Integer(lower, upper).loguniform(base).quantized(q)


def randn(mean: float = 0.0, sd: float = 1.0) -> Float:
    """A normally distributed float.

    Args:
        mean: Expected value.
        sd: Standard deviation, greater than 0.
    """
    return Float(None, None).normal(mean, sd)


def qrandn(mean: float, sd: float, q: float) -> Float:
    """A normally distributed float, rounded to multiples of `q`."""
    return Float(None, None).normal(mean, sd).quantized(q)
