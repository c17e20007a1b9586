"""Another team's application, whose names are those of everything.py and mean something else."""

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI(title="Orders", version="1")


class Clash(BaseModel):
    orders: list[str]


class Item(BaseModel):
    sku: str


@app.get("/orders", operation_id="list")
async def list_orders() -> Clash:
    return Clash(orders=["tea"])


@app.post("/orders", operation_id="clash")
async def order(item: Item) -> Item:
    return item


@app.get("/items/{item_id}")
async def get_item(item_id: str) -> Item:
    return Item(sku=item_id)


# Paths that are the edge's own, and a plugin's.


@app.get("/health")
async def health() -> str:
    return "not the edge"


@app.get("/api/v1/echo")
async def echo(message: str) -> str:
    return f"the upstream says {message}"
