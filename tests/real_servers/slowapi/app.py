"""A server with slowapi's moving window in front of each of two paths.

slowapi writes its own headers: X-RateLimit-Limit, -Remaining, -Reset (in seconds since 1970) and
Retry-After. Usage: python app.py PORT RATE_OF_OBEYING RATE_OF_OVERRUNNING
"""

import sys

import uvicorn
from slowapi import Limiter, _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.util import get_remote_address
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

port, obeying_rate, overrunning_rate = sys.argv[1:]
limiter = Limiter(key_func=get_remote_address, strategy="moving-window", headers_enabled=True)


@limiter.limit(f"{obeying_rate}/second")
async def obeying(request: Request):
    return PlainTextResponse("hello")


@limiter.limit(f"{overrunning_rate}/second")
async def overrunning(request: Request):
    return PlainTextResponse("hello")


app = Starlette(routes=[Route("/obeying", obeying), Route("/overrunning", overrunning)])
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="critical", access_log=False)
