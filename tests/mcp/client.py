"""Drives an MCP endpoint with the official Python client and prints what it saw, one JSON object.

Usage: client.py URL TOKEN CALL...     CALL is NAME or NAME=JSON-ARGUMENTS
"""

import asyncio
import json
import sys

from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


async def call(client, spec):
    name, _, arguments = spec.partition("=")
    try:
        result = await client.call_tool(name, json.loads(arguments or "{}"))
    except MCPError as error:
        return {"tool": name, "error": error.error.code, "message": error.error.message}
    except Exception as error:  # the transport's own: an HTTP status the client does not speak
        return {"tool": name, "exception": f"{type(error).__name__}: {error}"}
    texts = [block.text for block in result.content if getattr(block, "text", None)]
    return {"tool": name, "is_error": bool(result.is_error), "text": texts}


async def main(url, token, specs):
    statuses = []

    async def seen(response):
        statuses.append(response.status_code)

    http = create_mcp_http_client(headers={"Authorization": f"Bearer {token}"})
    http.event_hooks = {"response": [seen]}
    async with Client(streamable_http_client(url, http_client=http)) as client:
        tools = sorted(tool.name for tool in (await client.list_tools()).tools)
        calls = [await call(client, spec) for spec in specs]
    print(json.dumps({"tools": tools, "calls": calls, "statuses": statuses}))


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
