"""A function's own modules inside the host's process: imported under a private name, so that neither the host's modules nor another
function's of the same name are met, and sys.path stays as it is.

`import shop` in such a module finds its own `shop`; of libraries, the host's come first. What asks importlib for an absolute name by itself does not.
"""
from __future__ import annotations

import builtins
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType


class Namespace:
    """The modules of one version, until it is closed."""

    def __init__(self, name: str, folders: Sequence[str], source: str = "") -> None:
        self.name = name
        self._root, self._source = folders[0], source or folders[0]
        self._own: dict[str, bool] = {}
        self._builtins = {**vars(builtins), "__import__": self._import}
        package = ModuleType(name)
        package.__path__ = list(folders)
        self._folders = package.__path__
        sys.modules[name] = package
        sys.meta_path.insert(0, self)

    def close(self) -> None:
        """Forget them all."""
        sys.meta_path.remove(self)
        for name in [name for name in sys.modules if name == self.name or name.startswith(f"{self.name}.")]:
            del sys.modules[name]

    def import_module(self, name: str) -> ModuleType:
        """Import one of them by the name its author knows."""
        try:
            return importlib.import_module(f"{self.name}.{name}")
        except ImportError as error:
            error.msg = error.msg.replace(f"{self.name}.", "")
            raise

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """A finder of sys.meta_path, for our own names only."""
        if not fullname.startswith(f"{self.name}."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader, self._builtins, self._root, self._source)
        return spec

    def _import(
        self, name: str, globals: Mapping[str, object] | None = None, locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] = (), level: int = 0,
    ) -> ModuleType:
        """The `import` statement of these modules."""
        top = name.partition(".")[0]
        if level or not self._is_own(top):
            return builtins.__import__(name, globals, locals, fromlist, level)
        module = builtins.__import__(f"{self.name}.{name}", globals, locals, fromlist or ("__name__",), 0)
        return module if fromlist else sys.modules[f"{self.name}.{top}"]

    def _is_own(self, top: str) -> bool:
        """Whether it lies with the function's code, or in what was installed for it and the host has not: many libraries load only once in a process."""
        if top not in self._own:
            found = [PathFinder.find_spec(f"{self.name}.{top}", folders) is not None for folders in (self._folders[:1], self._folders[1:])]
            self._own[top] = found[0] or (found[1] and PathFinder.find_spec(top) is None)
        return self._own[top]


class _Loader(SourceFileLoader):
    """Runs a module with its namespace's `import`; its code says it is from the file that the author edits."""

    def __init__(self, plain: SourceFileLoader, builtins: dict[str, object], root: str, source: str) -> None:
        super().__init__(plain.name, plain.path)
        self._builtins, self._root, self._source = builtins, root, source

    def get_code(self, fullname: str) -> CodeType:
        # Bytecode is neither read nor written: it would lie beside the source.
        shown = self._source + self.path[len(self._root):] if self.path.startswith(self._root) else self.path
        code: CodeType = self.source_to_code(self.get_data(self.path), shown)
        return code

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self._builtins
        super().exec_module(module)
