"""One version of a model while it is served: loaded, warmed up, running, gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.threads import available_threads
from edgeml.serving.engine.background import in_background
from edgeml.serving.engine.batch import Outcome, Pending
from edgeml.serving.engine.batching import is_batched, largest_batch
from edgeml.serving.engine.configuration import ModelConfiguration
from edgeml.serving.engine.executable import Executable, Tensors, check_inputs, open_executable
from edgeml.serving.engine.memory import give_back_freed
from edgeml.serving.engine.scheduler import Scheduler
from edgeml.serving.errors import InvalidRequestError, NotFoundError, RequestError
from edgeml.serving.inference import InferenceRequest, InferenceResponse, Sequence
from edgeml.serving.protocol.classification import classify
from edgeml.serving.protocol.limits import Limits

Observe = Callable[[str, str, Pending, Outcome], None]
"""Told of each request that was run: model, version, the request, what became of it."""


class ModelVersion:
    """A version that is ready; used on the event loop only.

    Attributes:
        name: the model's name.
        version: which.
        path: its file.
        executable: what runs.
        configuration: how it is served.
        scheduler: its queue and instances.
    """

    def __init__(
        self,
        name: str,
        version: str,
        path: Path,
        executable: Executable,
        configuration: ModelConfiguration,
        limits: Limits,
        observe: Observe | None,
    ) -> None:
        self.name = name
        self.version = version
        self.path = path
        self.executable = executable
        self.configuration = configuration
        self.scheduler = Scheduler(
            name,
            executable,
            configuration,
            largest=largest_batch(name, executable, configuration),
            queue=limits.queue,
            request_s=limits.request_s,
            observe=None if observe is None else lambda pending, outcome: observe(name, version, pending, outcome),
        )
        self._outputs = {spec.name: spec for spec in executable.outputs}
        self._batched = is_batched((*executable.inputs, *executable.outputs))

    @classmethod
    async def load(
        cls,
        name: str,
        version: str,
        path: Path,
        configuration: ModelConfiguration,
        limits: Limits,
        observe: Observe | None = None,
    ) -> ModelVersion:
        """Open the file and warm it up, on another thread.

        Raises:
            EdgeMLError: the file cannot be served.
        """
        executable = await in_background(f"load {name}", partial(_open, name, path, configuration))
        try:
            return cls(name, version, path, executable, configuration, limits, observe)
        except BaseException:
            executable.close()
            raise

    async def infer(self, request: InferenceRequest) -> InferenceResponse:
        """Check the request against the model and run it.

        Raises:
            RequestError: it does not fit, or was not run.
        """
        check_inputs(request.inputs, self.executable.inputs)
        self._check(request)
        outputs = await self.scheduler.run(request)
        return InferenceResponse(
            model=self.name, version=self.version, id=request.id, outputs=self._asked_for(request, outputs)
        )

    async def close(self) -> None:
        """Answer what was accepted, then free the model."""
        await self.scheduler.drain()
        self.scheduler.close()
        await asyncio.to_thread(_close, self.executable)

    def _check(self, request: InferenceRequest) -> None:
        for output in request.outputs:
            if output.name not in self._outputs:
                raise NotFoundError(
                    f"model {self.name} has no output {output.name!r:.80}; it has {', '.join(self._outputs)}"
                )
        most = self.configuration.max_batch_size
        if most and self._batched and (rows := len(next(iter(request.inputs.values())))) > most:
            raise InvalidRequestError(f"the request has {rows} samples; model {self.name} takes at most {most}")

    def _asked_for(self, request: InferenceRequest, outputs: Tensors) -> Tensors:
        if not request.outputs:
            return outputs
        labels = self.configuration.labels
        return {
            each.name: outputs[each.name]
            if not each.classification
            else classify(
                each.name, outputs[each.name], each.classification, labels.get(each.name, ()), batched=self._batched
            )
            for each in request.outputs
        }


def platform_json(model: ModelVersion) -> dict[str, Any]:
    """The configuration of a version in the JSON form of Triton's ModelConfig."""
    from edgeml.serving.protocol.datatypes import datatype_of

    largest = model.scheduler.largest
    configuration = model.configuration

    def tensors(specs: tuple[TensorSpec, ...], *, inputs: bool) -> list[dict[str, Any]]:
        found = []
        for spec in specs:
            axes = spec.shape[1:] if largest else spec.shape
            datatype = datatype_of(spec.dtype)
            entry: dict[str, Any] = {
                "name": spec.name,
                "data_type": f"TYPE_{'STRING' if datatype == 'BYTES' else datatype}",
                "dims": [-1 if isinstance(axis, str) else axis for axis in axes],
            }
            if not inputs and spec.name in configuration.labels:
                entry["label_filename"] = f"{spec.name}.labels.txt"
            found.append(entry)
        return found

    told: dict[str, Any] = {
        "name": model.name,
        "platform": model.executable.platform,
        "backend": "onnxruntime" if model.executable.platform.startswith("onnx") else "tvm",
        "max_batch_size": largest,
        "input": tensors(model.executable.inputs, inputs=True),
        "output": tensors(model.executable.outputs, inputs=False),
        "instance_group": [{"name": model.name, "kind": "KIND_CPU", "count": configuration.instances}],
        "default_model_filename": model.path.name,
    }
    if largest:
        told["dynamic_batching"] = {
            "preferred_batch_size": list(configuration.preferred_batch_sizes),
            "max_queue_delay_microseconds": configuration.max_queue_delay_us,
            "priority_levels": configuration.priority_levels,
            "default_priority_level": configuration.default_priority,
        }
    if model.executable.stateful:
        told["sequence_batching"] = {
            "max_sequence_idle_microseconds": int(configuration.sequence_idle_s * 1e6),
        }
    return told


def _open(name: str, path: Path, configuration: ModelConfiguration) -> Executable:
    threads = configuration.threads or max(1, available_threads() // configuration.instances)
    executable = open_executable(path, instances=configuration.instances, threads=threads)
    try:
        largest = largest_batch(name, executable, configuration)
        if configuration.warm_up:
            _warm_up(executable, configuration, largest)
    except BaseException:
        executable.close()
        raise
    return executable


def _close(executable: Executable) -> None:
    executable.close()
    give_back_freed()


def _warm_up(executable: Executable, configuration: ModelConfiguration, largest: int) -> None:
    """Run each instance once, and the batches that may come first, so that no client waits for memory to be laid out.

    A model whose inputs have further dynamic axes is left alone: nothing tells their sizes. Values that a model refuses
    (an index out of range, say) are no fault of it.
    """
    if any(isinstance(axis, str) for spec in executable.inputs for axis in spec.shape[1:]):
        return
    sizes = sorted({1, *configuration.preferred_batch_sizes, largest} - {0})
    sequence = Sequence(id="warm-up", start=True, end=True) if executable.stateful else None
    with suppress(RequestError):
        for instance in range(configuration.instances):
            for size in sizes:
                executable.run({spec.name: _zeros(spec, size) for spec in executable.inputs}, sequence, instance)
    if sequence is not None:
        executable.end(sequence)


def _zeros(spec: TensorSpec, batch: int) -> np.ndarray[Any, Any]:
    shape = tuple(batch if isinstance(axis, str) else axis for axis in spec.shape)
    if spec.dtype == "str":
        found = np.empty(shape, dtype=object)
        found[...] = b""
        return found
    if spec.dtype == "bfloat16":
        import ml_dtypes

        return np.zeros(shape, ml_dtypes.bfloat16)
    return np.zeros(shape, np.dtype(spec.dtype))
