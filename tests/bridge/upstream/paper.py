"""Documents that tests write, and a service that answers whatever it is asked.

`PUT /~documents/{name}` keeps a document, `GET` gives it. `/~documents/{name}/fetched` tells how
often it was asked for, and with which key.
"""

import hashlib
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response

app = FastAPI(openapi_url=None)
documents: dict[str, tuple[bytes, str, str]] = {}
fetched: dict[str, list[str | None]] = {}


@app.put("/~documents/{name}", status_code=204)
async def write(name: str, request: Request) -> None:
    body = await request.body()
    documents[name] = (body, request.headers["content-type"], f'"{hashlib.sha256(body).hexdigest()[:8]}"')


@app.delete("/~documents/{name}", status_code=204)
async def forget(name: str) -> None:
    documents.pop(name, None)


@app.get("/~documents/{name}/fetched")
async def fetches(name: str) -> list[str | None]:
    return fetched.get(name, [])


@app.get("/~documents/{name}")
async def read(name: str, request: Request) -> Response:
    fetched.setdefault(name, []).append(request.headers.get("authorization"))
    if name not in documents:
        raise HTTPException(404)
    if name.startswith("locked") and request.headers.get("authorization") != "document-key":
        raise HTTPException(401)
    body, media_type, etag = documents[name]
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag})
    return Response(body, media_type=media_type, headers={"etag": etag})


METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"]


@app.api_route("/{rest:path}", methods=METHODS)
async def anything(request: Request) -> Any:
    return {
        "method": request.method,
        "path": request.scope["raw_path"].decode("latin-1"),
        "query": request.scope["query_string"].decode("latin-1"),
        "key": request.headers.get("authorization"),
        "body": (await request.body()).decode("latin-1"),
    }
