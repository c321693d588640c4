"""Runs libraries that the compiler made, with TVM's runtime."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgeml.core.artifact import Artifact, sha256_file
from edgeml.core.device import Device
from edgeml.core.errors import CheckFailedError, EdgeMLError, MissingError, UsageError
from edgeml.core.session import Feeds, Session, SessionOptions
from edgeml.core.tensor_spec import TensorSpec
from edgeml.runtime.feeds import check_feeds
from edgeml.runtime.threads import available_threads
from edgeml.runtime.tvm.aligned import aligned_copy, is_aligned
from edgeml.runtime.tvm.library import is_installed, load_cuda_runtime, load_runtime
from edgeml.runtime.tvm.outputs import Outputs
from edgeml.runtime.tvm.shared_library import check_library
from edgeml.runtime.tvm.threads import use_threads

if TYPE_CHECKING:
    import numpy.typing as npt

_MESSAGE_LIMIT = 400
# What tvm_ffi raises: Python's exceptions by the name TVM gives them, RuntimeError for its own kinds.
_FAILURES = (RuntimeError, ValueError, TypeError, LookupError, AttributeError, OSError, BufferError, MemoryError)
# DLPack's device type and index.
_CPU = (1, 0)
_GPU = (2, 0)
# The kind of a virtual machine's allocator: memory for a model's values is pooled, since asking the system for it anew
# costs page faults in every run.
_POOLED = 2


class Tvm:
    """TVM's runtime: libtvm_runtime and tvm_ffi; the compiler need not be there."""

    name = "tvm"
    formats = frozenset({"tvm"})

    def is_available(self) -> bool:
        """Whether tvm_ffi is installed; does not import it. The library itself may lie beside a model."""
        return is_installed()

    def open(self, artifact: Artifact, device: Device, options: SessionOptions) -> Session:
        """Load a compiled library, after its digest and the machine it is for are checked.

        A compiled library has its optimizations in it: `options.optimize` changes nothing.

        Raises:
            UsageError: the artifact is no library of ours, or one for another machine.
            CheckFailedError: the library is not the one its manifest was written for.
            MissingError: TVM's runtime is not there, or the device cannot be reached.
            EdgeMLError: the system or TVM failed to load it.
        """
        if artifact.format not in self.formats:
            raise UsageError(f"{artifact.path} has the format {artifact.format}; tvm opens compiled libraries")
        if options.threads is not None and options.threads < 1:
            raise UsageError(f"threads is {options.threads}; it must be at least 1")
        match device.scheme:
            case "local":
                return _open_local(artifact, options)
            case "qemu":
                from edgeml.runtime.emulated.device import open_emulated

                return open_emulated(artifact, device, options)
            case "rpc" | "rpc-tracker":
                from edgeml.runtime.tvm.rpc import open_rpc

                return open_rpc(artifact, device, options)
        raise MissingError(
            f"device {device} cannot be reached: tvm runs models on local, qemu://aarch64, rpc://host:port and "
            "rpc-tracker://host:port/key"
        )


class TvmSession:
    """One compiled library loaded into this process; a Session."""

    def __init__(
        self, artifact: Artifact, machine: Any, tvm_ffi: ModuleType, threads: int, place: tuple[int, int] = _CPU
    ) -> None:
        """Wrap a virtual machine that is ready to run.

        Args:
            artifact: the library.
            machine: its initialized relax virtual machine.
            tvm_ffi: the module.
            threads: threads inside one operator.
            place: where its tensors lie, as DLPack's device type and index.
        """
        self._artifact = artifact
        self._machine = machine
        self._main = machine["main"]
        self._tvm_ffi = tvm_ffi
        self._threads = threads
        self._place = place
        self._to_device = None if place == _CPU else tvm_ffi.get_global_func("vm.builtin.to_device")
        self._lock = threading.Lock()  # a virtual machine keeps the state of its one run
        self._outputs = Outputs()

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs, as the manifest tells them: a library carries no names."""
        return self._artifact.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs, as the manifest tells them."""
        return self._artifact.outputs

    def run(self, feeds: Feeds) -> dict[str, npt.NDArray[Any]]:
        """Outputs by name for one batch of inputs by name; the arrays are the caller's.

        An input is read where it lies if it is contiguous, writable and begins at a multiple of 64 bytes (see
        `edgeml.runtime.tvm.aligned`), and copied otherwise: the library loads whole vectors and would end the process.

        Raises:
            UsageError: the feeds do not fit the model's inputs.
            EdgeMLError: TVM failed to run the model, or the session is closed.
        """
        check_feeds(feeds, self._artifact.inputs)
        arrays = [_readable(feeds[spec.name]) for spec in self._artifact.inputs]
        with self._lock:
            if self._main is None:
                raise EdgeMLError(f"the session of {self._artifact.path} is closed")
            use_threads(self._tvm_ffi, self._threads)
            try:
                tensors = self._call([self._tvm_ffi.from_dlpack(array) for array in arrays])
                found = self._outputs.of(tensors, arrays)
            except _FAILURES as error:
                raise EdgeMLError(f"tvm failed to run {self._artifact.path}: {reason(error)}") from error
        names = [spec.name for spec in self._artifact.outputs]
        if len(names) != len(found):
            raise EdgeMLError(
                f"{self._artifact.path} gives {len(found)} outputs, its manifest names {len(names)}: compile it again"
            )
        return dict(zip(names, found, strict=True))

    def _call(self, tensors: list[Any]) -> list[Any]:
        """The model's outputs, in this process's memory as its inputs are."""
        to_device = self._to_device
        if to_device is not None:
            tensors = [to_device(tensor, *self._place) for tensor in tensors]
        result = self._main(*tensors)
        found = [result] if isinstance(result, self._tvm_ffi.Tensor) else list(result)
        return found if to_device is None else [to_device(tensor, *_CPU) for tensor in found]

    def instrument(self, watch: Callable[..., None]) -> None:
        """Have every call of the virtual machine watched, from the next run on: what a profiler needs.

        `watch(function, name, before, result, *arguments)` is called before a call, with `before` True and no result,
        and after it. It runs inside the run, so what it takes is added to the run's time.

        Raises:
            EdgeMLError: the session is closed.
        """
        with self._lock:
            if self._machine is None:
                raise EdgeMLError(f"the session of {self._artifact.path} is closed")
            self._machine["set_instrument"](self._tvm_ffi.convert(watch))

    def close(self) -> None:
        """Free the model and the memory pooled for its values; arrays it returned stay valid."""
        with self._lock:
            if self._main is None:
                return
            self._main = self._machine = None
            self._outputs = Outputs()
            self._tvm_ffi.get_global_func("vm.builtin.memory_manager.clear")()


def reason(error: Exception) -> str:
    """TVM's message in one line of bounded length."""
    if isinstance(error, MemoryError) or "bad_alloc" in str(error):
        return "it needs more memory than this process may take"
    text = " ".join(str(error).split())
    return text if len(text) <= _MESSAGE_LIMIT else text[:_MESSAGE_LIMIT] + "..."


def _open_local(artifact: Artifact, options: SessionOptions) -> TvmSession:
    path = artifact.path
    # Loading a shared library executes it, so nothing is loaded but the very file that the manifest was written for.
    if (actual := sha256_file(path)) != artifact.sha256:
        raise CheckFailedError(
            f"{path} has SHA-256 {actual[:12]}..., its manifest says {artifact.sha256[:12]}...: it was not loaded; "
            "compile the model again"
        )
    check_library(path)
    tvm_ffi = load_runtime(path.parent)
    place = _CPU if artifact.target is None or artifact.target.kind == "llvm" else _GPU
    if place == _GPU:
        load_cuda_runtime(tvm_ffi, path.parent)
    threads = available_threads() if options.threads is None else options.threads
    return TvmSession(artifact, _machine(tvm_ffi, path, place), tvm_ffi, threads, place)


def _machine(tvm_ffi: ModuleType, path: Path, place: tuple[int, int]) -> Any:
    """The library's virtual machine, ready to run; its devices are the model's place and the host."""
    try:
        machine = tvm_ffi.load_module(str(path.resolve()), keep_module_alive=False)["vm_load_executable"]()
        machine["vm_initialization"](*place, _POOLED, *_CPU, _POOLED)
        machine["main"]  # raises where there is none
    except _FAILURES as error:
        raise EdgeMLError(f"tvm cannot load {path}: {reason(error)}") from error
    return machine


def _readable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    flags = array.flags
    if flags.c_contiguous and flags.writeable and array.dtype.isnative and is_aligned(array):
        return array
    return aligned_copy(array)
