"""Measures functions in a process of their own, two in turn, to tell which one is faster and whether they agree."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeml.compiler.pipeline import BUILD_CONFIG

if TYPE_CHECKING:
    import tvm

_ROUNDS = 40
_BLOCK_S = 0.003
_TOLERANCE = 5e-5  # of the largest value: sums in another order round otherwise

Times = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Two functions measured in turn.

    Attributes:
        ratio: time of the second over time of the first, geometric mean over rounds.
        ci95: 95% interval of `ratio`.
        agree: the second computes what the first does.
    """

    ratio: float
    ci95: tuple[float, float]
    agree: bool

    @property
    def second_is_better(self) -> bool:
        """The second is faster for certain, and right; in a tie the first one stays."""
        return self.agree and self.ci95[1] < 1


def contest(times: Times, *, agree: bool) -> Contest:
    """The contest of which `times` are the rounds, (first, second) in seconds: Student's t on the logarithms."""
    from scipy import stats

    logs = np.log([second / first for first, second in times])
    mean, error = float(np.mean(logs)), float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    half = error * float(stats.t.ppf(0.975, len(logs) - 1))
    return Contest(ratio=math.exp(mean), ci95=(math.exp(mean - half), math.exp(mean + half)), agree=agree)


class Bench:
    """Measures on this machine, in a process that may crash or hang without harm."""

    def __init__(self, target: tvm.target.Target, *, timeout_s: float = 60.0) -> None:
        from tvm.support.popen_pool import PopenPoolExecutor

        self._target = target
        self._pool = PopenPoolExecutor(max_workers=1, timeout=timeout_s)

    def seconds(self, function: Any) -> float | None:
        """Time of one call; None where it cannot be run."""
        times = self._run(_measure, function)
        return None if times is None else float(np.median(times))

    def contest(self, first: Any, second: Any) -> Contest | None:
        """The two measured in turn; None where one of them cannot be run."""
        answer = self._run(_measure_in_turn, first, second)
        return None if answer is None else contest(answer[0], agree=answer[1])

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()

    def _run(self, work: Any, *functions: Any) -> Any:
        try:
            return self._pool.submit(work, self._target, *functions).result()
        except Exception:  # noqa: BLE001  whatever went wrong there, the function cannot be measured
            return None


def _measure(target: Any, function: Any) -> list[float]:
    compiled = _Compiled(function, target)
    arguments = compiled.arguments(np.random.default_rng(0), low=-1.0)
    runs = compiled.runs_a_block(arguments)
    return [compiled.seconds(arguments, runs) for _ in range(5)]


def _measure_in_turn(target: Any, *functions: Any) -> tuple[Times, bool]:
    pair = [_Compiled(function, target) for function in functions]
    agree = all(_agree(pair, low) for low in (-1.0, 0.1))  # roots and logarithms take positive numbers only
    runs = [each.runs_a_block(each.arguments(np.random.default_rng(0), low=-1.0)) for each in pair]
    times = []
    for turn in range(_ROUNDS):
        found = [0.0, 0.0]
        for index in (0, 1) if turn % 2 == 0 else (1, 0):
            # New buffers each time: where they land in memory is part of what varies.
            arguments = pair[index].arguments(np.random.default_rng(turn), low=-1.0)
            found[index] = pair[index].seconds(arguments, runs[index])
        times.append((found[0], found[1]))
    return tuple(times), agree


def _agree(pair: list[_Compiled], low: float) -> bool:
    first, second = (each.results(each.arguments(np.random.default_rng(7), low=low)) for each in pair)
    return all(map(_close, first, second))


def _close(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    if a.dtype.kind != "f":
        wide = np.abs(a.astype(np.int64) - b.astype(np.int64))
        return int(wide.max(initial=0)) <= (a.dtype.itemsize == 1)  # a rounding to 8 bits may fall to either side
    scale = float(np.max(np.abs(a), where=np.isfinite(a), initial=0.0))
    return bool(np.allclose(a, b, rtol=_TOLERANCE, atol=_TOLERANCE * scale, equal_nan=True))


class _Compiled:
    """A function made to run in this process."""

    def __init__(self, function: Any, target: Any) -> None:
        import tvm

        module = tvm.IRModule({"main": function.with_attr("global_symbol", "main")})
        with tvm.transform.PassContext(opt_level=3, config=BUILD_CONFIG):
            self._module = tvm.compile(module, target=target).jit()
        self._specs = [(tuple(int(size) for size in each.shape), str(each.dtype)) for each in function.params]

    def arguments(self, generator: np.random.Generator, *, low: float) -> list[Any]:
        import tvm

        return [tvm.runtime.tensor(_values(shape, dtype, generator, low)) for shape, dtype in self._specs]

    def results(self, arguments: list[Any]) -> list[npt.NDArray[Any]]:
        """All arguments after a call: the results are among them."""
        self._module["main"](*arguments)
        return [argument.numpy() for argument in arguments]

    def runs_a_block(self, arguments: list[Any]) -> int:
        self.seconds(arguments, 1)  # the first call starts threads
        return max(1, round(_BLOCK_S / max(self.seconds(arguments, 3), 1e-9)))

    def seconds(self, arguments: list[Any], runs: int) -> float:
        import tvm

        evaluator = self._module.time_evaluator("main", tvm.cpu(), number=runs, repeat=1)
        return float(evaluator(*arguments).mean)


def _values(shape: tuple[int, ...], dtype: str, generator: np.random.Generator, low: float) -> npt.NDArray[Any]:
    if dtype.startswith("float"):
        return generator.uniform(low, 1.0, shape).astype(dtype)
    if dtype in {"int8", "uint8"}:
        return generator.integers(0, 100, shape).astype(dtype)
    return np.zeros(shape, dtype)  # wide integers may be indices
