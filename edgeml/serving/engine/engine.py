"""All models of a server: finds the one a request is for, and changes what is served without losing a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.serving.engine.configuration import ModelSource
from edgeml.serving.engine.model import ModelVersion, Observe, platform_json
from edgeml.serving.engine_protocol import IndexEntry, ModelMetadata
from edgeml.serving.errors import FailedError, InvalidRequestError, NotFoundError, UnavailableError
from edgeml.serving.inference import InferenceRequest, InferenceResponse
from edgeml.serving.protocol.limits import Limits

Fault = Callable[[str, str, str], None]
"""Told of a version that could not be loaded: model, version, reason."""
Find = Callable[[str], ModelSource | None]
"""Looks for a model where models come from, as it is there now; may read files."""


@dataclass(slots=True)
class _Served:
    """A model that is known.

    Attributes:
        source: what it is made from.
        versions: those that are ready, by name.
        states: state and reason of every version that is not ready; "" is the model itself.
        stale: versions that go on with an older file, with why the newer one cannot be loaded.
        changing: held while it is loaded or unloaded.
    """

    source: ModelSource
    versions: dict[str, ModelVersion] = field(default_factory=dict)
    states: dict[str, tuple[str, str]] = field(default_factory=dict)
    stale: dict[str, str] = field(default_factory=dict)
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def newest(self) -> str:
        """The newest version that is ready; "" for none."""
        return max(self.versions, key=_by_number, default="")


class RunningEngine:
    """Models by name; an `Engine`. All methods are called on one event loop.

    A change loads what is new first, then lets new requests go there, then answers what the old one accepted, then
    frees it: no request is lost, and memory holds both for a moment.
    """

    def __init__(
        self, limits: Limits, *, find: Find | None = None, observe: Observe | None = None, fault: Fault | None = None
    ) -> None:
        """Nothing is served yet.

        Args:
            limits: bounds on requests.
            find: where a model that a client wants loaded comes from; None loads what is known again.
            observe: told of each request that was run.
            fault: told of each version that could not be loaded.
        """
        self._limits = limits
        self._find = find
        self._observe = observe
        self._fault = fault
        self._served: dict[str, _Served] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._draining = False
        self._opened = False

    def opened(self) -> None:
        """What was to be served from the start has been loaded, or told of as a fault."""
        self._opened = True

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """See `Engine`."""
        if self._draining:
            raise UnavailableError("the server is being stopped", retry_after_s=1)
        return await self._version(request.model, request.version).infer(request)

    def metadata(self, model: str, version: str = "") -> ModelMetadata:
        """See `Engine`."""
        found = self._version(model, version)
        return ModelMetadata(
            name=model,
            versions=tuple(sorted(self._served[model].versions, key=_by_number)),
            platform=found.executable.platform,
            inputs=found.executable.inputs,
            outputs=found.executable.outputs,
            stateful=found.executable.stateful,
        )

    def config(self, model: str, version: str = "") -> dict[str, Any]:
        """See `Engine`."""
        return platform_json(self._version(model, version))

    def statistics(self, model: str = "", version: str = "") -> dict[str, Any]:
        """See `Engine`."""
        names = [model] if model else sorted(self._served)
        found = []
        for name in names:
            if version:
                chosen = [self._version(name, version)]
            else:
                if name not in self._served:
                    raise _unknown(name, self._served)
                chosen = [
                    self._served[name].versions[each] for each in sorted(self._served[name].versions, key=_by_number)
                ]
            found += [each.scheduler.statistics.to_json(name, each.version) for each in chosen]
        return {"model_stats": found}

    def waiting(self) -> dict[tuple[str, str], int]:
        """Requests that wait, by model and version."""
        return {
            (name, version): each.scheduler.waiting
            for name, served in self._served.items()
            for version, each in served.versions.items()
        }

    def is_ready(self, model: str = "", version: str = "") -> bool:
        """See `Engine`."""
        if self._draining:
            return False
        if not model:
            # One faulty model must not take traffic from the others; it is told of by its own page and the index.
            return self._opened and (not self._served or any(served.versions for served in self._served.values()))
        served = self._served.get(model)
        if served is None:
            return False
        return version in served.versions if version else bool(served.versions)

    def index(self, *, ready_only: bool = False) -> tuple[IndexEntry, ...]:
        """See `Engine`."""
        found = []
        for name in sorted(self._served):
            served = self._served[name]
            ready = {version: ("READY", served.stale.get(version, "")) for version in served.versions}
            entries = ready | served.states
            found += [
                IndexEntry(name=name, version=version, state=state, reason=reason)
                for version, (state, reason) in sorted(entries.items(), key=lambda entry: _by_number(entry[0]))
                if not ready_only or state == "READY"
            ]
        return tuple(found)

    async def load(self, model: str) -> None:
        """See `Engine`."""
        known = self._served.get(model)
        source = None if known is None else known.source
        if self._find is not None:
            source = await asyncio.to_thread(self._find, model) or source
        if source is None:
            raise _unknown(model, self._served)
        await self.replace(source)
        served = self._served[model]
        faults = [*served.stale.values(), *(reason for _, reason in served.states.values())]
        if not served.versions or faults:
            raise InvalidRequestError(
                f"model {model} cannot be loaded: {faults[0] if faults else 'it has no versions'}"
            )

    async def unload(self, model: str) -> None:
        """See `Engine`."""
        served = self._served.get(model)
        if served is None:
            raise _unknown(model, self._served)
        async with served.changing:
            old = list(served.versions.values())
            served.versions = {}
            served.states = {each.version: ("UNAVAILABLE", "unloaded") for each in old} or served.states
            await _close_all(old)

    async def replace(self, source: ModelSource, *, unchanged: Collection[str] = ()) -> tuple[EdgeMLError, ...]:
        """Serve a model from this source, in place of what is served by its name; the faults that were met.

        A version that cannot be loaded is told of in the index. Where it was served from before, it goes on; where no
        version can be loaded, so do all that were served.

        Args:
            source: what to serve.
            unchanged: versions that need not be loaded again where they are served.
        """
        served = self._served.setdefault(source.name, _Served(source))
        async with served.changing:
            served.source = source
            old = served.versions
            versions: dict[str, ModelVersion] = {}
            faults: dict[str, EdgeMLError] = {version: UsageError(reason) for version, reason in source.faults.items()}
            for version, path in source.versions.items():
                if version in old and version in unchanged and version not in served.stale:
                    versions[version] = old[version]
                    continue
                if version not in old:
                    served.states[version] = ("LOADING", "")
                try:
                    versions[version] = await ModelVersion.load(
                        source.name, version, path, source.configuration, self._limits, self._observe
                    )
                except EdgeMLError as error:
                    faults[version] = error
                except Exception as error:  # noqa: BLE001 (whatever a runtime raises must not end the others)
                    faults[version] = FailedError(f"{path} cannot be loaded: {type(error).__name__}: {error!s:.300}")
            goes_on = [version for version in faults if version in old] if versions else list(old)
            first = next(iter(faults.values()), None)
            served.stale = {version: str(faults.get(version, first)) for version in goes_on if faults}
            served.versions = versions | {version: old[version] for version in goes_on if faults}
            served.states = {
                version: ("UNAVAILABLE", str(fault))
                for version, fault in faults.items()
                if version not in served.versions and (version or not served.versions)
            }
            if self._fault is not None:
                for version, fault in faults.items():
                    self._fault(source.name, version, str(fault))
            self._retire([each for version, each in old.items() if served.versions.get(version) is not each])
        return tuple(faults.values())

    async def remove(self, model: str) -> None:
        """Serve a model no longer, and forget it."""
        served = self._served.pop(model, None)
        if served is not None:
            async with served.changing:
                self._retire(list(served.versions.values()))

    async def drain(self, timeout_s: float) -> bool:
        """See `Engine`."""
        self._draining = True
        waiting = [each.scheduler.drain() for each in self._ready()]
        try:
            await asyncio.wait_for(asyncio.gather(*waiting, *self._closing), timeout_s)
        except asyncio.TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """See `Engine`."""
        self._draining = True
        for version in self._ready():
            version.scheduler.close()
        for served in self._served.values():
            served.versions = {}

    def _version(self, model: str, version: str) -> ModelVersion:
        served = self._served.get(model)
        if served is None:
            raise _unknown(model, self._served)
        found = served.versions.get(version or served.newest)
        if found is not None:
            return found
        if not version and not served.versions:
            reasons = [reason for _, reason in served.states.values() if reason]
            raise UnavailableError(f"model {model} is not ready{': ' + reasons[0] if reasons else ''}", retry_after_s=1)
        state, reason = served.states.get(version, ("", ""))
        if state:
            raise UnavailableError(
                f"version {version} of model {model} is {state.lower()}{': ' + reason if reason else ''}",
                retry_after_s=1,
            )
        raise NotFoundError(
            f"model {model} has no version {version!r:.40}; it has {', '.join(sorted(served.versions, key=_by_number))}"
        )

    def _ready(self) -> list[ModelVersion]:
        return [each for served in self._served.values() for each in served.versions.values()]

    def _retire(self, versions: list[ModelVersion]) -> None:
        """Free versions that nothing new reaches, once what they accepted is answered, while others are served."""
        if versions:
            task = asyncio.get_running_loop().create_task(_close_all(versions))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def open_engine(
    sources: Sequence[ModelSource],
    *,
    limits: Limits | None = None,
    find: Find | None = None,
    observe: Observe | None = None,
    fault: Fault | None = None,
) -> RunningEngine:
    """An engine that serves these models; those that cannot be loaded are told of in its index."""
    engine = RunningEngine(Limits() if limits is None else limits, find=find, observe=observe, fault=fault)
    for source in sources:
        await engine.replace(source)
    engine.opened()
    return engine


async def _close_all(versions: list[ModelVersion]) -> None:
    for version in versions:
        await version.close()


def _by_number(version: str) -> tuple[int, str]:
    return (int(version), "") if version.isascii() and version.isdigit() else (-1, version)


def _unknown(model: str, served: dict[str, _Served]) -> NotFoundError:
    names = sorted(served)
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return NotFoundError(f"there is no model {model!r:.80}; there are {shown or 'none'}")
