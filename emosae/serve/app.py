"""The server: the desk's page, the browser beside it, and the few addresses that the page asks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from emosae.errors import UserError
from emosae.serve.desk import Desk
from emosae.serve.guard import Gate, Guard
from emosae.serve.info import describe
from emosae.serve.line import Event, FullError, Job, Line
from emosae.serve.wish import Wish

__all__ = ["PAGE", "make_app"]

log = logging.getLogger(__name__)

PAGE = Path(__file__).resolve().parent / "page"
_PACKAGE = PAGE.parent.parent
_FILES = {
    "": (PAGE / "index.html", "text/html; charset=utf-8"),
    "style.css": (_PACKAGE / "report" / "style.css", "text/css; charset=utf-8"),
    "controls.css": (_PACKAGE / "browse" / "page" / "browse.css", "text/css; charset=utf-8"),
    "desk.css": (PAGE / "desk.css", "text/css; charset=utf-8"),
    **{path.name: (path, "text/javascript; charset=utf-8") for path in sorted(PAGE.glob("*.js"))},
}
_KINDS = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
_BODY = 2_000_000  # bytes; a plan of many clamps is some ten thousand
_LOOK_S = 0.25  # how often it is asked whether the page is still there


def make_app(desk: Desk, gate: Gate) -> Guard:
    """Make the application.

    Args:
        desk: The desk; its one thread of work starts here.
        gate: Who may ask.
    """
    limits = desk.config.serve
    line = Line(limits.queue)
    jobs: dict[str, Job] = {}
    browser = None if limits.browse is None else Path(limits.browse).resolve()

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        line.close()
        desk.measures.close()

    # No pages of its own: those would load scripts from elsewhere.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_exception_handler(UserError, _refuse)

    async def stream(request: Request, work: Callable[[Job], Future[None] | None]) -> Response:
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def send(event: Event | None) -> None:
            with contextlib.suppress(RuntimeError):  # the server has ended
                loop.call_soon_threadsafe(events.put_nowait, event)

        job = Job(work=work, send=send)
        job.tell("job", name=job.name)
        line.put(job)
        jobs[job.name] = job
        return StreamingResponse(_told(request, job, events, line, jobs), media_type="text/event-stream")

    @app.get("/api/desk")
    async def info() -> Response:
        return JSONResponse(describe(desk, has_browser=browser is not None))

    @app.post("/api/generate")
    async def generate(request: Request) -> Response:
        wish = Wish.parse(await _json(request), limits)
        return await stream(request, lambda job: desk.generate(wish, job))

    @app.post("/api/plan")
    async def plan(request: Request) -> Response:
        wish = Wish.parse(await _json(request), limits)
        return await stream(request, lambda job: desk.plan(wish, job))

    @app.post("/api/read")
    async def read(request: Request) -> Response:
        plain = await _json(request)
        return await stream(request, lambda job: desk.read(plain, job))

    @app.post("/api/stop/{name}")
    async def stop(name: str) -> Response:
        if name in jobs:
            line.cancel(jobs[name])
        return Response(status_code=204)

    @app.get("/browse/{name:path}")
    async def browse(name: str) -> Response:
        if browser is None:
            return _missing("No feature browser is shown here. Start the desk with browse=FOLDER.")
        path = (browser / (name or "index.html")).resolve()
        if not path.is_relative_to(browser) or path.suffix not in _KINDS or not path.is_file():
            return _missing("The feature browser has no such file.")
        return FileResponse(path, media_type=_KINDS[path.suffix])

    @app.get("/{name:path}")
    async def page(name: str) -> Response:
        if name not in _FILES:
            return _missing("There is no such page. The desk is at /.")
        path, kind = _FILES[name]
        return FileResponse(path, media_type=kind)

    return Guard(app, gate)


async def _told(
    request: Request, job: Job, events: asyncio.Queue[Event | None], line: Line, jobs: dict[str, Job]
) -> AsyncIterator[str]:
    """Pass events on as server-sent events; when the page goes away, its job goes too."""

    async def watch() -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(_LOOK_S)
        line.cancel(job)

    watching = asyncio.create_task(watch())
    try:
        while (event := await events.get()) is not None:
            yield f"data: {json.dumps(event, allow_nan=False)}\n\n"
        yield f"data: {json.dumps({'type': 'end'})}\n\n"
    finally:
        watching.cancel()
        line.cancel(job)
        jobs.pop(job.name, None)


async def _json(request: Request) -> Any:
    """Read a body of JSON, and no more of it than is allowed."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise UserError("What is sent must be JSON, named application/json. Use the desk's own page.")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _BODY:
            raise UserError(f"What is sent must have at most {_BODY:,} bytes. Send less.")
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise UserError(
            "What is sent is not readable as JSON. Name a file that the desk or Plan.save wrote."
        ) from error


async def _refuse(_request: Request, error: Exception) -> Response:
    status = 429 if isinstance(error, FullError) else 400
    return JSONResponse({"error": " ".join(str(error).split())}, status_code=status)


def _missing(sentence: str) -> Response:
    return JSONResponse({"error": sentence}, status_code=404)
