"""Remote storage for tests: a pyarrow file system whose calls can fail, wait and be counted."""

import threading

import pyarrow.fs as pafs


class Faulty(pafs.FileSystemHandler):
    """A directory of this machine as remote storage.

    Attributes:
        calls: (operation, path), in the order in which they came.
        fail: Function of operation and path: an exception to raise, or None.
        gate: Writing waits for it.
    """

    def __init__(self, directory):
        self._inner = pafs.SubTreeFileSystem(str(directory), pafs.LocalFileSystem())
        self.calls = []
        self.fail = lambda operation, path: None
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()

    def _enter(self, operation, path):
        with self._lock:
            self.calls.append((operation, path))
            error = self.fail(operation, path)
        if error is not None:
            raise error

    def count(self, operation, part=""):
        """Returns how many calls there were."""
        return sum(o == operation and part in path for o, path in self.calls)

    def __eq__(self, other):
        return self is other

    def get_type_name(self):
        return "faulty"

    def normalize_path(self, path):
        return path

    def get_file_info(self, paths):
        for path in paths:
            self._enter("info", path)
        return self._inner.get_file_info(paths)

    def get_file_info_selector(self, selector):
        self._enter("list", selector.base_dir)
        return self._inner.get_file_info(selector)

    def create_dir(self, path, recursive):
        self._enter("mkdir", path)
        self._inner.create_dir(path, recursive=recursive)

    def delete_dir(self, path):
        self._enter("rmdir", path)
        self._inner.delete_dir(path)

    def delete_dir_contents(self, path, missing_dir_ok=False):
        self._enter("empty", path)
        self._inner.delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self):
        raise NotImplementedError

    def delete_file(self, path):
        self._enter("delete", path)
        self._inner.delete_file(path)

    def move(self, source, target):
        raise NotImplementedError("as in object stores")

    def copy_file(self, source, target):
        raise NotImplementedError

    def open_input_stream(self, path):
        self._enter("read", path)
        return self._inner.open_input_stream(path, compression=None)

    def open_input_file(self, path):
        self._enter("read", path)
        return self._inner.open_input_file(path)

    def open_output_stream(self, path, metadata):
        self._enter("write", path)
        assert self.gate.wait(60)
        return self._inner.open_output_stream(path, compression=None)

    def open_append_stream(self, path, metadata):
        raise NotImplementedError
