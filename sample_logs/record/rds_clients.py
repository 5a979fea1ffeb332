"""The shop's ordinary clients of Redis: web, job queues, locks, a monitor.

The scripts that move jobs and take locks write a line into Redis's own log
with redis.log(), as the scripts of many applications do.
"""

from __future__ import annotations

import random
import time

from common import Traffic
from resp import Client, key

PUSH = """
local job = redis.call('INCR', 'job:last')
redis.call('LPUSH', 'queue:' .. ARGV[1], job .. ':0')
redis.log(redis.LOG_VERBOSE,
  'queue ' .. ARGV[1] .. ': job ' .. job .. ' pushed by ' .. ARGV[2])
return job
"""
CLAIM = """
local item = redis.call('RPOP', 'queue:' .. ARGV[1])
if not item then return '' end
local job = string.match(item, '^%d+')
redis.call('HSET', 'claimed:' .. ARGV[1], job, ARGV[2])
redis.log(redis.LOG_VERBOSE,
  'queue ' .. ARGV[1] .. ': job ' .. job .. ' claimed by ' .. ARGV[2])
return item
"""
DONE = """
redis.call('HDEL', 'claimed:' .. ARGV[1], ARGV[2])
redis.log(redis.LOG_VERBOSE,
  'queue ' .. ARGV[1] .. ': job ' .. ARGV[2] .. ' done in ' .. ARGV[3] .. ' ms')
return 1
"""
RETRY = """
redis.call('HDEL', 'claimed:' .. ARGV[1], ARGV[2])
local n = tonumber(ARGV[3]) + 1
if n > 3 then
  redis.call('LPUSH', 'dead:' .. ARGV[1], ARGV[2])
  redis.log(redis.LOG_NOTICE,
    'queue ' .. ARGV[1] .. ': job ' .. ARGV[2] .. ' failed for good, put aside')
else
  redis.call('LPUSH', 'queue:' .. ARGV[1], ARGV[2] .. ':' .. n)
  redis.log(redis.LOG_VERBOSE,
    'queue ' .. ARGV[1] .. ': job ' .. ARGV[2] .. ' failed, queued again, attempt ' .. n)
end
return n
"""
LOCK = """
if redis.call('SET', 'lock:' .. ARGV[1], ARGV[2], 'NX', 'PX', 1500) then
  redis.log(redis.LOG_VERBOSE, 'lock ' .. ARGV[1] .. ' taken by ' .. ARGV[2])
  return 1
end
redis.log(redis.LOG_VERBOSE, 'lock ' .. ARGV[1] .. ' busy, wanted by ' .. ARGV[2])
return 0
"""
FREE = """
redis.call('DEL', 'lock:' .. ARGV[1])
redis.log(redis.LOG_VERBOSE, 'lock ' .. ARGV[1] .. ' freed by ' .. ARGV[2])
return 1
"""
STATE = """
local waiting = redis.call('LLEN', 'queue:' .. ARGV[1])
local claimed = redis.call('HLEN', 'claimed:' .. ARGV[1])
redis.log(redis.LOG_VERBOSE,
  'queue ' .. ARGV[1] .. ': ' .. waiting .. ' jobs waiting, ' .. claimed .. ' claimed')
return 1
"""
QUEUES = ("mail", "invoice", "image")


def think() -> None:
    """A moment between two commands."""
    time.sleep(random.uniform(0.002, 0.03))


def web() -> None:
    """One web request: session, some keys, perhaps a job or a lock."""
    with Client("web") as client:
        client.call("GET", key("session"))
        for _ in range(random.randint(1, 4)):
            think()
            random.choice((_read, _read, _write, _count))(client)
        random.choices((_nothing, _push, _lock), weights=(5, 3, 2))[0](client)
        client.call("EXPIRE", key("session"), 600)


def _nothing(client: Client) -> None:
    client.call("EXISTS", key("flag", 9))


def _read(client: Client) -> None:
    client.call("GET", key("product"))


def _write(client: Client) -> None:
    client.call("SET", key("session", 4000), "x" * random.randint(50, 900), "EX", 120)


def _count(client: Client) -> None:
    client.call("INCR", key("views"))


def _push(client: Client) -> None:
    client.call("EVAL", PUSH, 0, random.choice(QUEUES), "web")


def _lock(client: Client) -> None:
    name = key("stock", 30)
    for _ in range(3):
        if client.call("EVAL", LOCK, 0, name, "web"):
            time.sleep(random.uniform(0.01, 0.08))
            client.call("DECR", name)
            client.call("EVAL", FREE, 0, name, "web")
            return
        time.sleep(0.03)


def worker() -> None:
    """A worker: connects, works on up to eight jobs, hangs up."""
    queue = random.choice(QUEUES)
    with Client(f"worker-{queue}") as client:
        for _ in range(random.randint(3, 8)):
            item = client.call("EVAL", CLAIM, 0, queue, f"worker-{queue}")
            if item:
                _finish(client, queue, *item.split(":"))
            think()


def _finish(client: Client, queue: str, job: str, attempt: str) -> None:
    took = random.randint(5, 60)
    time.sleep(took / 1000)
    if random.random() < 0.06 + 0.2 * int(attempt):
        client.call("EVAL", RETRY, 0, queue, job, attempt)
    else:
        client.call("EVAL", DONE, 0, queue, job, took)


def monitor() -> None:
    """The monitor's check and the state of a queue."""
    with Client("monitor") as client:
        client.call("PING")
        client.call("EVAL", STATE, 0, random.choice(QUEUES))
        client.call("INFO")


def balancer() -> None:
    """The load balancer's check: connect and hang up."""
    Client(user="").close()


TRAFFIC: tuple[Traffic, ...] = (
    (web, 6, (0.1, 0.6)),
    (worker, 3, (0.1, 0.6)),
    (monitor, 1, (1.5, 2.5)),
    (balancer, 1, (1.9, 2.1)),
)
