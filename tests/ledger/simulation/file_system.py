"""A file system in memory that forgets, in a power cut, what nobody synced.

What a reader sees and what the platter holds are two things here:

    write         changes what is seen; after a power cut each block of 512 bytes is the old one, the new one or zeros,
                  and the length the old or the new one, unless the file was synced in between
    sync a file   makes its content durable
    rename, …     changes what is seen, at once and whole; after a power cut each name in a folder is what it was at
                  the last sync of that folder or what any change since has made of it, one name apart from another
    sync a folder makes its names durable; not the content of its files, nor its own name in the folder above

The trap: a sync of a file that *fails* leaves the new content seen and takes it for clean, so that later syncs
succeed, write nothing, and a power cut still takes the content away. That is what Linux does with the pages of a file
whose write-back failed. Of folders a failed sync is either transient, names stay to be synced, or ends the file system
as a journal that aborts does: nothing can be changed or synced until the machine has been started anew.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from random import Random

BLOCK = 512
"""Bytes that a power cut leaves whole or not at all."""

Parts = tuple[str, ...]
"""A path from the root of the file system: `("public", "checkpoint")`."""


class File:
    """A file: what is seen, what is on the platter, and whether a sync would write (`is_dirty`)."""

    __slots__ = ("content", "is_dirty", "is_settled", "platter")

    def __init__(self) -> None:
        self.content = b""
        self.platter = b""
        self.is_dirty = False
        self.is_settled = True
        """Whether a power cut is sure to leave `content`."""


class Folder:
    """A folder: the names that are seen, those on the platter, and what a power cut may make of those in between."""

    __slots__ = ("dirty", "names", "platter", "unsettled")

    def __init__(self) -> None:
        self.names: dict[str, Node] = {}
        self.platter: dict[str, Node] = {}
        self.unsettled: dict[str, list[Node | None]] = {}
        """By name, what changes since the last sync have made of it: None where it was removed."""
        self.dirty = False

    def change(self, name: str, node: Node | None) -> None:
        """Put a name in, or take it out."""
        if node is None:
            del self.names[name]
        else:
            self.names[name] = node
        self.unsettled.setdefault(name, []).append(node)
        self.dirty = True

    def settle(self) -> None:
        """Make the names that are seen durable."""
        for name in self.unsettled:
            node = self.names.get(name)
            if node is None:
                self.platter.pop(name, None)
            else:
                self.platter[name] = node
        self.unsettled.clear()
        self.dirty = False

    def after_power_cut(self, name: str) -> list[Node | None]:
        """Every node that a power cut at this moment may leave under a name."""
        return [self.platter.get(name), *self.unsettled.get(name, ())]


Node = File | Folder


class FileSystem:
    """The files of one machine.

    Raises: OSError with the number that Linux gives, for what a program asks wrongly.
    """

    def __init__(self) -> None:
        self.root = Folder()
        self.changes = 0
        """Counts what may alter which files are seen, or which a power cut would leave. The content of a file does
        not count, as it is whole before the file gets a name that anybody looks at."""

    def find(self, path: Parts) -> Node | None:
        """What is seen at a path."""
        node: Node = self.root
        for part in path:
            if not isinstance(node, Folder):
                return None
            found = node.names.get(part)
            if found is None:
                return None
            node = found
        return node

    def folder(self, path: Parts) -> Folder:
        """The folder that is seen at a path."""
        node = self.find(path)
        if node is None:
            raise OSError(errno.ENOENT, "No such file or directory")
        if not isinstance(node, Folder):
            raise OSError(errno.ENOTDIR, "Not a directory")
        return node

    def create(self, path: Parts) -> File:
        """Make a file, empty, where there is nothing."""
        folder = self.folder(path[:-1])
        if path[-1] in folder.names:
            raise OSError(errno.EEXIST, "File exists")
        file = File()
        folder.change(path[-1], file)
        return file

    def write(self, file: File, data: bytes) -> None:
        """Append to a file that grows."""
        file.content += data
        file.is_dirty = True
        file.is_settled = False

    def overwrite(self, file: File, data: bytes) -> None:
        """Write over the beginning of a file."""
        file.content = data + file.content[len(data) :]
        file.is_dirty = True
        file.is_settled = False

    def sync_file(self, file: File) -> None:
        """Make the content durable, as far as it is still taken for dirty."""
        if file.is_dirty:
            file.platter = file.content
            file.is_dirty = False
            file.is_settled = True

    def fail_to_sync_file(self, file: File) -> None:
        """Take the content for clean without having written it."""
        file.is_dirty = False

    def sync_folder(self, folder: Folder) -> None:
        """Make the names durable."""
        if folder.unsettled:
            folder.settle()
            self.changes += 1

    def make_folder(self, path: Parts) -> None:
        """Make one folder."""
        above = self.folder(path[:-1])
        if path[-1] in above.names:
            raise OSError(errno.EEXIST, "File exists")
        above.change(path[-1], Folder())
        self.changes += 1

    def rename(self, source: Parts, target: Parts) -> None:
        """Move a file over whatever file is there."""
        from_folder, to_folder = self.folder(source[:-1]), self.folder(target[:-1])
        node = from_folder.names.get(source[-1])
        if node is None:
            raise OSError(errno.ENOENT, "No such file or directory")
        if isinstance(to_folder.names.get(target[-1]), Folder):
            raise OSError(errno.EISDIR, "Is a directory")
        from_folder.change(source[-1], None)
        to_folder.change(target[-1], node)
        self.changes += 1

    def unlink(self, path: Parts) -> None:
        """Remove a file."""
        folder = self.folder(path[:-1])
        node = folder.names.get(path[-1])
        if node is None:
            raise OSError(errno.ENOENT, "No such file or directory")
        if isinstance(node, Folder):
            raise OSError(errno.EISDIR, "Is a directory")
        folder.change(path[-1], None)
        self.changes += 1

    def remove_folder(self, path: Parts) -> None:
        """Remove an empty folder."""
        if self.folder(path).names:
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        self.folder(path[:-1]).change(path[-1], None)
        self.changes += 1

    def cut_power(self, random: Random) -> None:
        """Lose what was not synced, as far as `random` will have it."""
        pending: list[Folder] = [self.root]
        while pending:
            folder = pending.pop()
            for name in folder.unsettled:
                node = random.choice(folder.after_power_cut(name))
                if node is None:
                    folder.platter.pop(name, None)
                else:
                    folder.platter[name] = node
            folder.unsettled.clear()
            folder.dirty = False
            folder.names = dict(folder.platter)
            for node in folder.names.values():
                if isinstance(node, Folder):
                    pending.append(node)
                elif not node.is_settled:
                    node.content = node.platter = _torn(node.platter, node.content, random)
                    node.is_dirty = False
                    node.is_settled = True
        self.changes += 1

    def sure_content(self, path: Parts) -> bytes | None:
        """What is seen of a file, if a power cut at this moment would leave the very same; None otherwise."""
        node: Node = self.root
        for part in path:
            if not isinstance(node, Folder) or part in node.unsettled:
                return None
            found = node.names.get(part)
            if found is None:
                return None
            node = found
        return node.content if isinstance(node, File) and node.is_settled else None

    def after_power_cut(self, path: Parts) -> list[bytes | None]:
        """Every content that a power cut at this moment may leave at a path: None for no file, `UNKNOWN` for one
        whose content is not settled."""
        nodes: list[Node | None] = [self.root]
        for part in path:
            following: list[Node | None] = []
            for node in nodes:
                if isinstance(node, Folder):
                    following += node.after_power_cut(part)
                else:
                    following.append(None)
            nodes = following
        return [_settled(node) for node in nodes]

    def copy(self) -> FileSystem:
        """A file system with the same files, all of them durable."""
        other = FileSystem()
        other.root = _durable_copy(self.root)
        return other

    # What an operator does with the disk in his hands, durably and at once.

    def files(self, path: Parts) -> Iterator[tuple[Parts, File]]:
        """The files that are seen below a path, sorted."""
        node = self.find(path)
        if isinstance(node, File):
            yield path, node
        elif node is not None:
            for name in sorted(node.names):
                yield from self.files((*path, name))

    def put(self, path: Parts, content: bytes) -> None:
        """Put a file there, with the folders above it."""
        folder = self.root
        for part in path[:-1]:
            below = folder.names.get(part)
            if not isinstance(below, Folder):
                below = Folder()
                folder.names[part] = folder.platter[part] = below
            folder.unsettled.pop(part, None)
            folder.platter[part] = below
            folder = below
        file = File()
        file.content = file.platter = content
        folder.names[path[-1]] = folder.platter[path[-1]] = file
        folder.unsettled.pop(path[-1], None)
        self.changes += 1

    def remove_all(self, path: Parts) -> None:
        """Remove a file, or a folder with all that is in it."""
        folder = self.find(path[:-1])
        if isinstance(folder, Folder):
            folder.names.pop(path[-1], None)
            folder.platter.pop(path[-1], None)
            folder.unsettled.pop(path[-1], None)
            self.changes += 1


UNKNOWN = b"whatever a power cut leaves of a file that was not synced"


def _settled(node: Node | None) -> bytes | None:
    if isinstance(node, File):
        return node.content if node.is_settled else UNKNOWN
    return None


def _durable_copy(folder: Folder) -> Folder:
    other = Folder()
    for name, node in folder.names.items():
        if isinstance(node, Folder):
            other.names[name] = _durable_copy(node)
        else:
            other.names[name] = file = File()
            file.content = file.platter = node.content
    other.platter = dict(other.names)
    return other


def _torn(old: bytes, new: bytes, random: Random) -> bytes:
    length = random.choice((len(old), len(new)))
    blocks = []
    for start in range(0, length, BLOCK):
        block = random.choice((old[start : start + BLOCK], new[start : start + BLOCK], b""))
        blocks.append(block.ljust(min(BLOCK, length - start), b"\0")[: length - start])
    return b"".join(blocks)
