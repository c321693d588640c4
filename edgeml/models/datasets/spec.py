"""How a user names data: NAME or NAME:WHERE, with :train or :test behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from edgeml.core.errors import UsageError

Split = Literal["train", "test"]

BUILT_IN = ("fashion-mnist", "digits")
_SPLITS: dict[str, Split] = {"train": "train", "test": "test"}
_LOCATED = ("folder", "npz")
_FORMS = "fashion-mnist, digits, folder:DIR or npz:FILE, each with :train or :test behind it where one split is meant"


@dataclass(frozen=True)
class DatasetSpec:
    """A data set by name. `parse` and `str` are inverses.

    Attributes:
        kind: "fashion-mnist", "digits", "folder" or "npz".
        location: directory or file for "folder" and "npz", else "".
        split: the part asked for; None leaves the choice to the reader of the data.
    """

    kind: str
    location: str = ""
    split: Split | None = None

    @classmethod
    def parse(cls, text: str) -> DatasetSpec:
        """The data set that `text` names.

        Raises:
            UsageError: the text has none of the documented forms.
        """
        kind, colon, rest = text.partition(":")
        if kind in BUILT_IN and (not colon or rest in _SPLITS):
            return cls(kind, split=_SPLITS.get(rest))
        # What stands last is a split only behind a location: in "folder:train" it is the folder's name.
        location, _, ending = rest.rpartition(":")
        split = _SPLITS.get(ending) if location else None
        if split is None:
            location = rest
        if kind not in _LOCATED or not location or location in {":train", ":test"}:
            raise UsageError(f"unknown data {text!r}; allowed: {_FORMS}")
        return cls(kind, location, split)

    @property
    def whole(self) -> DatasetSpec:
        """The same data set without a split."""
        return replace(self, split=None)

    def __str__(self) -> str:
        return ":".join(part for part in (self.kind, self.location, self.split) if part)
