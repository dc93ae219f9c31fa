"""A function as it is sent to another process, which loads it from the same files; what stands in a script goes along."""

from __future__ import annotations

import importlib.machinery
import io
import pickle
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

from adaptive_lr.errors import RunError
from adaptive_lr.processes import load_module


@dataclass(frozen=True)
class _Parcel:
    """What is sent.

    Attributes:
        content: the pickled function, and those functions and classes of the script by name.
        files: modules that another process would not find, or would find another one in place of, with their files.
        script: the file of the script, which stands for ``__main__``.
        name: of the module that it was started as, as in ``python -m name``.
    """

    content: bytes
    files: dict[str, str] = field(default_factory=dict)
    script: str | None = None
    name: str | None = None


def sent(function: Any, *, include_module: bool = False) -> bytes:
    """The function as bytes.

    Args:
        function: anything that can be pickled, with what stands in a script or is nested in a function by value.
        include_module: send the module that it stands in, for machines that do not have it.

    Raises:
        RunError: it cannot be pickled.
    """
    import cloudpickle

    module = sys.modules.get(getattr(function, "__module__", None) or "")
    by_value = include_module and module is not None and _is_a_persons_own(module)
    try:
        if by_value:
            cloudpickle.register_pickle_by_value(module)
        names = _names(function)
        content = cloudpickle.dumps((function, names))
    except Exception as error:
        reason = " ".join(str(error).split())
        raise RunError(f"train cannot be sent to another process ({reason}): make what it uses inside of it") from error
    finally:
        if by_value:
            cloudpickle.unregister_pickle_by_value(module)
    main = sys.modules["__main__"]
    script = getattr(main, "__file__", None) if names and not include_module else None
    name = getattr(getattr(main, "__spec__", None), "name", None) if script else None
    files = {} if include_module or module is None else _files(module)
    parcel = _Parcel(content, files, str(Path(script).absolute()) if script else None, name)
    return pickle.dumps(parcel)


def received(parcel: bytes) -> Any:
    """What was sent. The functions and classes of a script are then those of this process's ``__main__`` too.

    So they can be sent on: to a pool's processes, or to those that load data.
    """
    content: _Parcel = pickle.loads(parcel)
    for name, file in content.files.items():
        if getattr(sys.modules.get(name), "__file__", None) != file:
            load_module(name, Path(file))
    function, names = pickle.loads(content.content)
    if names:
        main: Any = sys.modules["__main__"]
        main.__dict__.update(names)
        if content.script is not None:
            main.__file__ = content.script
            main.__spec__ = None if content.name is None else SimpleNamespace(name=content.name)
    return function


def _files(module: ModuleType) -> dict[str, str]:
    """The module with its file, if an import by its name would not lead there."""
    file, name = getattr(module, "__file__", None), module.__name__
    if file is None or name == "__main__" or "." in name:
        return {}
    if name not in sys.builtin_module_names and name not in sys.stdlib_module_names:
        spec = importlib.machinery.PathFinder.find_spec(name, sys.path)
        if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == Path(file).resolve():
            return {}
    return {name: str(file)}


def _is_a_persons_own(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    root = module.__name__.partition(".")[0]
    return file is not None and "site-packages" not in file and root not in ("__main__", "adaptive_lr")


def _names(function: Any) -> dict[str, Any]:
    """The functions and classes of the script, by name, that the function cannot do without; itself, if it is one."""
    import cloudpickle

    main: Any = sys.modules["__main__"]
    names: dict[str, Any] = {}

    class Collector(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, obj: Any) -> Any:
            name = obj.__qualname__ if isinstance(obj, FunctionType | type) else ""
            if name and getattr(main, name, None) is obj:
                names[name] = obj
            return super().reducer_override(obj)

    Collector(io.BytesIO()).dump(function)
    return names
