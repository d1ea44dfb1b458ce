"""The restore drill (S3-30): `python -m deploy.backup.drill BACKUP_DIR`, in a checkout.

Takes the newest full backup, restores it into a PostgreSQL of our own that lives for as long as
this runs (hub.embedded), compares every table and sequence with what was written down when the
backup was made, and prints how long it took beside the promise (RTO 4 h, S2-108). Exit code 1 when
anything differs; the database in service is not touched.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

from hub.embedded import Postgres

HERE = Path(__file__).parent
RTO_S = 4 * 3600


def newest(folder: Path, name: str, kind: str) -> Path:
    """The newest whole backup. Raises FileNotFoundError when there is none."""
    place = folder / "backups" / name / kind
    found = sorted(one for one in place.glob("*") if one.suffix != ".part")
    if not found:
        raise FileNotFoundError(f"no {kind} backup in {place}")
    return found[-1]


async def restore(backup: Path, environ: Mapping[str, str]) -> tuple[int, float]:
    """Exit code of restore.sh into a fresh server, and the seconds it took."""
    with tempfile.TemporaryDirectory(prefix="drill-") as scratch:
        Path(scratch).chmod(0o711)  # root lends its server to another user
        # It is thrown away: nothing need be on disk.
        server = Postgres(Path(scratch) / "postgres", durable=False, on_progress=print)
        url = await server.start()
        try:
            began = monotonic()
            tools = server.program.path.parent
            process = await asyncio.create_subprocess_exec(
                str(HERE / "restore.sh"),
                str(backup.absolute()),
                env={**environ, "DATABASE_URL": url, "PATH": f"{tools}:{environ['PATH']}"},
            )
            return await process.wait(), monotonic() - began
        finally:
            await server.stop()


def main(folder: Path) -> int:
    backup = newest(folder, os.environ.get("BACKUP_NAME", "dongne"), "full")
    print(f"drill: {backup}")
    code, seconds = asyncio.run(restore(backup, os.environ))
    print(f"drill: {'restored' if code == 0 else 'FAILED'} in {seconds:.1f} s, promised {RTO_S} s")
    return code


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python -m deploy.backup.drill BACKUP_DIR")
    try:
        sys.exit(main(Path(sys.argv[1])))
    except FileNotFoundError as missing:
        sys.exit(str(missing))
