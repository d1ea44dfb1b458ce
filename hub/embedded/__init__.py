"""PostgreSQL and Valkey as child processes, for whoever gives no DATABASE_URL or REDIS_URL.

Start them from the main thread: the parent-death signal of a child follows the thread that
forked it (prctl(2), PR_SET_PDEATHSIG).
"""

from hub.embedded.account import EmbeddedError
from hub.embedded.engines import Postgres, Valkey, postgres, valkey
from hub.embedded.keeper import keep
from hub.embedded.programs import Prefer
from hub.embedded.supervisor import Server

__all__ = ["EmbeddedError", "Postgres", "Prefer", "Server", "Valkey", "keep", "postgres", "valkey"]
