"""A service that was there before: users and what they wrote, in memory."""

import asyncio
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, UploadFile
from fastapi.responses import StreamingResponse
from fastapi.security import APIKeyHeader
from pydantic import BaseModel

app = FastAPI(title="Users", version="1.4.0")
key = APIKeyHeader(name="Authorization")


class User(BaseModel):
    id: int
    name: str
    picture: str | None = None


users = {1: User(id=1, name="Ann"), 2: User(id=2, name="Bob")}


def found(user_id: int) -> User:
    if user_id not in users:
        raise HTTPException(404, f"there is no user {user_id}")
    return users[user_id]


@app.get("/users")
async def list_users() -> list[User]:
    """Everybody."""
    return list(users.values())


@app.get("/users/{user_id}", operation_id="read_user")
async def read_user(user: Annotated[User, Depends(found)]) -> User:
    """One of them."""
    return user


@app.put("/users/{user_id}/picture")
async def put_picture(user: Annotated[User, Depends(found)], file: UploadFile) -> User:
    """Keeps the name of a picture."""
    user.picture = file.filename
    return user


@app.get("/users/{user_id}/story", responses={200: {"content": {"text/event-stream": {}}}},
         response_class=StreamingResponse)
async def story(user: Annotated[User, Depends(found)]) -> StreamingResponse:
    """Tells about a user, word by word."""

    async def words():
        for word in f"Once there was {user.name}".split():
            yield f"data: {word}\n\n"
            await asyncio.sleep(0.05)

    return StreamingResponse(words(), media_type="text/event-stream")


@app.delete("/admin/users/{user_id}", status_code=204)
async def delete_user(user: Annotated[User, Depends(found)], given: Annotated[str, Depends(key)]) -> None:
    """Forgets a user. Whoever knows the key may."""
    if given != "users-key":
        raise HTTPException(401, "who are you?")
    del users[user.id]
