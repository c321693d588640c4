"""The OpenAPI document: it says what the server does, and nothing it allows makes the server fail."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from edgeml.serving.engine.configuration import ModelConfiguration
from edgeml.serving.http.openapi import openapi_json
from tests.serving.servers import Doubler, Echo, Server, Wire, infer_body, running

QUIET = ModelConfiguration(warm_up=False)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running({"m": Doubler(), "str": Echo("str")}, {"m": QUIET, "str": QUIET}, grpc_port=None) as found:
        yield found


@pytest.fixture(scope="module")
def document(server: Server) -> Any:
    with Wire(server.port) as wire:
        return wire.ask("GET", "/openapi.json").json


def test_every_page_of_the_document_is_there_and_no_other_method(server: Server, document: Any) -> None:
    with Wire(server.port) as wire:
        for path, item in document["paths"].items():
            place = path.replace("{model}", "m").replace("{version}", "1")
            for method in ("get", "post"):
                if "load" in path:
                    continue
                answer = wire.ask(method.upper(), place, infer_body() if "infer" in path else b"")
                assert (answer.status == 405) == (method not in item), (method, place)
                if method in item:
                    assert answer.status == 200
                    assert answer.headers.get("content-type", "").partition(";")[0] in {
                        *item[method]["responses"]["200"].get("content", {"": {}})
                    }


def test_references_lead_somewhere() -> None:
    document = openapi_json()
    for name in re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document)):
        value: Any = document
        for part in name.split("/"):
            value = value[part]


@pytest.mark.filterwarnings("ignore")
def test_whatever_is_sent_is_answered_as_the_document_says_and_never_by_a_server_error(server: Server) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    import hypothesis
    import requests

    document = json.loads(json.dumps(openapi_json()))
    for path in [each for each in document["paths"] if "unload" in each]:
        del document["paths"][path]  # an unloaded model is not ready, which is a 503
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=f"http://{server.http}")
    modes = schemathesis.GenerationMode
    checks = [
        schemathesis.checks.not_a_server_error,
        schemathesis.checks.status_code_conformance,
        schemathesis.checks.content_type_conformance,
        schemathesis.checks.response_schema_conformance,
    ]
    settings = hypothesis.settings(
        max_examples=5,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    seen: Counter[int] = Counter()
    with requests.Session() as session:

        def send(case: Any) -> None:
            response = case.call(session=session)
            seen[response.status_code] += 1
            case.validate_response(response, checks=checks)

        for result in schema.get_all_operations():
            operation = result.ok()
            for mode in (modes.POSITIVE, modes.NEGATIVE):
                if mode is modes.NEGATIVE and operation.method == "get" and "{" not in operation.path:
                    continue  # there is nothing to get wrong

                def ask(case: Any) -> None:
                    send(case)
                    if "model" in (case.path_parameters or {}):
                        case.path_parameters["model"] = "m"
                        send(case)

                settings(hypothesis.given(case=operation.as_strategy(generation_mode=mode))(ask))()
    assert {200, 400, 404} <= seen.keys()
