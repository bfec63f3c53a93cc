"""Giving up what opening a ring needs: the process goes on as an ordinary user that can't come back.

Files that are made from then on, on rotation, too, are that user's, in folders that it may write to.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from pathlib import Path

from .errors import SettingsError, SniffError

#: What a root that nobody has told otherwise goes on as.
NOBODY = "nobody"

_NO_NEW_PRIVILEGES, _DROP_BOUNDING, _AMBIENT, _CLEAR_ALL = 38, 24, 47, 4
_CAPABILITIES_VERSION = 0x20080522
#: More than there are; the kernel says where they end.
_MOST_CAPABILITIES = 64


def account(name: str | None) -> pwd.struct_passwd | None:
    """Whom to go on as; None: whoever this is.

    To be asked before anything is opened, so that a mistake is known at once.

    Args:
        name: of a user. None: root goes on as the user that has called ``sudo``, whose folder this most likely is, else
            as ``nobody``; others as they are. ``root`` stays root.

    Raises:
        SettingsError: there is no such user, or only root could become it.
    """
    root = os.geteuid() == 0
    if name is None:
        if not root:
            return None
        called = os.environ.get("SUDO_USER", "")
        name = called if called and called != "root" and _known(called) else NOBODY
    found = _known(name)
    if found is None:
        raise SettingsError(f"--user {name}: there is no such user; name another, or make it: useradd --system {name}")
    if found.pw_uid == os.geteuid():
        return None
    if not root:
        raise SettingsError(f"--user {name}: only root can become another user; leave it out, or run this with sudo")
    return found


def drop(user: pwd.struct_passwd | None) -> None:
    """Go on as this user, without supplementary groups or capabilities, and without a way to get any.

    To be called once what needs privileges is open. With None (:func:`account`) the user stays; root stays with all it
    may do, others lose their capabilities. Those of a thread that runs already can't be taken from outside: where the
    user stays there may be none, and so ``OPENBLAS_NUM_THREADS`` has to be 1 before numpy is imported.

    Raises:
        SniffError: it can't be done, or has not had the effect.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    root = os.geteuid() == 0
    if root and user is not None:
        # While there is the capability to: what is not in this set no program that is started can have either.
        for capability in range(_MOST_CAPABILITIES):
            if libc.prctl(_DROP_BOUNDING, capability, 0, 0, 0):
                break
        try:
            os.setgroups([])
            os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
            os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
        except OSError as error:
            raise SniffError(f"--user {user.pw_name}: can't become that user: {error.strerror}; name another") from None
    if not root or user is not None:
        libc.prctl(_AMBIENT, _CLEAR_ALL, 0, 0, 0)
        # Effective, permitted and inheritable ones, in two halves: none.
        header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
        libc.capset(header, (ctypes.c_uint32 * 6)())
    libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    if not root or user is not None:
        _check(user)


def _known(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except (KeyError, ValueError):
        return None


def _check(user: pwd.struct_passwd | None) -> None:
    """See that privileges are gone, in all threads."""
    failed = []
    try:
        os.setuid(0)
        failed.append("root can be had back")
    except PermissionError:
        pass
    for thread in Path("/proc/self/task").iterdir():
        lines = (thread / "status").read_text().splitlines()
        status = dict(line.split(":", 1) for line in lines)
        if user is not None and (
            {*status["Uid"].split()} != {str(user.pw_uid)} or {*status["Gid"].split()} != {str(user.pw_gid)}
        ):
            failed.append("a thread is still another user")
        if any(int(status[each], 16) for each in ("CapInh", "CapPrm", "CapEff")):
            failed.append("a thread still has capabilities (set OPENBLAS_NUM_THREADS=1)")
    if failed:
        raise SniffError(f"privileges can't be given up: {', '.join(dict.fromkeys(failed))}; or start it with sudo")
