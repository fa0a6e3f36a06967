"""The OpenAPI 3.1 document of a table of operations. Pure."""

import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from webui.api.operation import Operation
from webui.api.schema import component, components, hints_of, schema_of
from webui.api.shapes import Fault

VARIES = re.compile(r"\{(\w+)\}")
MATCH, NONE_MATCH = "If-Match", "If-None-Match"
ETAG_PATTERN = '"[0-9a-f]{64}"'
VERSION = "1.0.0"
FAULTS = {
    400: "What was sent is not of its shape.",
    401: "No token, or one that is not good.",
    403: "The token's scope or its account's role is too low.",
    404: "There is nothing at this address.",
    409: "It cannot be done as things are; the sentence says why.",
    412: "It is not what it was when it was read.",
    413: "It is too long.",
    415: "It is not JSON.",
    428: "It does not say what it was made of.",
}


def document(operations: Sequence[Operation], base: str) -> dict[str, Any]:
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = described(one)
    return {
        "openapi": "3.1.0",
        "info": {"title": "DistServer", "version": VERSION},
        "servers": [{"url": base}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {"schemas": schemas(operations), "securitySchemes": {"token": scheme()}},
    }


def scheme() -> dict[str, str]:
    return {"type": "http", "scheme": "bearer", "description": "`distserver account token NAME --add LABEL`"}


def schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    answered = {name: shape for one in operations for name, shape in components(one.answer).items()}
    asked = {name: shape for one in operations if one.body for name, shape in components(one.body).items()}
    made = {name: component(shape, closed=False) for name, shape in answered.items()}
    made |= {name: component(shape, closed=True) for name, shape in asked.items()}
    fault = component(Fault, closed=True) | {"additionalProperties": True}
    return dict(sorted((made | {"Fault": fault}).items()))


def described(one: Operation) -> dict[str, Any]:
    said: dict[str, Any] = {
        "operationId": one.name,
        "summary": one.text,
        "description": f"Needs the role {one.role.value}.",
        "parameters": [
            *path_parameters(one.path),
            *query_parameters(one.query),
            *(header_parameters() if one.as_read else []),
        ],
        "responses": responses(one),
    }
    if one.body:
        said["requestBody"] = {"required": True, "content": content(schema_of(one.body))}
    return said


def path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in VARIES.findall(path)
    ]


def query_parameters(shape: type | None) -> list[dict[str, Any]]:
    if shape is None:
        return []
    defaults = {one.name: one.default for one in fields(shape)}
    return [
        {"name": name, "in": "query", "schema": schema_of(hint) | {"default": defaults[name]}}
        for name, hint in hints_of(shape).items()
    ]


def header_parameters() -> list[dict[str, Any]]:
    return [
        {
            "name": MATCH,
            "in": "header",
            "description": "the ETag of what was read",
            "schema": {"type": "string", "pattern": f"^{ETAG_PATTERN}$"},
        },
        {
            "name": NONE_MATCH,
            "in": "header",
            "description": "in place of it: there was nothing to read",
            "schema": {"type": "string", "enum": ["*"]},
        },
    ]


def responses(one: Operation) -> dict[str, Any]:
    answer = schema_of(one.answer)
    if one.listed:
        cursor = {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "cursor of the next page"}
        properties = {"items": {"type": "array", "items": answer}, "next": cursor}
        answer = {"type": "object", "properties": properties, "required": ["items", "next"]}
    said = {str(one.status): {"description": one.text, "content": content(answer)}}
    for status, text in FAULTS.items():
        if _may_be(status, one):
            said[str(status)] = {"description": text, "content": content(schema_of(Fault))}
    return said


def content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _may_be(status: int, one: Operation) -> bool:
    """Whether an operation may be answered so."""
    if status in (412, 428):
        return one.as_read
    if status == 409:
        return one.method != "GET"
    return status not in (413, 415) or one.body is not None
