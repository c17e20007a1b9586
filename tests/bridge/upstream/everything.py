"""An ordinary FastAPI application with every kind of argument, body and answer.

Nothing here knows of the bridge. `/seen/{key}` tells what came in: requests say which key
they count for in the header `x-count` or in the query.
"""

import asyncio
import gzip
import hashlib
from collections import Counter
from enum import Enum
from typing import Annotated, Any

from fastapi import Body, Cookie, Depends, FastAPI, File, Form, Header, HTTPException, Path, Query
from fastapi import Request, Response, UploadFile
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse
from fastapi.responses import RedirectResponse, StreamingResponse
from fastapi.security import APIKeyHeader
from pydantic import BaseModel, ConfigDict
from starlette.requests import ClientDisconnect

KEY = "up-key"

app = FastAPI(title="Everything", version="3.2.1", description="Served at http://127.0.0.1:9000, they say.")
seen: Counter[str] = Counter()


class Count:
    """Counts requests by their key."""

    def __init__(self, inner):
        self.inner = inner

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            request = Request(scope)
            key = request.headers.get("x-count") or request.query_params.get("count")
            if key:
                seen[key] += 1
        await self.inner(scope, receive, send)


app.add_middleware(Count)


@app.get("/seen/{key}", summary="What came in")
async def seen_of(key: str) -> int:
    return seen[key]


# Arguments.


class Colour(str, Enum):
    red = "red"
    green = "green"


@app.get("/query")
async def query(
    count_of: int,
    start: Annotated[str, Query(alias="from")],
    size: Annotated[int, Query(alias="page-size", ge=1)] = 10,
    q: str | None = None,
    colour: Colour = Colour.red,
    tags: Annotated[list[str], Query()] = [],
    number: Annotated[list[int] | None, Query(alias="n")] = None,
    exact: bool = False,
) -> dict[str, Any]:
    """All that a query can hold, also names that are words of a language."""
    return {
        "count_of": count_of, "from": start, "page-size": size, "q": q, "colour": colour,
        "tags": tags, "n": number, "exact": exact,
    }


@app.get("/items/{item_id}")
async def get_item(item_id: Annotated[int, Path(ge=0)]) -> dict[str, int]:
    return {"item": item_id}


@app.delete("/items/{item_id}", status_code=204)
async def delete_item(item_id: int) -> None:
    seen[f"deleted-{item_id}"] += 1


@app.get("/items/special/first")
async def special() -> str:
    return "the special one"


@app.get("/files/{where:path}")
async def file_at(where: str) -> str:
    return where


@app.get("/users", operation_id="list")
async def users() -> list[str]:
    return ["ann"]


@app.get("/places/{country}/{city}")
async def place(country: str, city: str) -> list[str]:
    return [country, city]


@app.get("/traced")
async def traced(
    x_trace: Annotated[str, Header()],
    x_many: Annotated[list[str] | None, Header()] = None,
    user_agent: Annotated[str | None, Header()] = None,
) -> dict[str, Any]:
    return {"x-trace": x_trace, "x-many": x_many, "user-agent": user_agent}


@app.get("/cookies")
async def cookies(response: Response, session: Annotated[str | None, Cookie()] = None) -> str | None:
    response.set_cookie("session", "new", httponly=True)
    response.set_cookie("theme", "dark", path="/")
    return session


# Bodies.


class Tree(BaseModel):
    name: str
    children: list["Tree"] = []


class Item(BaseModel):
    model_config = ConfigDict(extra="allow")

    id: int
    name: str = "nobody"
    note: str | None = None
    colour: Colour | None = None


class Clash(BaseModel):
    """The other application has one of this name, and another shape."""

    everything: int


@app.post("/json/object")
async def json_object(item: Item) -> dict[str, Any]:
    return {"set": sorted(item.model_fields_set), "item": item}


@app.post("/json/clash", operation_id="clash")
async def json_clash(it: Clash) -> Clash:
    return it


@app.post("/json/array")
async def json_array(items: list[Item]) -> list[Item]:
    return items


@app.post("/json/scalar")
async def json_scalar(number: Annotated[int, Body()]) -> int:
    return number


@app.post("/json/maybe")
async def json_maybe(item: Annotated[Item | None, Body()] = None) -> Item | None:
    return item


@app.post("/json/tree")
async def json_tree(tree: Tree) -> Tree:
    return tree


@app.post("/json/any")
async def json_any(value: Annotated[Any, Body()]) -> Any:
    return value


@app.patch("/json/embedded/{item_id}")
async def json_embedded(item_id: int, item: Item, why: Annotated[str, Body()], dry: bool = False) -> Any:
    return {"item_id": item_id, "item": item, "why": why, "dry": dry}


@app.post("/form")
async def form(name: Annotated[str, Form()], age: Annotated[int, Form()] = 0,
               tags: Annotated[list[str], Form()] = []) -> dict[str, Any]:
    return {"name": name, "age": age, "tags": tags}


async def about(file: UploadFile) -> dict[str, Any]:
    data = await file.read()
    return {"name": file.filename, "type": file.content_type, "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest()}


@app.post("/files")
async def files(files: Annotated[list[UploadFile], File()], note: Annotated[str | None, Form()] = None) -> Any:
    return {"note": note, "files": [await about(file) for file in files]}


@app.put("/file")
async def one_file(file: UploadFile) -> Any:
    return await about(file)


BYTES = {"requestBody": {"required": True, "content": {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}}


@app.post("/raw", openapi_extra=BYTES)
async def raw(request: Request) -> Any:
    size, digest = 0, hashlib.sha256()
    try:
        async for piece in request.stream():
            size += len(piece)
            digest.update(piece)
    except ClientDisconnect:
        seen["raw-broken-off"] += 1
        raise
    return {"size": size, "sha256": digest.hexdigest(), "type": request.headers.get("content-type"),
            "length": request.headers.get("content-length")}


async def as_it_came(request: Request) -> Any:
    body = await request.body()
    return {
        "method": request.method,
        "path": request.scope["raw_path"].decode("latin-1"),
        "query": request.scope["query_string"].decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.scope["headers"]],
        "body": {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()},
        "client": request.client.port,
    }


METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"]
# FastAPI gives all of them one operationId.
app.api_route("/mirror/{rest:path}", methods=METHODS)(as_it_came)


# Answers.


@app.post("/created", status_code=201)
async def created(response: Response) -> dict[str, int]:
    response.headers["location"] = "/items/7"
    response.headers["x-mine"] = "1"
    return {"id": 7}


@app.post("/nothing", status_code=204)
async def nothing() -> None:
    pass


@app.get("/unchanged")
async def unchanged(if_none_match: Annotated[str | None, Header()] = None) -> Response:
    headers = {"etag": '"v1"', "cache-control": "max-age=60"}
    if if_none_match == '"v1"':
        return Response(status_code=304, headers=headers)
    return PlainTextResponse("version 1", headers=headers)


@app.api_route("/redirect/{status}", methods=["GET", "POST"], operation_id="redirect")
async def redirect(request: Request, status: int, to: str = "relative") -> Response:
    target = {
        "relative": "/items/1?a=1",
        "absolute": f"{request.base_url}items/1",
        "elsewhere": "https://example.com/x",
        "itself": f"/redirect/{status}?to=itself",
    }[to]
    return RedirectResponse(target, status_code=status)


@app.get("/text", response_class=PlainTextResponse)
async def text() -> str:
    return "just text, ä"


@app.get("/html", response_class=HTMLResponse)
async def html() -> str:
    return "<h1>hi</h1>"


@app.get("/bytes/{kind}")
async def some_bytes(kind: str) -> Response:
    all_bytes = bytes(range(256))
    if kind == "gzip":
        return Response(gzip.compress(b'{"packed": true}', mtime=0), media_type="application/json",
                        headers={"content-encoding": "gzip", "vary": "accept-encoding"})
    if kind == "wrong-text":
        return Response(b'{"text": "\xff\xfe"}', media_type="application/json")
    if kind == "empty":
        return Response(b"", media_type="application/json")
    if kind == "untyped":
        return Response(all_bytes)
    return Response(all_bytes, media_type="application/octet-stream")


@app.get("/null")
async def null() -> None:
    return None


@app.get("/many-headers")
async def many_headers() -> Response:
    response = PlainTextResponse("see above", headers={"x-one": "1", "Link": "<a>; rel=next", "via": "1.1 upstream"})
    response.raw_headers += [(b"x-two", b"a"), (b"x-two", b"b"), (b"x-latin", "ä".encode("latin-1")),
                             (b"x-framex-mine", b"not its business"), (b"www-authenticate", b"Basic"),
                             (b"keep-alive", b"timeout=5"), (b"x-accel", b"1")]
    return response


@app.get("/download")
async def download() -> FileResponse:
    return FileResponse(__file__, filename="über die Brücke.py")


@app.head("/download", include_in_schema=False)
async def download_head() -> FileResponse:
    return FileResponse(__file__, filename="über die Brücke.py")


async def pieces(size: int, of: int = 65536):
    for _ in range(size // of):
        yield b"x" * of
    yield b"y" * (size % of)


@app.get("/large")
async def large(size: int, known: bool = False) -> StreamingResponse:
    headers = {"content-length": str(size)} if known else {}
    return StreamingResponse(pieces(size), media_type="application/octet-stream", headers=headers)


# Failures.


@app.get("/fail/{status}")
async def fail(status: int) -> None:
    raise HTTPException(status, {"code": "E1", "why": "asked to"}, headers={"x-why": "asked", "retry-after": "7"})


@app.get("/fail-html")
async def fail_html() -> HTMLResponse:
    return HTMLResponse("<h1>down</h1>", status_code=503)


@app.get("/crash")
async def crash() -> None:
    raise RuntimeError("password=hunter2")


@app.get("/slow")
async def slow(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "at last"


@app.get("/waits")
async def waits(request: Request, key: str, count: str = "") -> None:
    """Until its client has gone."""
    while not await request.is_disconnected():
        await asyncio.sleep(0.02)
    seen[f"{key}-gone"] += 1


@app.get("/cut")
async def cut(kind: str = "length") -> StreamingResponse:
    async def part():
        yield b"half of it"
        await asyncio.sleep(0.05)
        raise RuntimeError("the power is gone")

    headers = {"content-length": "1000"} if kind == "length" else {}
    return StreamingResponse(part(), media_type="text/plain", headers=headers)


# Streams.

EVENTS = [
    b": a comment\n\n", b"data: plain\n\n", b"event: named\nid: 1\ndata: {\"n\": 1}\n\n",
    b"retry: 500\n\n", b"id: 2\r\ndata: two\r\ndata: lines\r\n\r\n", "data: ä\n\n".encode(), b"data: [DONE]\n\n",
]
SSE = {200: {"content": {"text/event-stream": {}}}}


async def events(pause: float, key: str, breaks: bool):
    try:
        for event in EVENTS:
            yield event
            await asyncio.sleep(pause)
            if breaks and event.startswith(b"event"):
                raise RuntimeError("password=hunter2")
    except (asyncio.CancelledError, GeneratorExit):
        seen[f"{key}-cancelled"] += 1
        raise


@app.get("/sse", responses=SSE, response_class=StreamingResponse)
async def sse(pause: float = 0, key: str = "", breaks: bool = False) -> StreamingResponse:
    return StreamingResponse(events(pause, key, breaks), media_type="text/event-stream")


@app.get("/sse-unsaid", operation_id="fetch_response")
async def sse_unsaid() -> StreamingResponse:
    return StreamingResponse(events(0, "", False), media_type="text/event-stream")


@app.post("/chat", responses=SSE, response_class=StreamingResponse)
async def chat(prompt: Annotated[str, Body(embed=True)]) -> StreamingResponse:
    async def words():
        for word in prompt.split():
            yield f"data: {word}\n\n"

    return StreamingResponse(words(), media_type="text/event-stream")


@app.get("/lines")
async def lines() -> StreamingResponse:
    async def out():
        for n in range(5):
            yield f'{{"n": {n}}}\n'
            await asyncio.sleep(0.01)

    return StreamingResponse(out(), media_type="application/x-ndjson")


# What needs a key.

key = APIKeyHeader(name="Authorization")


def check(given: Annotated[str, Depends(key)]) -> str:
    if given != KEY:
        raise HTTPException(401, "who?", headers={"www-authenticate": "Key"})
    return given


@app.get("/secure/data")
async def secure_data(given: Annotated[str, Depends(check)]) -> dict[str, str]:
    return {"secret": "data"}


@app.get("/secure/other")
async def secure_other(given: Annotated[str, Depends(check)]) -> str:
    return "other"


@app.get("/hidden", include_in_schema=False)
async def hidden(request: Request) -> Any:
    return await as_it_came(request)
