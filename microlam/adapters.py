"""A whole ASGI or WSGI application as a handler: `handler = asgi(app)`, `handler = wsgi(app)`.

By way of mangum and apig-wsgi, which `pip install microlam[adapters]` brings; the same file runs on AWS.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:       # importing typing would double what a cold start pays for this module
    from collections.abc import Callable
    from typing import Any

    Handler = Callable[[Any, Any], Any]


def asgi(application: Any, *, prefix: str = "") -> Handler:
    """A handler that answers with an ASGI application, as of FastAPI or Starlette; its own paths begin after `prefix`.

    Its lifespan starts at the first invocation, and ends with the worker.
    """
    import asyncio
    import threading

    try:
        from mangum import Mangum
        from mangum.protocols import LifespanCycle
    except ModuleNotFoundError as error:
        raise _not_there("asgi", error) from None

    loop, one_at_a_time = asyncio.new_event_loop(), threading.Lock()
    asyncio.set_event_loop(loop)
    lifespan = LifespanCycle(application, "auto")
    started = False

    async def placed(scope: Any, receive: Any, send: Any) -> None:
        await application({**scope, "root_path": prefix, "state": dict(lifespan.lifespan_state)}, receive, send)

    answer = Mangum(placed, lifespan="off")

    def handler(event: Any, context: Any) -> Any:
        nonlocal started
        # One loop for all invocations, whichever thread they come on: what the lifespan opened belongs to it.
        with one_at_a_time:
            asyncio.set_event_loop(loop)
            if not started:
                lifespan.__enter__()
                started = True
            return answer(event, context)

    return handler


def wsgi(application: Any, *, prefix: str = "") -> Handler:
    """A handler that answers with a WSGI application, as of Flask or Django; its own paths begin after `prefix`."""
    try:
        from apig_wsgi import make_lambda_handler
    except ModuleNotFoundError as error:
        raise _not_there("wsgi", error) from None

    def placed(environ: dict[str, Any], start_response: Any) -> Any:
        if prefix and environ["PATH_INFO"].startswith(prefix):
            environ.update(SCRIPT_NAME=prefix, PATH_INFO=environ["PATH_INFO"][len(prefix):])
        return application(environ, start_response)

    handler: Handler = make_lambda_handler(placed, binary_support=True)
    return handler


def _not_there(adapter: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"microlam.adapters.{adapter} needs {error.name}, which is not installed: pip install 'microlam[adapters]'", name=error.name)
