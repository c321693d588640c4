"""How a model in a repository is served, by its config.pbtxt."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeml.core.errors import UsageError
from edgeml.runtime.inference_protocol.config_file import FILE
from edgeml.serving.engine.configuration import ModelConfiguration

_THREADS = "intra_op_thread_count"  # as the onnxruntime backend of Triton calls it
_MICROSECONDS = 1e-6
_LABELS_LIMIT = 16 << 20
# "" where the file does not say; the others are what edgeml's own servers tell, and what Triton has for ONNX files.
_BACKENDS = frozenset({"", "onnxruntime", "tvm"})
_PLATFORMS = frozenset({"", "onnxruntime_onnx", "onnx_onnxv1", "tvm_library"})


def configuration_of(config: Any, directory: Path, defaults: ModelConfiguration) -> ModelConfiguration:
    """How a model is served, by its ModelConfig; what that does not say is taken from the defaults.

    As with Triton, requests are joined only where `dynamic_batching` is there, and a `max_batch_size` of 0 (or none)
    means that the first axis is no batch.

    Raises:
        UsageError: it is for another backend, a value is out of range, or a file of labels cannot be read.
    """
    if config.backend not in _BACKENDS or config.platform not in _PLATFORMS:
        raise UsageError(
            f"{directory / FILE} is for {config.backend or config.platform!r:.80}; edgeml serves ONNX files (backend "
            "onnxruntime) and its own libraries"
        )
    found: dict[str, Any] = {
        "max_batch_size": config.max_batch_size,
        "dynamic_batching": config.HasField("dynamic_batching"),
        "labels": _labels(config, directory),
    }
    if config.instance_group:
        found["instances"] = sum(group.count or 1 for group in config.instance_group)
    if _THREADS in config.parameters:
        text = config.parameters[_THREADS].string_value
        if not re.fullmatch("[0-9]{1,9}", text):
            raise UsageError(f"{directory / FILE}: {_THREADS} is {text!r:.40}; it must be a whole number")
        found["threads"] = int(text) or None
    if config.HasField("dynamic_batching"):
        batching = config.dynamic_batching
        policy = batching.default_queue_policy
        found |= {
            "preferred_batch_sizes": tuple(batching.preferred_batch_size),
            "max_queue_delay_us": batching.max_queue_delay_microseconds,
            "priority_levels": batching.priority_levels,
            "default_priority": batching.default_priority_level,
            "default_timeout_us": policy.default_timeout_microseconds,
            "queue": policy.max_queue_size or None,
        }
    if config.HasField("sequence_batching"):
        sequences = config.sequence_batching
        if sequences.max_sequence_idle_microseconds:
            found["sequence_idle_s"] = sequences.max_sequence_idle_microseconds * _MICROSECONDS
        if sequences.oldest.max_candidate_sequences:
            found["sequences"] = sequences.oldest.max_candidate_sequences
    try:
        return replace(defaults, **found)
    except UsageError as error:
        raise UsageError(f"{directory / FILE}: {error}") from error


def _labels(config: Any, directory: Path) -> dict[str, tuple[str, ...]]:
    """Names of classes by output; a file of them lies beside the configuration, a name a line."""
    found = {}
    for output in config.output:
        if not output.label_filename:
            continue
        path = directory / output.label_filename
        if path.parent != directory:
            raise UsageError(f"{directory / FILE}: label_filename {output.label_filename!r:.80} lies elsewhere")
        try:
            if not path.is_file():
                raise UsageError(f"the labels of output {output.name} cannot be read: there is no file {path}")
            if path.stat().st_size > _LABELS_LIMIT:
                raise UsageError(f"{path} is larger than {_LABELS_LIMIT} bytes, so it is no file of labels")
            text = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UsageError(f"the labels of output {output.name} cannot be read: {error}") from error
        # Not splitlines(): a name may hold any of the characters that it takes for the end of a line.
        found[output.name] = tuple(text.removesuffix("\n").split("\n")) if text else ()
    return found
