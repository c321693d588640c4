"""Lays an exported model into a model repository that Triton and KServe serve: NAME/VERSION/model.onnx, config.pbtxt.

The layout and the fields are those of Triton's documentation ("Model Repository", "Model Configuration").
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from edgeml.core.artifact import Artifact
from edgeml.core.atomic import atomic_write
from edgeml.core.errors import EdgeMLError, UsageError
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.inference_protocol.config_file import FILE, NAME, config_text, read_config
from edgeml.runtime.inference_protocol.datatypes import DATATYPES, config_type
from edgeml.runtime.inference_protocol.messages import message_class

MODEL_FILE = "model.onnx"
LABELS_FILE = "labels.txt"
MAX_BATCH = 32
"""Samples of the largest batch that requests are joined to, as written; the owner of the repository may change it."""

_VERSION = re.compile("[1-9][0-9]{0,17}")


def model_name(text: str) -> str:
    """What a model may be called in a repository, as near to `text` as may be ("timm:resnet18" -> "timm_resnet18")."""
    return re.sub("[^A-Za-z0-9_.-]+", "_", text).lstrip(".-")[:255] or "model"


def check_place(repository: Path, name: str) -> None:
    """Tell before the work is done that a model could not be laid there.

    Raises:
        UsageError: the name is not allowed, the repository is no directory, or its directory does not exist.
    """
    if not NAME.fullmatch(name):
        raise UsageError(f"the model's name is {name!r:.80}; it is made of letters, digits, '_', '.' and '-'")
    try:
        if repository.exists() and not repository.is_dir():
            raise UsageError(f"cannot write {repository}: it is a file; name the directory of a model repository")
        if not repository.absolute().parent.is_dir():
            raise UsageError(
                f"cannot write {repository}: the directory {repository.parent} does not exist; create it first"
            )
        if (repository / name).exists():
            _config_there(repository / name)
    except OSError as error:
        raise UsageError(f"cannot write {repository}: {error.strerror or error}") from error


def add_to_repository(artifact: Artifact, repository: Path, name: str) -> Artifact:
    """Lay a model into a repository, whole or not at all; the artifact there.

    A name that is new gets a directory with version 1, a config.pbtxt and the names of its classes. Where the name is
    there already, the model becomes its next version, and the configuration stays as it is.

    The file there is the artifact's with the lowest ONNX IR version that its operator sets allow, since servers refuse
    files of a newer IR version than their onnxruntime knows. Its manifest lies beside it; Triton passes it over.

    Args:
        artifact: an ONNX file.
        repository: the directory; it is made where it is not there.
        name: of the model.

    Raises:
        UsageError: the model cannot be served so, or differs from what is served by that name.
        EdgeMLError: the file system refused.
    """
    check_place(repository, name)
    config, labels = model_config(artifact, name), _labels(artifact)
    directory = repository / name
    made = not repository.exists()
    try:
        repository.mkdir(exist_ok=True)
        if directory.exists():
            _check_same(config, labels, directory)
            version = str(_newest(directory) + 1)
            with atomic_write(directory / version) as temporary:
                _write_version(artifact, temporary)
        else:
            version = "1"
            with atomic_write(directory) as temporary:
                temporary.mkdir()
                (temporary / FILE).write_text(config_text(config), encoding="utf-8")
                if labels:
                    (temporary / LABELS_FILE).write_text(labels, encoding="utf-8")
                _write_version(artifact, temporary / version)
    except BaseException as error:
        if made:
            with suppress(OSError):
                repository.rmdir()
        if isinstance(error, OSError):
            raise EdgeMLError(f"cannot write {directory}: {error.strerror or error}") from error
        raise
    return _placed(artifact, directory / version / MODEL_FILE)


def model_config(artifact: Artifact, name: str) -> Any:
    """The ModelConfig message of a model.

    Requests are joined to batches where the first axis of all inputs and outputs is one and the same dynamic axis with
    others behind it; `dims` then leave it out. (Triton has no empty `dims`, so a model that gives a number a sample
    without an axis for it is not batched.)

    Raises:
        UsageError: an input or output has a dtype or shape that the protocol has not.
    """
    specs = (*artifact.inputs, *artifact.outputs)
    first = {spec.shape[0] if len(spec.shape) > 1 else None for spec in specs}
    batched = len(first) == 1 and isinstance(next(iter(first)), str)
    config = message_class("ModelConfig")(
        name=name,
        backend="onnxruntime",
        max_batch_size=MAX_BATCH if batched else 0,
        input=[_tensor(spec, batched=batched) for spec in artifact.inputs],
        output=[_tensor(spec, batched=batched) for spec in artifact.outputs],
    )
    if batched:
        config.dynamic_batching.SetInParent()
    for output in config.output:
        if output.name == artifact.classified_output:
            output.label_filename = LABELS_FILE
    return config


def _tensor(spec: TensorSpec, *, batched: bool) -> dict[str, Any]:
    datatype = DATATYPES.get(spec.dtype)
    if datatype is None:
        raise UsageError(f"{spec.name} is of {spec.dtype}, which the Open Inference Protocol has no datatype for")
    if not spec.shape or 0 in spec.shape:
        raise UsageError(
            f"{spec.name} has the shape {list(spec.shape)}; Triton takes tensors of one axis or more, none empty"
        )
    axes = spec.shape[1:] if batched else spec.shape
    dims = [-1 if isinstance(axis, str) else axis for axis in axes]
    return {"name": spec.name, "data_type": config_type(datatype), "dims": dims}


def _labels(artifact: Artifact) -> str:
    """The file of labels: a class a line, in logit order; empty where nothing is known of classes."""
    if artifact.classified_output is None:
        return ""
    for label in artifact.classes:
        if "\n" in label or "\r" in label or not _is_text(label):
            raise UsageError(
                f"the class {label!r:.80} has a line break in its name, or what is no text; labels are lines of a file"
            )
    return "".join(f"{label}\n" for label in artifact.classes)


def _is_text(label: str) -> bool:
    try:
        label.encode()
    except UnicodeEncodeError:  # half of a character, which JSON can write
        return False
    return True


def _write_version(artifact: Artifact, directory: Path) -> None:
    directory.mkdir()
    path = directory / MODEL_FILE
    path.write_bytes(_with_lowest_ir_version(artifact.path.read_bytes()))
    _placed(artifact, path).save_manifest()


def _with_lowest_ir_version(content: bytes) -> bytes:
    import onnx
    from onnx import helper

    model = onnx.load_model_from_string(content)
    # Operator sets of the file's own functions are of no release; the functions themselves came with IR version 8.
    lowest = helper.find_min_ir_version_for(list(model.opset_import), ignore_unknown=True)
    lowest = max(lowest, 8 if model.functions else 0)
    if model.ir_version <= lowest:
        return content
    model.ir_version = lowest
    onnx.checker.check_model(model, full_check=True)
    lowered: bytes = model.SerializeToString(deterministic=True)
    return lowered


def _placed(artifact: Artifact, path: Path) -> Artifact:
    """The artifact at its place; the network it was to be judged against has stayed behind."""
    return replace(artifact.at(path), sha256=sha256(path.read_bytes()).hexdigest(), int8_peer=None)


def _config_there(directory: Path) -> Any:
    config = read_config(directory)
    if config is None:
        raise UsageError(f"{directory} is there and has no {FILE}; give the model another name")
    return config


def _check_same(config: Any, labels: str, directory: Path) -> None:
    """Hold a further version to the configuration that all versions share."""
    there = _config_there(directory)
    for kind, ours, theirs in (("inputs", config.input, there.input), ("outputs", config.output, there.output)):
        if _described(ours, config) != _described(theirs, there):
            raise UsageError(
                f"{directory} holds a model with other {kind} ({_told(theirs)}) than this one ({_told(ours)}); give "
                "this one another name"
            )
    for output in there.output:
        if labels and output.label_filename and (directory / output.label_filename).read_text("utf-8") != labels:
            raise UsageError(
                f"{directory / output.label_filename} names other classes than this model has; give this one another "
                "name"
            )


def _described(tensors: Any, config: Any) -> list[tuple[str, int, bool, tuple[int, ...]]]:
    return sorted((each.name, each.data_type, config.max_batch_size > 0, tuple(each.dims)) for each in tensors)


def _told(tensors: Any) -> str:
    return ", ".join(f"{each.name} {list(each.dims)}" for each in tensors)


def _newest(directory: Path) -> int:
    return max((int(each.name) for each in directory.iterdir() if _VERSION.fullmatch(each.name)), default=0)
