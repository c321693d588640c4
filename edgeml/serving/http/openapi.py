"""The server's pages as an OpenAPI 3.1 document."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from edgeml import __version__

_Json = dict[str, Any]
_NAME = {"type": "string", "minLength": 1, "pattern": r"^[A-Za-z0-9_.-]+$"}
_DATATYPE = {
    "type": "string",
    "enum": [
        *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
        *("FP16", "FP32", "FP64", "BF16", "BYTES"),
    ],
}
_PARAMETERS = {"type": "object", "additionalProperties": {"type": ["boolean", "number", "string"]}}
_ERRORS = {
    "400": "The request is not of the protocol's form, or does not fit the model.",
    "401": "The request lacks the token that this server asks for.",
    "404": "There is no such model, version or page.",
    "405": "The page does not answer this method.",
    "408": "The client stopped sending in the middle of its request.",
    "413": "The request exceeds a limit on size.",
    "429": "This client sends more than it may.",
    "500": "The model failed.",
    "503": "The model is not ready, its queue is full, or the deadline passed.",
}


@lru_cache
def openapi_json() -> _Json:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edgeml",
            "version": __version__,
            "description": "Models over the Open Inference Protocol, version 2, with the extensions for binary "
            "tensors, classification, sequences, statistics, model configuration and the model repository.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "responses": {
                code: {
                    "description": text,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
                }
                for code, text in _ERRORS.items()
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _paths() -> _Json:
    paths: _Json = {
        "/": {"get": _operation("Models and how they fare, for people.", "text/html")},
        "/metrics": {"get": _operation("Prometheus' metrics.", "text/plain")},
        "/openapi.json": {"get": _operation("This document.", "application/json", {"type": "object"})},
        "/v2": {"get": _operation("The server.", "application/json", _reference("Server"))},
        "/v2/health/live": {"get": _operation("Whether the process answers.")},
        "/v2/health/ready": {
            "get": _operation("Whether the server has loaded what it could.", errors=("503",), plain_errors=True)
        },
        "/v2/models/stats": {
            "get": _operation("Counts and durations of all models.", "application/json", _reference("Statistics"))
        },
        "/v2/repository/index": {
            "post": _operation(
                "All models.",
                "application/json",
                {"type": "array", "items": _reference("IndexEntry")},
                body={"application/json": {"type": "object", "properties": {"ready": {"type": "boolean"}}}},
                body_required=False,
                errors=("400", "408", "413"),
            )
        },
    }
    options: tuple[tuple[str, str, _Json], ...] = (
        ("load", "Load a model, or load it again.", {"type": "object", "maxProperties": 0}),
        ("unload", "Serve a model no longer.", {"type": "object"}),
    )
    for action, text, taken in options:
        paths[f"/v2/repository/models/{{model}}/{action}"] = {
            "parameters": [_path_parameter("model")],
            "post": _operation(
                text,
                body={"application/json": {"type": "object", "properties": {"parameters": taken}}},
                body_required=False,
                errors=("400", "404", "408", "413"),
            ),
        }
    for path, parameters in (
        ("/v2/models/{model}", ("model",)),
        ("/v2/models/{model}/versions/{version}", ("model", "version")),
    ):
        shared = [_path_parameter(name) for name in parameters]
        known = ("404", "503")
        pages = {
            "": _operation("Inputs and outputs.", "application/json", _reference("Model"), errors=known),
            "/ready": _operation("Whether the model is ready.", errors=known),
            "/config": _operation("The model's configuration.", "application/json", {"type": "object"}, errors=known),
            "/stats": _operation("Counts and durations.", "application/json", _reference("Statistics"), errors=known),
        }
        for page, operation in pages.items():
            paths[path + page] = {"parameters": shared, "get": operation}
        paths[f"{path}/infer"] = {"parameters": shared, "post": _infer()}
    return paths


def _infer() -> _Json:
    operation = _operation(
        "Run the model.",
        "application/json",
        _reference("InferenceResponse"),
        body={
            "application/json": _reference("InferenceRequest"),
            "application/octet-stream": {
                "type": "string",
                "format": "binary",
                "description": "JSON, as long as Inference-Header-Content-Length says, followed by raw tensors.",
            },
        },
        errors=("400", "404", "408", "413", "429", "500", "503"),
    )
    operation["parameters"] = [
        {
            "name": "Inference-Header-Content-Length",
            "in": "header",
            "description": "Bytes of JSON at the head of a body with raw tensors; 0 for one tensor alone.",
            "schema": {"type": "integer", "minimum": 0},
        }
    ]
    operation["responses"]["200"]["content"]["application/octet-stream"] = {
        "schema": {"type": "string", "format": "binary"}
    }
    return operation


def _operation(
    summary: str,
    content_type: str | None = None,
    schema: _Json | None = None,
    *,
    body: dict[str, _Json] | None = None,
    body_required: bool = True,
    errors: tuple[str, ...] = (),
    plain_errors: bool = False,
) -> _Json:
    answer: _Json = {"description": summary}
    if content_type is not None:
        answer["content"] = {content_type: {"schema": schema or {"type": "string"}}}
    responses: _Json = {"200": answer}
    for code in errors:
        responses[code] = {"description": _ERRORS[code]} if plain_errors else _reference(code, "responses")
    for code in ("401", "429"):
        responses.setdefault(code, _reference(code, "responses"))
    found: _Json = {"summary": summary, "responses": responses}
    if body is not None:
        found["requestBody"] = {
            "required": body_required,
            "content": {kind: {"schema": each} for kind, each in body.items()},
        }
    return found


def _path_parameter(name: str) -> _Json:
    return {"name": name, "in": "path", "required": True, "schema": _NAME}


def _reference(name: str, kind: str = "schemas") -> _Json:
    return {"$ref": f"#/components/{kind}/{name}"}


def _record(properties: _Json, *, required: tuple[str, ...] | None = None) -> _Json:
    needed = list(properties) if required is None else list(required)
    return {"type": "object", "properties": properties, "required": needed}


def _list(schema: _Json) -> _Json:
    return {"type": "array", "items": schema}


def _schemas() -> _Json:
    text, count = {"type": "string"}, {"type": "integer", "minimum": 0}
    shape = _list({"type": "integer", "minimum": 0})
    described = _record({"name": text, "datatype": _DATATYPE, "shape": _list({"type": "integer", "minimum": -1})})
    data = {"type": "array", "description": "Elements row by row, flat or nested as the shape; in place of raw bytes."}
    return {
        "Error": _record({"error": text}),
        "Server": _record({"name": text, "version": text, "extensions": _list(text)}),
        "Model": _record(
            {
                "name": text,
                "versions": _list(text),
                "platform": text,
                "inputs": _list(described),
                "outputs": _list(described),
            }
        ),
        "IndexEntry": _record({"name": text, "version": text, "state": text, "reason": text}),
        "Statistics": _record({"model_stats": _list({"type": "object"})}),
        "InferenceRequest": _record(
            {
                "id": text,
                "parameters": _PARAMETERS,
                "inputs": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 64,
                    "items": _record(
                        {"name": text, "shape": shape, "datatype": _DATATYPE, "parameters": _PARAMETERS, "data": data},
                        required=("name", "shape", "datatype"),
                    ),
                },
                "outputs": _list(_record({"name": text, "parameters": _PARAMETERS}, required=("name",))),
            },
            required=("inputs",),
        ),
        "InferenceResponse": _record(
            {
                "model_name": text,
                "model_version": text,
                "id": text,
                "parameters": _PARAMETERS,
                "outputs": _list(
                    _record(
                        {"name": text, "shape": shape, "datatype": _DATATYPE, "parameters": _PARAMETERS, "data": data},
                        required=("name", "shape", "datatype"),
                    )
                ),
            },
            required=("model_name", "model_version", "outputs"),
        ),
        "Count": _record({"count": count, "ns": count}),
    }
