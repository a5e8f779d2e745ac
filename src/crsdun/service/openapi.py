"""The service described: as an OpenAPI document, and as a page made of that."""

from __future__ import annotations

from dataclasses import fields
from html import escape
from typing import Any

from crsdun.service.config import MEGABYTE, ServiceConfig
from crsdun.service.settings import KINDS, PRODUCTS, Settings, schema_of
from crsdun.version import __version__

RECONSTRUCT = "/v1/reconstruct"
ERROR = {"$ref": "#/components/schemas/Error"}
STATUSES = {
    "400": "the measurement cannot be decoded, or a setting is wrong: what is wrong, and what to do about it",
    "401": "no token, or another one",
    "403": "a page of another site may not use this service",
    "406": "nothing of what could be sent is accepted",
    "408": "the body took longer to arrive than a request may take",
    "413": "the body is larger than the limit, or what it needs than the memory",
    "415": "the body is of a kind that is not taken",
    "429": "too many requests wait; Retry-After says when to come again",
    "500": "an unexpected error, which is no fault of the request",
    "503": "no process decodes yet, or the one that decoded this request has ended",
    "504": "decoding took longer than a request may take",
    "507": "the disk of the service is full",
}


def document(config: ServiceConfig) -> dict[str, Any]:
    """The OpenAPI document of a service."""
    cameras = ", ".join(config.cameras)
    binary = {"schema": {"type": "string", "format": "binary"}}
    errors = {
        status: {"description": text, "content": {"application/json": {"schema": ERROR}}}
        for status, text in STATUSES.items()
    }
    sent = {kind: binary for kind in KINDS.values() if kind != KINDS["json"]} | {KINDS["json"]: {"schema": {}}}
    parts = {
        "measurement": {"type": "string", "format": "binary", "description": "file of the exposure"},
        "mask": {"type": "string", "format": "binary", "description": "file of the coded aperture, if it is needed"},
        **{each.name: _described(each) for each in fields(Settings)},
    }
    reconstruct = {
        "summary": "A measurement in, a cube, classes or a picture out",
        "description": (
            f"Decodes by {config.method}. The body is a file (.npz, .npy, .mat, .h5, .tif, .png), a form with the "
            "part measurement and, where it brings its own camera, the part mask; or with dtype and camera the bare "
            "pixels of a frame. Settings stand in the address or in the form. The header crsdun-figures of an answer "
            "holds what is known of the result: how well it explains the measurement, and warnings. "
            + (f"Cameras: {cameras}. " if cameras else "")
            + f"A request may have {config.limit // MEGABYTE} MB and take {config.timeout:g} s."
        ),
        "operationId": "reconstruct",
        "parameters": [
            {"name": each.name, "in": "query", "required": False, "schema": schema_of(each),
             "description": each.metadata["description"]}
            for each in fields(Settings)
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": binary,
                "multipart/form-data": {
                    "schema": {"type": "object", "required": ["measurement"], "properties": parts}
                },
            },
        },
        "responses": {
            "200": {
                "description": "; ".join(f"{name} as {', '.join(kinds)}" for name, kinds in PRODUCTS.items()),
                "headers": {"crsdun-figures": {"description": "figures as JSON", "schema": {"type": "string"}}},
                "content": sent,
            },
            **errors,
        },
    }  # fmt: skip
    text = {"text/plain": {"schema": {"type": "string"}}}
    plain = {"200": {"description": "yes", "content": text}}
    described: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "crsdun: snapshot spectral imaging",
            "version": __version__,
            "description": "A hyperspectral cube and a class map from one coded exposure.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            RECONSTRUCT: {"post": reconstruct},
            "/v1/service": {"get": _get("The method, its bands and classes, the cameras and the limits", "service",
                                        {"200": {"description": "all of it"}, "401": errors["401"]})},
            "/health": {"get": _get("Whether the service runs", "health", plain)},
            "/ready": {"get": _get("Whether a process is ready to decode", "ready", {**plain, "503": errors["503"]})},
            "/metrics": {"get": _get("Figures for Prometheus", "metrics", {**plain, "401": errors["401"]})},
            "/openapi.json": {"get": _get("This document", "openapi", {"200": {"description": "it"}})},
            "/docs": {"get": _get("The same as a page", "docs", {"200": {"description": "it"}})},
        },
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {
                        "error": {"type": "string", "description": "what is wrong"},
                        "remedy": {"type": "string", "description": "what to do about it"},
                    },
                }
            }
        },
    }  # fmt: skip
    if config.token is not None:
        described["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        described["security"] = [{"token": []}]
        for path in ("/health", "/ready", "/openapi.json", "/docs"):
            described["paths"][path]["get"]["security"] = []
    return described


def _get(summary: str, name: str, responses: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "operationId": name, "responses": responses}


def _described(setting: Any) -> dict[str, Any]:
    return {**schema_of(setting), "description": setting.metadata["description"]}


# -- as a page -----------------------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; } h2 code { font-size: 1.1rem; }
table { border-collapse: collapse; width: 100%; margin-top: 1rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; }
td:first-child { white-space: nowrap; }
pre { background: #8882; padding: .8rem; white-space: pre-wrap; overflow-wrap: anywhere; border-radius: .3rem; }
.get, .post { font-weight: 600; color: #087; } .post { color: #b50; }
"""


def page(described: dict[str, Any], config: ServiceConfig) -> str:
    """The document as a page that needs nothing from anywhere."""
    info = described["info"]
    parts = [f"<h1>{escape(info['title'])}</h1>", f"<p>{escape(info['description'])} Version {info['version']}. "]
    parts.append('The same for programs: <a href="/openapi.json">openapi.json</a>.</p>')
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            parts.append(f'<h2><span class="{method}">{method.upper()}</span> <code>{escape(path)}</code></h2>')
            parts.append(f"<p>{escape(operation.get('description') or operation['summary'])}</p>")
            if path == RECONSTRUCT:
                parts.append(f"<pre>{escape(_examples(config))}</pre>")
            if "parameters" in operation:
                rows = [
                    (each["name"], each["description"] + _range(each["schema"])) for each in operation["parameters"]
                ]
                parts.append(_table("setting", "meaning", rows))
            if len(operation["responses"]) > 1:
                rows = [(status, each["description"]) for status, each in operation["responses"].items()]
                parts.append(_table("status", "meaning", rows))
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{info["title"]}</title>'
    body = "".join(parts)
    return f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head><body>{body}</body></html>'


def _examples(config: ServiceConfig) -> str:
    token = "" if config.token is None else ' -H "Authorization: Bearer $CRSDUN_TOKEN"'
    host = f"http://{'localhost' if config.host in ('0.0.0.0', '::') else config.host}:{config.port}"
    camera = next(iter(config.cameras), "ID")
    return "\n".join(
        [
            f"curl{token} --data-binary @y.npz {host}{RECONSTRUCT} -o cube.npz",
            f"curl{token} -F measurement=@y.tif -F mask=@mask.png -F bits=12 '{host}{RECONSTRUCT}?product=picture' "
            "-o picture.png",
            f"curl{token} --data-binary @frame.raw "
            f"'{host}{RECONSTRUCT}?camera={camera}&dtype=uint16&bits=12&format=safetensors' -o cube.safetensors",
        ]
    )


def _range(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return f" ({', '.join(schema['enum'])})"
    ends = [f"{word} {schema[key]}" for key, word in (("minimum", "from"), ("maximum", "to")) if key in schema]
    return f" ({' '.join(ends)})" if ends else ""


def _table(left: str, right: str, rows: list[tuple[str, str]]) -> str:
    cells = "".join(f"<tr><td><code>{escape(name)}</code></td><td>{escape(text)}</td></tr>" for name, text in rows)
    return f"<table><thead><tr><th>{left}</th><th>{right}</th></tr></thead><tbody>{cells}</tbody></table>"
