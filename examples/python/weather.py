"""A FrameX worker in Python, with nothing but nats-py (`pip install nats-py`).

It serves one API, `weather.Weather.forecast`, which the edge shows as
GET /api/v1/forecast with its operation in the OpenAPI document, and it calls one
written in Rust, `echo.EchoPlugin.confess`. docs/protocol.md says what is on the wire.

    python weather.py nats://127.0.0.1:4222
"""

import asyncio
import json
import os
import signal
import sys

import nats
import nats.micro
from nats.errors import NoRespondersError

API = "weather.Weather.forecast"

# What the edge needs to know: the route, the parameters, the answer. JSON Schema throughout.
DESCRIPTOR = {
    "routes": ["GET /api/v1/forecast"],
    "summary": "Says how the weather will be",
    "tags": ["weather"],
    "parameters": [
        {"name": "city", "location": "query", "required": True, "schema": {"type": "string"}},
        {"name": "days", "location": "query", "required": False, "default": 1,
         "schema": {"type": "integer", "minimum": 1, "maximum": 7}},
    ],
    "reply": {"type": "value", "schema": {
        "type": "object",
        "required": ["city", "days", "note"],
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "array", "items": {"type": "string"}},
            "note": {"type": "string"},
        },
    }},
}


async def refuse(request, status, message):
    """An error: two headers, and a body for those who want details."""
    body = json.dumps({"code": "bad_argument", "message": message})
    await request.respond_error(str(status), message, data=body.encode())


async def main(url):
    user = os.environ.get("NATS_USER")
    nc = await nats.connect(
        url,
        name="weather.py",
        user=user,
        password=os.environ.get("NATS_PASSWORD"),
        # The broker of nats.conf gives each user an inbox of its own.
        inbox_prefix=(f"_INBOX.{user}" if user else "_INBOX").encode(),
    )

    async def confess(message):
        """Calls a plugin: its subject, named arguments as JSON, the bare result back."""
        try:
            reply = await nc.request(
                "echo.EchoPlugin.confess", json.dumps({"message": message}).encode(), timeout=2
            )
        except NoRespondersError:
            return "nobody to confess to"
        if reply.headers and "Nats-Service-Error" in reply.headers:
            return "refused: " + reply.headers["Nats-Service-Error"]
        return json.loads(reply.data)

    async def forecast(request):
        try:
            arguments = json.loads(request.data or b"{}")
            city = arguments["city"]
            days = int(arguments.get("days", 1))
        except (ValueError, TypeError, KeyError) as error:
            return await refuse(request, 422, f"the arguments cannot be read: {error!r}")
        if not 1 <= days <= 7:
            return await refuse(request, 422, "`days` is from 1 to 7")
        answer = {
            "city": city,
            "days": ["rain"] * days,
            "note": await confess(f"asked about {city}"),
        }
        await request.respond(json.dumps(answer).encode())

    service = await nats.micro.add_service(
        nc, name="weather", version="1.0.0", description="Forecasts, from Python"
    )
    await service.add_endpoint(
        name="Weather-forecast",
        subject=API,
        queue_group="weather",
        handler=forecast,
        metadata={"framex.descriptor": json.dumps(DESCRIPTOR)},
    )

    async def announce(state):
        """Optional: who announces its coming and going is seen at once, not a second later."""
        said = {"type": "io.framex.v1.announcement", "name": "weather", "id": service.id,
                "version": "1.0.0", "state": state}
        await nc.publish(f"_framex.announce.weather.{service.id}", json.dumps(said).encode())

    await announce("ready")
    print(f"serving {API} on {url}", flush=True)

    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    await stopped.wait()
    await announce("stopped")
    await service.stop()
    await nc.drain()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "nats://127.0.0.1:4222"))
