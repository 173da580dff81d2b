"""Something that there is only so much of, shared by clients none of which may keep the others out."""

from __future__ import annotations

_SHARES = 3


class FairShare:
    """So much of something; one client gets at most a third of it. For one thread.

    Whoever holds nothing is not refused for what its first request alone is too much, so that a small whole cannot keep
    a large request out for ever.

    Args:
        whole: how much there is.
    """

    def __init__(self, whole: int) -> None:
        self._whole = whole
        self._by_client: dict[str, int] = {}
        self.held = 0
        """How much is taken."""

    def take(self, client: str | None, amount: int, *, before: int = 0) -> bool:
        """Take more for a request, or answer False: then nothing was taken.

        Args:
            client: whose request it is; None where nobody can tell, then the whole is all that bounds it.
            amount: what it takes.
            before: what the same request has taken before.
        """
        mine = self._by_client.get(client, 0) if client is not None else before
        if mine + amount > self._whole // _SHARES and client is not None and mine > before:
            return False
        if self.held + amount > self._whole and self.held > before:
            return False
        self.held += amount
        if client is not None:
            self._by_client[client] = mine + amount
        return True

    def give_back(self, client: str | None, amount: int) -> None:
        """Give back what a request took."""
        self.held -= amount
        if client is not None:
            left = self._by_client.get(client, 0) - amount
            if left > 0:
                self._by_client[client] = left
            else:
                self._by_client.pop(client, None)
