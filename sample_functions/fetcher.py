"""Fetches several pages at once, and takes as long as the slowest of them: an async handler.

    curl http://127.0.0.1:3000/fetcher
"""
import asyncio
import json
import os
import time
from urllib.request import urlopen

# Without PAGES, three pages of the server itself: AWS_ENDPOINT_URL is where it listens.
SERVER = os.environ.get("AWS_ENDPOINT_URL", "")
PAGES = os.environ.get("PAGES", f"{SERVER}/hello?name=Ada {SERVER}/hello?name=Grace {SERVER}/products/tea").split()


async def handler(event, context):
    started = time.perf_counter()
    answers = await asyncio.gather(*(fetch(page) for page in PAGES))
    return {"answers": answers, "seconds": round(time.perf_counter() - started, 3)}


async def fetch(page):
    # urlopen blocks, so each has a thread; with an async client (httpx, aiohttp) it would need none.
    return await asyncio.to_thread(lambda: json.load(urlopen(page, timeout=5)))


# microlam awaits async handlers, AWS does not: there, name fetcher.on_aws as the handler.
def on_aws(event, context):
    return asyncio.run(handler(event, context))
