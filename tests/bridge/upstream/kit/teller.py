"""A plugin of the earlier framework, for what its own echo plugin does not do."""

from collections.abc import AsyncGenerator
from typing import Any

from fastapi import HTTPException
from framex.consts import VERSION
from framex.plugin import BasePlugin, PluginMetadata, on_register, on_request
from pydantic import BaseModel

__plugin_meta__ = PluginMetadata(
    name="teller", version=VERSION, description="tells", author="tests", url="https://example.com",
    required_remote_apis=[],
)


class Told(BaseModel):
    what: str
    times: int = 1


@on_register()
class Teller(BasePlugin):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    @on_request("/tell", methods=["POST"])
    async def tell(self, model: Told) -> list[str]:
        return [model.what] * model.times

    @on_request("/tell_error", methods=["GET"])
    async def tell_error(self, status: int) -> str:
        raise HTTPException(status, f"it is {status}", headers={"retry-after": "7"})

    @on_request("/tell_crash", methods=["GET"])
    async def tell_crash(self) -> str:
        raise RuntimeError("the teller is lost")

    @on_request("/tell_stream", methods=["GET"], stream=True)
    async def tell_stream(self, words: str) -> AsyncGenerator[str, None]:
        for word in words.split(","):
            if word == "boom":
                raise HTTPException(409, "boom")
            yield f'event: message_chunk\ndata: {{"content": "{word}"}}\n\n'
        yield "event: finish\ndata: {}\n\n"
