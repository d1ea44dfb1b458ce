"""Who the servers run as, and the folders that this user can reach."""

import contextlib
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

    Raises EmbeddedError when a home made earlier is closed to them now.
    """
    home = directory / "server"
    if home.is_symlink() and not home.exists():
        home.unlink()
    if not home.exists():
        if user.enters(directory):
            home.mkdir(mode=0o700)
        else:
            home.symlink_to(tempfile.mkdtemp(dir=_homes()))
        user.own(home.resolve())
    if not user.enters(home.resolve()):
        raise EmbeddedError(
            f"user id {user.uid}, as whom the servers run, cannot enter {home.resolve()}: open "
            "the folders above it (chmod o+x), or remove it to begin anew"
        )
    if home.is_symlink():
        _remember(home)


def _homes() -> Path:
    """The homes in root's store, without those whose working folder was removed."""
    store = root_store() / "servers"
    store.mkdir(mode=0o755, exist_ok=True)
    store.chmod(0o755)
    for back in store.glob("*.link"):
        with contextlib.suppress(FileNotFoundError):  # another start was quicker
            if _removed(back):
                shutil.rmtree(back.with_suffix(""), ignore_errors=True)
                back.unlink()
    return store


def _remember(home: Path) -> None:
    """Beside a home in the store, a link back to the folder it was made for, moved or not."""
    back = home.resolve().with_suffix(".link")
    fresh = back.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(home.absolute())
    fresh.replace(back)


def _removed(back: Path) -> bool:
    """Whether nothing points to a home any more. A project folder that is gone may have been moved
    with what points to it, so then only what lay in the temporary folder counts as removed."""
    home = back.readlink()
    if home.is_symlink():
        return home.readlink() != back.with_suffix("")
    return home.is_relative_to(tempfile.gettempdir()) or home.parent.parent.parent.exists()
