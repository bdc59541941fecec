"""Objects that live in one process and are called from others: actors and queues.

The process that made such an object answers on a local socket, from the moment on at which
another process may hold a handle. A handle travels as an address, a key and a number.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import secrets
import threading
from multiprocessing.connection import Client, Connection, Listener
from typing import Any

import cloudpickle

from ctune.compat.exceptions import ActorDiedError

__all__ = ["Home", "by_name", "drop_all", "name_it"]

# Where get_actor() of a worker asks for named actors.
VARIABLE = "CTUNE_COMPAT_ACTORS"


class Home:
    """The place where an object lives.

    Args:
        instance: The object.
        alone: Whether its methods are called one at a time.
    """

    def __init__(self, instance: Any, alone: bool = True) -> None:
        self._instance = instance
        self._lock: Any = threading.RLock() if alone else contextlib.nullcontext()
        self._pid = os.getpid()
        self._door: tuple[str, bytes, int] | None = None

    def _is_here(self) -> bool:
        return self._pid == os.getpid()

    def call(self, method: str, args: Any, kwargs: Any) -> Any:
        """Calls a method, here or where the object lives, and returns its result."""
        if not self._is_here():
            return _ask(self._door, method, args, kwargs)
        if self._instance is None:
            raise ActorDiedError("The actor was killed.")
        with self._lock:
            result = getattr(self._instance, method)(*args, **kwargs)
            return asyncio.run(result) if inspect.iscoroutine(result) else result

    def kill(self) -> None:
        """Lets go of the object: calls fail from then on."""
        if self._is_here():
            self._instance = None
            if _server is not None:
                _server.names = {n: h for n, h in _server.names.items() if h._home is not self}
        else:
            _ask(self._door, None, (), {})

    def share(self) -> tuple[str, bytes, int]:
        """Returns what another process needs to call it."""
        if self._door is None:
            self._door = _serve(self)
        return self._door

    def __reduce__(self) -> tuple[Any, ...]:
        return _elsewhere, self.share()


def _elsewhere(*door: Any) -> Home:
    address, _, number = door
    if _server is not None and _server.pid == os.getpid() and _server.address == address:
        return _server.homes[number]
    home = Home(None)
    home._pid = -1
    home._door = door
    return home


class _Server:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self.key = secrets.token_bytes(32)
        self.homes: dict[int, Home] = {}
        self.names: dict[str, Any] = {}  # handles
        self._listener = Listener(family="AF_UNIX", authkey=self.key)
        self.address = str(self._listener.address)
        threading.Thread(target=self._accept, daemon=True, name="ctune actors").start()

    def _accept(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                return  # closed
            except Exception:
                continue  # who cannot prove the key, or has gone already
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: Connection) -> None:
        with connection, contextlib.suppress(EOFError, OSError):
            while True:
                number, method, args, kwargs = cloudpickle.loads(connection.recv_bytes())
                try:
                    if number is None:
                        answer = True, self.names.get(method)
                    elif method is None:
                        answer = True, self.homes[number].kill()  # type: ignore[func-returns-value]
                    else:
                        answer = True, self.homes[number].call(method, args, kwargs)
                    data = cloudpickle.dumps(answer)
                except Exception as error:
                    data = _pickled_error(error)
                connection.send_bytes(data)

    def close(self) -> None:
        self._listener.close()


def _pickled_error(error: Exception) -> bytes:
    try:
        data: bytes = cloudpickle.dumps((False, error))
        cloudpickle.loads(data)
    except Exception:
        data = cloudpickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
    return data


_server: _Server | None = None
_open = threading.local()


def _started() -> _Server:
    global _server
    if _server is None or _server.pid != os.getpid():
        _server = _Server()
    return _server


def _serve(home: Home) -> tuple[str, bytes, int]:
    server = _started()
    number = len(server.homes)
    server.homes[number] = home
    return server.address, server.key, number


def _ask(door: tuple[Any, ...] | None, method: str | None, args: Any, kwargs: Any) -> Any:
    if door is None:
        raise ActorDiedError("The process in which the actor lives did not hand it on.")
    address, key, number = door
    # A process that is forked must not share the connection of its parent.
    if getattr(_open, "pid", None) != os.getpid():
        _open.pid, _open.connections = os.getpid(), {}
    connections = _open.connections
    try:
        if address not in connections:
            connections[address] = Client(address, authkey=key)
        connections[address].send_bytes(cloudpickle.dumps((number, method, args, kwargs)))
        good, value = cloudpickle.loads(connections[address].recv_bytes())
    except (EOFError, OSError) as error:
        connections.pop(address, None)
        raise ActorDiedError("The process in which the actor lives has ended.") from error
    if not good:
        raise value
    return value


def name_it(name: str, handle: Any) -> None:
    """Gives a handle a name by which other processes find it.

    Raises:
        ValueError: The name is taken.
    """
    server = _started()
    if name in server.names:
        raise ValueError(f"name: there is an actor {name!r} already; get_actor() returns it.")
    server.names[name] = handle
    os.environ[VARIABLE] = f"{server.key.hex()}@{server.address}"


def by_name(name: str) -> Any:
    """Returns the handle of that name; None: there is none."""
    if _server is not None and _server.pid == os.getpid() and name in _server.names:
        return _server.names[name]
    key, _, address = os.environ.get(VARIABLE, "").partition("@")
    if not address or (_server is not None and address == _server.address):
        return None
    return _ask((address, bytes.fromhex(key), None), name, (), {})


def drop_all() -> None:
    """Forgets all objects of this process: nobody can call them from outside any more."""
    global _server
    if _server is not None and _server.pid == os.getpid():
        _server.close()
        if os.environ.get(VARIABLE, "").endswith(f"@{_server.address}"):
            del os.environ[VARIABLE]
    _server = None
