"""An application that lives below a path: its document has `servers`, its paths do not say it."""

from fastapi import FastAPI, Request

app = FastAPI(title="Based", version="1", root_path="/v7", servers=[{"url": "https://public.example.com/v7"}],
              root_path_in_servers=False)


@app.get("/where/{name}")
async def where(name: str, request: Request) -> dict[str, str]:
    return {"name": name, "path": request.scope["raw_path"].decode()}
