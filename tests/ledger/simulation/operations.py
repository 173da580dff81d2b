"""What people do to a log: backups, restoring them, losing files, and finding them again."""

from __future__ import annotations

from dataclasses import dataclass

from tests.ledger.simulation.audit import audit
from tests.ledger.simulation.database import SimulatedDatabase
from tests.ledger.simulation.file_system import Parts
from tests.ledger.simulation.invariants import PUBLIC
from tests.ledger.simulation.machines import must
from tests.ledger.simulation.world import World


@dataclass(frozen=True)
class Backup:
    """A database and the public folder beside it, at one time."""

    database: SimulatedDatabase
    files: dict[Parts, bytes]


class Operator:
    """Works on the machine of the log.

    Args:
        world: where the log is.
        may_restore: whether the database may be restored from a backup that does not reach what was published. Where a
            witness lies, or two processes have the log open, nobody promises to notice that.
    """

    def __init__(self, world: World, *, may_restore: bool) -> None:
        self.world = world
        self.watch = world.watch
        self.random = world.random
        self.may_restore = may_restore
        self.newest: SimulatedDatabase | None = None
        """What the database held when a backup took its place."""
        self.backups: list[Backup] = []

    def operate(self) -> None:
        """What people do to a log: backups, and what goes wrong with them and without."""
        match self.random.randrange(9):
            case 0 | 1 | 2 if not self.watch.damaged and not self.watch.is_stale:
                files = {path: file.content for path, file in self.world.machine.files.files(PUBLIC)}
                self.backups.append(Backup(self.world.database.backup(), files))
            case 3:
                self.lose_the_folder()
            case 4:
                chosen = self.choose_backup()
                if chosen is not None:
                    self.restore_the_folder(chosen)
            case 5 | 6:
                self.restore_the_database()
            case 7:
                self.flip_a_bit()
            case 8:
                self.bring_back_the_newest()

    def choose_backup(self) -> Backup | None:
        """One of the backups, of this history and not of one that was given up."""
        entries = self.watch.history.entries
        usable = [each for each in self.backups if each.database.entries == entries[: each.database.tree.size]]
        return self.random.choice(usable) if usable else None

    def lose_the_folder(self) -> None:
        """The public folder is gone, perhaps under a log that runs."""
        self.world.surroundings.note("   ", "the public folder is lost")
        self.world.machine.files.remove_all(PUBLIC)
        self.watch.after_folder_change()

    def lose_the_mark(self) -> None:
        """The mark of what was committed is gone."""
        self.world.surroundings.note("   ", "the mark of what was committed is lost")
        self.world.machine.files.remove_all(("data", "committed"))

    def restore_the_folder(self, backup: Backup) -> None:
        """The public folder comes from a backup."""
        self.world.surroundings.note("   ", "the public folder comes from a backup")
        self.world.machine.files.remove_all(PUBLIC)
        for path, content in backup.files.items():
            self.world.machine.files.put(path, content)
        self.watch.after_folder_change()

    def restore_the_database(self) -> None:
        """The database comes from a backup, while the log is down."""
        if self.watch.is_stale or not self.may_restore:
            return
        chosen = self.choose_backup()
        if chosen is None:
            return
        backup = chosen.database
        shown = (len(self.watch.longest_landmarks) - 16) // 64
        may_go_on = backup.tree.size >= self.watch.exposed and len(backup.landmarks) >= shown
        if backup.tree.size >= self.watch.published and not may_go_on:
            # Only a witness, or somebody who read the landmark file, could tell. Nobody promises to notice that.
            return
        self.world.surroundings.note("   ", "the database comes from a backup, of size", backup.tree.size)
        self.world.end_run()
        self.newest = self.world.database.backup()
        self.world.database.become(backup)
        self.watch.after_restore(may_go_on=may_go_on)
        match self.random.randrange(5):
            case 0:
                self.lose_the_folder()
                self.lose_the_mark()
            case 1:
                self.lose_the_mark()
            case 2 | 3:
                self.restore_the_folder(chosen)
                self.lose_the_mark()
        self._forget_answers()

    def bring_back_the_newest(self) -> None:
        """The operator finds the newest database again, and moves away what the log has written without it."""
        if self.newest is not None and self.watch.is_stale:
            self.world.surroundings.note("   ", "the newest database is back")
            self.world.end_run()
            has_grown = self.world.database.entries != self.newest.entries[: len(self.world.database.entries)]
            self.world.database.become(self.newest)
            self.newest = None
            self.watch.after_return()
            self._forget_answers()
            if has_grown:
                self.lose_the_mark()
                self.lose_the_folder()
            self.watch.look()

    def _forget_answers(self) -> None:
        for client in self.world.clients:
            client.forget_answers(set(self.watch.acknowledged))

    def flip_a_bit(self) -> None:
        """A bit flips in a public file, on the disk."""
        files = list(self.world.machine.files.files(PUBLIC))
        if files:
            path, file = self.random.choice(files)
            if file.is_settled and file.content:
                damaged = bytearray(file.content)
                damaged[self.random.randrange(len(damaged))] ^= 1 << self.random.randrange(8)
                file.content = file.platter = bytes(damaged)
                name = "/".join(path[len(PUBLIC) :])
                self.watch.rotten.add((name, file.content))
                self.watch.damaged.add(name)
                self.world.surroundings.note("   ", "a bit flips in", name)
                self._audit_finds(name)

    def _audit_finds(self, name: str) -> None:
        """Check that the ledger's own check names a damaged file that readers need."""
        seen = self.watch.seen
        if self.watch.damaged == {name} and tuple(name.split("/")) in self.watch.history.needed_files(seen):
            report = audit(self.world.machine.files, self.world.policy)
            must(name in {damage.path for damage in report.damage}, f"the check does not find the damaged {name}")
