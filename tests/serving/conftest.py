"""A server that both protocols are tried on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgeml.serving.engine.configuration import ModelConfiguration
from edgeml.serving.protocol.limits import Limits
from tests.serving.protocol_bodies import DTYPES
from tests.serving.servers import Doubler, Echo, Failing, Running, Server, running

LABELLED = ModelConfiguration(warm_up=False, labels={"y": ("cat", "dog", "hen")})


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    models = {"m": Doubler(), "sum": Running(), "failing": Failing(), "str": Echo("str")}
    models |= {name: Echo(name) for name in DTYPES.values()}
    with running(models, {"m": LABELLED}, limits=Limits(body_bytes=1 << 20)) as found:
        yield found
