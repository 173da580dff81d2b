"""Landmarks: which subtrees of the log verifiers are given beforehand, and the file they come in.

Spec: `specs/landmark.md`; draft-ietf-plants-merkle-tree-certs, `find_subtrees`.

An interval of the log begins where the last one ended. It ends

    - at each multiple of 1,024, so that no path is longer than ten hashes;
    - after 15 minutes (a setting) if it holds an entry of another kind than 4 and 5: else each vouching for a landmark
      file would make the next landmark;
    - when asked for.

At most two subtrees cover it, and each becomes one record. Records are made only under a published checkpoint that a
quorum cosigned, and carry its size and witnessed time. The database holds them first; the file follows from it.
"""

from __future__ import annotations

import threading

from chopmark import merkle
from chopmark.entries import LandmarkFileEntry, TrustBundleEntry, parse_entry
from chopmark.landmark import SPAN_MAX, LandmarkFile, LandmarkRecord
from chopmark.limits import LIMITS

from chopmark_ledger.errors import NotPublishedError, RestoredBackupError, TileConflictError
from chopmark_ledger.sequencing.log import Log
from chopmark_ledger.storage.public_folder import PublicFolder
from chopmark_ledger.storage.store import Publication

FILE_NAME = "landmarks"


class Landmarks:
    """The landmarks of one open log."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._mutex = threading.RLock()
        self._file: LandmarkFile | None = None
        self._interval_began = 0
        self._standing = 0  # bytes of the public file that this process has made durable
        self._not_worth_one = 0  # the published size up to which nothing in the interval asks for a landmark

    @property
    def file(self) -> LandmarkFile:
        """The landmark file as the database has it, read when it is first asked for: it grows with the log, and a log
        that is opened does not wait for it.

        Raises:
            StorageError: the database cannot be read.
            FormatError: what it holds is no landmark file.
        """
        if self._file is None:
            with self._mutex:
                if self._file is None:
                    records, self._interval_began = self._log.store.landmarks()
                    self._file = LandmarkFile.empty(self._log.identity.number).with_records(records)
        return self._file

    def end_due(self, *, now: int) -> tuple[LandmarkRecord, ...]:
        """End the intervals that are due at `now` (POSIX seconds); answers the records that were added.

        Where the witnessed time of the published checkpoint is before that of the last record, as after a witness's
        clock was set back, intervals are left open until it has caught up.

        Raises:
            TileConflictError, RestoredBackupError: the landmark file that stands is not a beginning of ours.
            StorageError: it cannot be written; the next call tries again.
        """
        with self._mutex:
            publication = self._log.publication
            if publication is None:
                return ()
            ends = _full_intervals(self.file.end, publication.size)
            # A clock that was set back must not leave the interval open until it has caught up.
            self._interval_began = min(self._interval_began, now)
            due = now - self._interval_began >= self._log.settings.landmark_interval
            if not ends and due and self._is_worth_a_landmark(publication.size):
                ends.append(publication.size)
            if self._witnessed_too_early(publication):
                ends = []
            return self._end(ends, publication, now)

    def end_now(self, *, now: int) -> tuple[LandmarkRecord, ...]:
        """End the present interval at the published size, whatever it holds; none if nothing is published since.

        Raises:
            NotPublishedError: nothing was ever published, or what was is witnessed before the last record.
            TileConflictError, RestoredBackupError, StorageError: as `end_due`.
        """
        with self._mutex:
            publication = self._log.publication
            if publication is None:
                raise NotPublishedError(
                    "nothing is published yet", where=self._log.identity.origin, remedy="Publish first"
                )
            if self._witnessed_too_early(publication):
                raise NotPublishedError(
                    "the published checkpoint was witnessed before the last landmark",
                    where=self._log.identity.origin,
                    remedy="Look at the clocks of the witnesses, and publish again",
                )
            ends = _full_intervals(self.file.end, publication.size)
            if publication.size > (ends[-1] if ends else self.file.end):
                ends.append(publication.size)
            return self._end(ends, publication, now)

    def _witnessed_too_early(self, publication: Publication) -> bool:
        last = self.file.covering(self.file.end - 1)
        return last is not None and publication.witnessed_time < last.witnessed_time

    def _end(self, ends: list[int], publication: Publication, now: int) -> tuple[LandmarkRecord, ...]:
        records = []
        begin = self.file.end
        for end in ends:
            for subtree in merkle.find_subtrees(begin, end):
                if subtree[0] < subtree[1]:
                    root = merkle.subtree_root(*subtree, self._log.read_nodes)
                    records.append(LandmarkRecord(*subtree, root, publication.size, publication.witnessed_time))
            begin = end
        if records:
            extended = self.file.with_records(records)
            self._log.add_landmarks(records, position=len(self.file), now=now)
            self._file = extended
            self._interval_began = now
        self._write()
        return tuple(records)

    def _is_worth_a_landmark(self, size: int) -> bool:
        """Tell whether the present interval, up to a size, holds an entry of another kind than 4 and 5."""
        start = max(self.file.end, self._not_worth_one)
        if any(
            not isinstance(parse_entry(data), TrustBundleEntry | LandmarkFileEntry)
            for data in self._log.entries(start, size)
        ):
            return True
        self._not_worth_one = size
        return False

    def _write(self) -> None:
        """Bring the public file to what the database has; it only ever grows.

        The first time it is written anew even where it stands: an earlier process may have failed to make it durable.
        """
        data = self.file.encode()
        folder = self._log.public_folder
        if folder.size(FILE_NAME) == self._standing == len(data):
            return
        _check_beginning(folder, data)
        self._standing = 0  # it may come to stand there and not be durable
        folder.replace(FILE_NAME, data)
        self._standing = len(data)


def _full_intervals(begin: int, size: int) -> list[int]:
    return list(range((begin // SPAN_MAX + 1) * SPAN_MAX, size + 1, SPAN_MAX))


def _check_beginning(folder: PublicFolder, data: bytes) -> None:
    """Check that the file that stands is a beginning of `data`."""
    where = str(folder.path / FILE_NAME)
    standing = folder.read(FILE_NAME, max_size=LIMITS.landmark_file_size)
    if standing is None or data.startswith(standing):
        return
    if standing.startswith(data):
        raise RestoredBackupError(
            "the published landmark file is longer than the database knows",
            where=where,
            remedy="The database was restored from a backup: bring the newest one",
        )
    raise TileConflictError(
        "the published landmark file is not a beginning of this log's",
        where=where,
        remedy="Find out who wrote it, move it away, and publish again",
    )
