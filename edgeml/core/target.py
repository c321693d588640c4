"""What code is generated for: an instruction set and its features. (Where it runs is a Device.)"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from edgeml.core.errors import UsageError

Kind = Literal["llvm", "cuda"]

_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_FEATURE = re.compile(r"[+-][A-Za-z0-9_][A-Za-z0-9_.-]*")
_ARCH = re.compile(r"sm_[0-9]{2,3}[a-z]?")


@dataclass(frozen=True)
class Target:
    """A code-generation target. `parse` and `str` are inverses.

    The text form is a preset's name, or `kind` followed by options:
    `llvm -triple=aarch64-linux-gnu -cpu=cortex-a72 -features=+neon`, `cuda -arch=sm_87 -host=rpi5`.

    Attributes:
        kind: the code generator.
        triple: LLVM target triple; "" is the machine edgeml runs on.
        cpu: LLVM processor name; "" is the one edgeml runs on.
        features: LLVM feature flags, each with its sign ("+dotprod").
        arch: CUDA architecture ("sm_87").
        host: the preset of the processor beside the GPU.
    """

    kind: Kind
    triple: str = ""
    cpu: str = ""
    features: tuple[str, ...] = ()
    arch: str = ""
    host: str = ""

    def __post_init__(self) -> None:
        if self.kind == "llvm":
            valid = not (self.arch or self.host) and all(
                _WORD.fullmatch(word) for word in (self.triple, self.cpu) if word
            )
            valid = valid and all(_FEATURE.fullmatch(feature) for feature in self.features)
        else:
            valid = not (self.triple or self.cpu or self.features) and self.kind == "cuda"
            valid = valid and bool(_ARCH.fullmatch(self.arch)) and self.host in _PROCESSORS
        if not valid:
            raise UsageError(f"unknown target {self._text()!r}; allowed: {_allowed()}")

    @property
    def name(self) -> str:
        """The preset's name where the target is one, else its text form."""
        return str(self)

    @classmethod
    def parse(cls, text: str) -> Target:
        """The target that `text` names.

        Raises:
            UsageError: neither a preset nor of the text form.
        """
        if text in PRESETS:
            return PRESETS[text]
        if text in _TOO_OLD_BOARDS:
            arch, cpu = _TOO_OLD_BOARDS[text]
            raise UsageError(
                f"target {text!r} has a GPU of architecture {arch}, and CUDA 13 makes code for sm_75 and newer only; "
                f"compile for its processor: 'llvm -triple={_AARCH64} -cpu={cpu}' (allowed: {_allowed()})"
            )
        if named := re.fullmatch(r"cuda-(sm_\w+)", text):
            return cls("cuda", arch=named[1], host="host")
        kind, *options = text.split() or [""]
        values = _parse_options(text, options)
        if kind == "llvm":
            features = tuple(values["features"].split(",")) if "features" in values else ()
            arch, host = values.get("arch", ""), values.get("host", "")
            return cls("llvm", values.get("triple", ""), values.get("cpu", ""), features, arch, host)
        if kind == "cuda" and not {"triple", "cpu", "features"} & values.keys():
            return cls("cuda", arch=values.get("arch", ""), host=values.get("host", "host"))
        raise UsageError(f"unknown target {text!r}; allowed: {_allowed()}")

    def __str__(self) -> str:
        for name, preset in PRESETS.items():
            if preset == self:
                return name
        return self._text()

    def _text(self) -> str:
        options = {
            "triple": self.triple,
            "cpu": self.cpu,
            "features": ",".join(self.features),
            "arch": self.arch,
            "host": self.host,
        }
        return " ".join([self.kind, *(f"-{key}={value}" for key, value in options.items() if value)])


def _allowed() -> str:
    return f"{', '.join(PRESETS)}, 'llvm -triple=T -cpu=C -features=+a,-b' or 'cuda -arch=sm_NN -host=PRESET'"


def _parse_options(text: str, options: list[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for option in options:
        match = re.fullmatch(r"-(triple|cpu|features|arch|host)=(\S+)", option)
        if match is None or match[1] in values:
            raise UsageError(
                f"target {text!r}: option {option!r} is not understood or given twice; "
                "allowed: -triple= -cpu= -features= -arch= -host="
            )
        values[match[1]] = match[2]
    return values


_AARCH64 = "aarch64-linux-gnu"
_CORTEX_A72 = Target("llvm", triple=_AARCH64, cpu="cortex-a72", features=("+neon",))
_CORTEX_A76 = Target("llvm", triple=_AARCH64, cpu="cortex-a76", features=("+neon", "+dotprod"))

_PROCESSORS: dict[str, Target] = {
    "host": Target("llvm"),
    "rpi3": Target("llvm", triple=_AARCH64, cpu="cortex-a53", features=("+neon",)),
    "rpi4": _CORTEX_A72,
    "rpi5": _CORTEX_A76,
    "rpi-armv7": Target("llvm", triple="armv7l-linux-gnueabihf", cpu="cortex-a7", features=("+neon", "+vfp4")),
    "cortex-a72": _CORTEX_A72,
    "cortex-a76": _CORTEX_A76,
}

# Boards that users will ask for: the architecture of the GPU and LLVM's name of the processor.
_TOO_OLD_BOARDS = {
    "jetson-nano": ("sm_53", "cortex-a57"),
    "jetson-tx1": ("sm_53", "cortex-a57"),
    "jetson-tx2": ("sm_62", "cortex-a57"),
    "jetson-xavier": ("sm_72", "carmel"),
    "jetson-xavier-nx": ("sm_72", "carmel"),
    "jetson-agx-xavier": ("sm_72", "carmel"),
}

PRESETS: dict[str, Target] = _PROCESSORS | {
    "jetson-orin": Target("cuda", arch="sm_87", host="cortex-a76"),
    "cuda-sm_75": Target("cuda", arch="sm_75", host="host"),
    "cuda-sm_87": Target("cuda", arch="sm_87", host="host"),
    "cuda-sm_90": Target("cuda", arch="sm_90", host="host"),
}
