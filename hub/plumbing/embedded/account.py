"""Who the servers run as, and the folders that this user can reach."""

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

UNPRIVILEGED = ("nobody", "postgres", "daemon")


class EmbeddedError(RuntimeError):
    """A server could not be found, started or taken over; the text says which and what to do."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user that servers run as: ourselves, or an unprivileged one where we are root."""

    uid: int
    gid: int
    switched: bool

    def enters(self, folder: Path) -> bool:
        """Whether this user passes through a folder, its parents and ACLs included."""
        if not self.switched:
            return True
        tried = subprocess.run(  # noqa: S603
            ["/usr/bin/env", "test", "-x", folder],
            cwd="/",
            user=self.uid,
            group=self.gid,
            extra_groups=[],
        )
        return tried.returncode == 0

    def own(self, path: Path) -> None:
        if self.switched:
            os.chown(path, self.uid, self.gid)


def account() -> Account:
    """PostgreSQL refuses to run as root: root lends it to `nobody`, others run it themselves.

    Raises EmbeddedError where the user has no passwd entry, which initdb needs.
    """
    if os.geteuid() != 0:
        if _entry(os.geteuid()) is None:
            raise EmbeddedError(
                f"user id {os.geteuid()} has no passwd entry, which PostgreSQL needs: run as a "
                "named user, or set DATABASE_URL and REDIS_URL"
            )
        return Account(os.geteuid(), os.getegid(), switched=False)
    for entry in map(_entry, UNPRIVILEGED):
        if entry:
            return Account(entry.pw_uid, entry.pw_gid, switched=True)
    raise EmbeddedError("run as root, and there is no user `nobody` to run the servers as")


def _entry(who: str | int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(who) if isinstance(who, str) else pwd.getpwuid(who)
    except KeyError:
        return None


def root_store() -> Path:
    """A folder of root's own that every user may enter: in /var/lib, or the temporary folder.

    A working copy under /root, or in any folder of mode 0700, is closed to the servers' user.
    """
    for base in (Path("/var/lib/dongne-hub"), Path(tempfile.gettempdir(), "dongne-hub-root")):
        try:
            base.mkdir(mode=0o755, exist_ok=True)
            state = base.lstat()
            if base.is_symlink() or state.st_uid != 0 or state.st_mode & 0o022:
                continue  # somebody else may write here
            base.chmod(0o755)
        except OSError:
            continue
        return base
    raise EmbeddedError("root finds no folder of its own that the servers' user may enter")


def make_home(directory: Path, user: Account) -> None:
    """`directory/server`, owned by the servers' user; a link to root's store if closed to them.

    Homes in the store whose directory is gone (`rm -rf .dongne`) are removed here, so that they
    do not pile up.
    """
    home = directory / "server"
    if home.is_symlink() and not home.exists():
        home.unlink()
    if not home.exists():
        if user.enters(directory):
            home.mkdir(mode=0o700)
        else:
            _link_to_store(home)
        user.own(home.resolve())


def _link_to_store(home: Path) -> None:
    store = root_store() / "servers"
    store.mkdir(mode=0o755, exist_ok=True)
    store.chmod(0o755)
    for old in store.iterdir():
        link = old.with_suffix(".link")
        if old.suffix != ".link" and link.is_symlink() and not _linked(link, old):
            shutil.rmtree(old, ignore_errors=True)
            link.unlink()
    fresh = Path(tempfile.mkdtemp(dir=store))
    home.symlink_to(fresh)
    fresh.with_suffix(".link").symlink_to(home.absolute())  # last: only what has one is removed


def _linked(link: Path, home: Path) -> bool:
    """Whether the working folder that a home in the store was made for still points to it."""
    try:
        return link.resolve(strict=True) == home
    except OSError:
        return False
