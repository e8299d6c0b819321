"""The gists API as a FastAPI service, for comparison.

The code is idiomatic, not tuned: pydantic models, a TTL cache in the process, one worker. The bodies follow the contract of the API. Of
the headers, the service has only those that FastAPI itself sends.
"""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
from fastapi import FastAPI, HTTPException, Path, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel
from starlette.middleware.base import RequestResponseEndpoint

GITHUB_API_URL = os.environ.get("GITHUB_API_URL", "https://api.github.com").rstrip("/")
CACHE_TTL = int(os.environ.get("CACHE_TTL", "300"))
UPSTREAM_TIMEOUT = 10.0

REQUESTS = Counter("http_requests_total", "Requests", ["method", "endpoint", "status"])
DURATION = Histogram("http_request_duration_seconds", "Request duration", ["method", "endpoint"])
ACTIVE = Gauge("http_requests_active", "Requests being served")
UPSTREAM = Counter("github_api_requests_total", "Requests to GitHub", ["status"])
HITS = Counter("cache_hits_total", "Cache hits")
MISSES = Counter("cache_misses_total", "Cache misses")


class GistFile(BaseModel):
    filename: str
    type: str | None = None
    language: str | None = None
    raw_url: str
    size: int


class Gist(BaseModel):
    id: str
    description: str | None = None
    url: str
    created_at: str
    files: dict[str, GistFile]


class Pagination(BaseModel):
    page: int
    per_page: int
    count: int
    has_next: bool
    has_prev: bool


class CacheInfo(BaseModel):
    hit: bool
    ttl_seconds: int


class GistsResponse(BaseModel):
    data: list[Gist]
    pagination: Pagination
    cache: CacheInfo


class TTLCache:
    """A cache that drops entries older than the TTL, in seconds."""

    def __init__(self, ttl: int) -> None:
        self.ttl = ttl
        self.entries: dict[str, tuple[float, dict]] = {}
        self.hits = self.misses = 0

    def get(self, key: str) -> dict | None:
        entry = self.entries.get(key)
        if entry is None or time.monotonic() - entry[0] > self.ttl:
            self.entries.pop(key, None)
            self.misses += 1
            MISSES.inc()
            return None
        self.hits += 1
        HITS.inc()
        return entry[1]

    def set(self, key: str, value: dict) -> None:
        self.entries[key] = (time.monotonic(), value)

    def clear(self) -> None:
        self.entries.clear()
        self.hits = self.misses = 0


cache = TTLCache(CACHE_TTL)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(
        base_url=GITHUB_API_URL,
        timeout=UPSTREAM_TIMEOUT,
        headers={"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"},
    ) as client:
        app.state.github = client
        yield


app = FastAPI(title="GitHub Gists API", lifespan=lifespan)


@app.middleware("http")
async def measure(request: Request, call_next: RequestResponseEndpoint) -> Response:
    ACTIVE.inc()
    start = time.perf_counter()
    try:
        response = await call_next(request)
    finally:
        ACTIVE.dec()
    endpoint = getattr(request.scope.get("route"), "path", "unmatched")
    REQUESTS.labels(request.method, endpoint, response.status_code).inc()
    DURATION.labels(request.method, endpoint).observe(time.perf_counter() - start)
    return response


@app.get("/")
@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "healthy", "service": "github-gists-api"}


@app.get("/metrics")
async def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@app.get("/cache/stats")
async def cache_stats() -> dict[str, int | float]:
    asked = cache.hits + cache.misses
    return {
        "size": len(cache.entries),
        "hits": cache.hits,
        "misses": cache.misses,
        "hit_rate": cache.hits / asked if asked else 0.0,
        "ttl_seconds": cache.ttl,
    }


@app.delete("/cache")
async def clear_cache() -> dict[str, str]:
    cache.clear()
    return {"message": "Cache cleared successfully"}


async def fetch(username: str, page: int, per_page: int) -> dict:
    try:
        response = await app.state.github.get(f"/users/{username}/gists", params={"page": page, "per_page": per_page})
    except httpx.TimeoutException:
        UPSTREAM.labels("timeout").inc()
        raise HTTPException(504, "GitHub API timeout") from None
    except httpx.RequestError:
        UPSTREAM.labels("error").inc()
        raise HTTPException(502, "GitHub is unreachable") from None
    UPSTREAM.labels(response.status_code).inc()
    if response.status_code == 404:
        raise HTTPException(404, f"User '{username}' not found")
    if response.status_code in (403, 429):
        raise HTTPException(429, "GitHub API rate limit exceeded. Please try again later.")
    if response.status_code != 200:
        raise HTTPException(502, f"GitHub error: {response.status_code}")
    data = [
        {
            "id": gist["id"],
            "description": gist["description"],
            "url": gist["html_url"],
            "created_at": gist["created_at"],
            "files": gist["files"],
        }
        for gist in response.json()
        if gist["public"]
    ]
    pagination = {
        "page": page,
        "per_page": per_page,
        "count": len(data),
        "has_next": "next" in response.links,
        "has_prev": "prev" in response.links,
    }
    return {"data": data, "pagination": pagination}


@app.get("/{username}", response_model=GistsResponse)
@app.get("/users/{username}/gists", response_model=GistsResponse)
async def gists(
    username: Annotated[str, Path(max_length=39)],
    page: Annotated[int, Query(ge=1, le=100)] = 1,
    per_page: Annotated[int, Query(ge=1, le=100)] = 30,
    use_cache: bool = True,
) -> dict:
    key = f"gists:{username.lower()}:page{page}:per_page{per_page}"
    entry = cache.get(key) if use_cache else None
    hit = entry is not None
    if entry is None:
        entry = await fetch(username, page, per_page)
        cache.set(key, entry)
    return {**entry, "cache": {"hit": hit, "ttl_seconds": cache.ttl}}
