"""Processes of this machine, as /proc tells them."""

from pathlib import Path


def processes() -> dict[int, tuple[int, str, str]]:
    """Parent, state and time of birth of every process."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            found[int(folder.name)] = int(fields[1]), fields[0], fields[19]
    return found


def descendants(ancestor: int) -> dict[int, str]:
    """Time of birth of all living processes below one, which tells a process from a later one of the same number."""
    table, found = processes(), {ancestor: ""}
    while new := {pid: born for pid, (parent, _, born) in table.items() if parent in found and pid not in found}:
        found |= new
    del found[ancestor]
    return found


def living(born: dict[int, str]) -> set[int]:
    return {pid for pid, (_, state, birth) in processes().items() if born.get(pid) == birth and state != "Z"}
