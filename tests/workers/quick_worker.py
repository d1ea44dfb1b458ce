"""`dongne worker` that notices sooner that another one died: claims are stale after 1.5 s."""

import os
import sys
from functools import partial

from hub.commands.open_worker import open_worker_alone
from hub.plumbing.life.lifecycle import run
from hub.plumbing.settings.settings import Settings
from hub.plumbing.telemetry import logs
from workers.runner import Pace

QUICK = Pace(heartbeat_s=1.5, poll_s=0.5)

if __name__ == "__main__":
    settings = Settings.load(os.environ)
    logs.configure(settings)
    main = partial(open_worker_alone, settings=settings, environ=None, pace=QUICK)
    sys.exit(run(main, settings))
