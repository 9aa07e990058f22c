"""One call by curl and one answer for each operation of the API document, from what the operation says of itself."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

MAIL_ID: Final = "8f14e45fceea167a5a36dedd4bea2543"
MOMENT: Final = "2026-11-28T09:15:00+00:00"
DAY: Final = MOMENT[:10]
_DEEPEST: Final = 6
# What a value of this name usually is, where nothing says so in the schema.
_USUAL: Final[Mapping[str, Any]] = {
    "status": "success",
    "success": True,
    "name": "Primary",
    "address": "jane@example.com",
    "email": "sales@example.com",
    "host": "smtp.example.com",
    "smtp_server": "smtp.example.com",
    "server": "Primary (smtp.example.com:587)",
    "port": 587,
    "smtp_port": 587,
    "code": 250,
    "enhanced": "2.0.0",
    "ms": 42,
    "attempts": 1,
    "message_id": f"<{MAIL_ID}@mail.example.com>",
    "messageId": f"<{MAIL_ID}@mail.example.com>",
    "kind": "other",
    "priority": "normal",
    "via": "global",
}
_IN_BRACES: Final = re.compile(r"{(\w+)}")


def curl(method: str, url: str, body: Mapping[str, object] | None) -> str:
    """The call as a shell runs it, the token in ``$TOKEN``."""
    lines = [f'curl -s {"" if method == "GET" else f"-X {method} "}"{url}"', '-H "Authorization: Bearer $TOKEN"']
    if body is not None:
        text = json.dumps(body, indent=2, ensure_ascii=False).replace("'", "'\\''")
        lines += ["-H 'Content-Type: application/json'", f"-d '{text}'"]
    return " \\\n  ".join(lines)


def url(base_url: str, path: str, query: str) -> str:
    """The address of a call, with ids in it that look like ids."""
    filled = _IN_BRACES.sub(lambda found: MAIL_ID if found[1] == "mail_id" else "1", path)
    return f"{base_url}{filled}{f'?{query}' if query else ''}"


def of_schema(schema: Mapping[str, Any], schemas: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:  # noqa: ANN401 - JSON
    """A value that a JSON schema allows, and that looks like a real one."""
    if "$ref" in schema:
        return of_schema(schemas[schema["$ref"].rpartition("/")[2]], schemas, name, depth)
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return of_schema(schema[key][0], schemas, name, depth)
    given = [*schema.get("examples", ()), schema.get("const"), schema.get("default"), *schema.get("enum", ())]
    told = next((each for each in given if each is not None), None)
    return told if told is not None else _of_type(schema, schemas, name, depth)


def _of_type(schema: Mapping[str, Any], schemas: Mapping[str, Any], name: str, depth: int) -> Any:  # noqa: ANN401
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        inner = schema.get("properties", {}) if depth < _DEEPEST else {}
        return {each: of_schema(facts, schemas, each, depth + 1) for each, facts in inner.items()}
    if kind == "array":
        return [of_schema(schema.get("items", {}), schemas, name, depth + 1)]
    return _plain(kind, schema, name)


def _plain(kind: str | None, schema: Mapping[str, Any], name: str) -> Any:  # noqa: ANN401
    if name == "id" and kind == "string":
        return MAIL_ID
    wanted = {"string": str, "integer": int, "number": float, "boolean": bool}.get(kind or "", object)
    if isinstance(_USUAL.get(name), wanted) and name in _USUAL:
        return _USUAL[name]
    if kind == "string" and schema.get("format") == "date":
        return DAY
    if kind == "string":
        return MOMENT if schema.get("format") == "date-time" or name.endswith(("_at", "At")) or name == "at" else "…"
    return {"integer": schema.get("minimum", 1), "number": 1.5, "boolean": True}.get(kind or "")
