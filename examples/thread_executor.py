"""An executor of one's own: trials in threads, by concurrent.futures.

An executor brings commands to workers and events back; what a worker does with a command
is `TrialHost.handle`. A worker here is a pool of one thread, because the commands of one
trial must run in one and the same thread. Executors for clusters look alike: a remote
actor in the place of the pool, its answer in the place of the future.

    python examples/thread_executor.py
"""

import queue
import tempfile
from concurrent.futures import ThreadPoolExecutor

import ctune as tune
from ctune.execution import Event, Executor, TrialHost
from ctune.schedulers import ASHAScheduler


class ThreadExecutor(Executor):
    """Runs every trial in a thread of its own."""

    def __init__(self, slots):
        self._slots = slots
        self._workers = {}  # number of the trial -> (thread pool, host)
        self._events = queue.SimpleQueue()

    def capacity(self):
        return {"CPU": self._slots}

    def prepare(self, trainable):
        self._trainable = trainable

    def submit(self, command):
        if command.kind == "START":
            worker = (ThreadPoolExecutor(max_workers=1), TrialHost(self._trainable))
        else:
            moved = command.source if command.kind == "RESET" else command.trial
            worker = self._workers.pop(moved)
        if command.kind not in ("STOP", "KILL"):
            self._workers[command.trial] = worker
        threads, host = worker
        threads.submit(self._carry_out, host, command)
        if command.kind in ("STOP", "KILL"):
            threads.shutdown(wait=False)

    def _carry_out(self, host, command):
        try:
            event = host.handle(command)
        except BaseException as error:  # KeyboardInterrupt, or a mistake in here
            event = Event("LOST", trial=command.trial, serial=command.serial, text=str(error))
        self._events.put(event)

    def wait(self, timeout):
        events = []
        try:
            events.append(self._events.get(timeout=timeout))
            while True:
                events.append(self._events.get_nowait())
        except queue.Empty:
            pass
        return [event for event in events if event is not None]

    def interrupt(self):
        self._events.put(None)

    def close(self):
        for threads, host in self._workers.values():
            threads.submit(host.close)
            threads.shutdown(wait=True)
        self._workers.clear()
        self._events = queue.SimpleQueue()  # nobody asks for what is left


def train(config):
    for epoch in range(1, 28):
        tune.report({"loss": (config["x"] - 3) ** 2 + 1 / epoch})


if __name__ == "__main__":
    tune.init(executor=ThreadExecutor(slots=4))
    analysis = tune.run(
        train,
        config={"x": tune.uniform(0, 10)},
        num_samples=32,
        metric="loss",
        mode="min",
        scheduler=ASHAScheduler(max_t=27),
        storage_path=tempfile.mkdtemp(),
    )
    print(analysis.best_config)
