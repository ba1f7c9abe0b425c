"""The decisions of the moving window of `limits` for recorded arrivals.

Reads lines from the standard input: the name of a key and a time in nanoseconds. Writes 1 for each
request that is admitted, and 0 for each that is not. The clock is that of the arrivals.

Usage: python moving_window.py LIMIT
"""

import sys
import time

now = 0.0
time.time = lambda: now

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

limit = parse(sys.argv[1])
limiter = MovingWindowRateLimiter(MemoryStorage())
for line in sys.stdin:
    key, at = line.split()
    now = int(at) / 1e9
    print(int(limiter.hit(limit, key)))
