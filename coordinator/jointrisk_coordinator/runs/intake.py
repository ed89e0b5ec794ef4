"""One member's answers on their way in: replies in chunks, and failures."""

import asyncio
from collections.abc import Callable

from jointrisk import transfer
from jointrisk.errors import ConflictError, InvalidInputError, RefusedError, TooLargeError
from jointrisk.foreign_text import printable
from jointrisk.rpc.v1 import training_pb2 as pb
from jointrisk.transfer import Header, Incoming
from jointrisk_coordinator.runs.tickets import Ticket, TicketBook

_REASON_LENGTH = 2000


class Intake:
    """Takes what one member answers over one stream.

    Args:
        member_id: the certificate's.
        book: the open tickets.
        chunk_bytes: largest piece of a message in one frame.
        max_message_bytes: largest message.
        say: sends a small frame.
    """

    def __init__(
        self,
        member_id: str,
        book: TicketBook,
        chunk_bytes: int,
        max_message_bytes: int,
        say: Callable[[pb.CoordinatorFrame], None],
    ) -> None:
        self._member_id = member_id
        self._book = book
        self._chunk_bytes = chunk_bytes
        self._max_message_bytes = max_message_bytes
        self._say = say
        self._incoming: dict[str, tuple[Ticket, Incoming]] = {}

    def release(self) -> None:
        """Let go of files; what has arrived stays for the next stream."""
        for _, incoming in self._incoming.values():
            incoming.close()
        self._incoming.clear()

    async def reply(self, reply: pb.Reply) -> None:
        """Take the frame that begins a reply, or goes on with it after a broken stream.

        Raises:
            JointriskError: it breaks a rule.
        """
        self.check_name(reply.member_id)
        header = Header.checked(reply.message_id, reply.total_bytes, reply.sha256, self._max_message_bytes)
        ticket = self._book.find(self._member_id, header.message_id)
        if ticket is None:
            self._too_late(header)
        elif ticket.reply is not None:
            if ticket.reply != header:
                raise ConflictError(f"message {header.message_id[:12]} was answered before, with other content")
            self._receipt(header.message_id)
        else:
            await self._begin(ticket, header, reply)

    def _too_late(self, header: Header) -> None:
        if self._book.seen_before(header.message_id, header.sha256):
            self._receipt(header.message_id)
        else:
            self._say(pb.CoordinatorFrame(cancel=pb.Cancel(message_id=header.message_id)))

    async def _begin(self, ticket: Ticket, header: Header, reply: pb.Reply) -> None:
        present, incoming = self._incoming.get(header.message_id, (None, None))
        # To read what has arrived once more, for a frame of a hundred bytes, would be a present to an attacker.
        if incoming is None or present is not ticket or incoming.header != header:
            self._drop_incoming(header.message_id)
            incoming = await asyncio.to_thread(Incoming, self._book.folder(ticket), header)
            self._incoming[header.message_id] = (ticket, incoming)
        await self._write(ticket, incoming, reply.offset, reply.data)

    def _drop_incoming(self, message_id: str) -> None:
        dropped = self._incoming.pop(message_id, None)
        if dropped is not None:
            dropped[1].close()

    async def chunk(self, chunk: pb.Chunk) -> None:
        """Take more of a reply.

        Raises:
            JointriskError: it breaks a rule.
        """
        if chunk.message_id not in self._incoming:
            ticket = self._book.find(self._member_id, transfer.check_message_id(chunk.message_id))
            if ticket is None or ticket.answered:
                return  # withdrawn while it was under way, or of a reply that is here already
            raise InvalidInputError("chunk: expected the reply frame that begins the message first")
        ticket, incoming = self._incoming[chunk.message_id]
        await self._write(ticket, incoming, chunk.offset, chunk.data)

    async def _write(self, ticket: Ticket, incoming: Incoming, offset: int, data: bytes) -> None:
        if len(data) > self._chunk_bytes:
            raise TooLargeError(f"chunk: expected at most {self._chunk_bytes} bytes, got {len(data)}")
        incoming.write(offset, data)
        if incoming.complete:
            del self._incoming[ticket.message_id]
            # What is stored has to be noted, even if this stream is replaced at this very moment.
            await asyncio.shield(self._finish(ticket, incoming))

    async def _finish(self, ticket: Ticket, incoming: Incoming) -> None:
        try:
            await asyncio.to_thread(incoming.finish, self._book.reply_path(ticket))
        except FileNotFoundError:  # withdrawn meanwhile, its files deleted
            if self._book.is_open(ticket.message_id):
                raise
        if self._book.is_open(ticket.message_id):
            self._book.answer(ticket, incoming.header)
        self._receipt(ticket.message_id)

    def failure(self, failure: pb.Failure) -> None:
        """Take a failure.

        Raises:
            JointriskError: it breaks a rule.
        """
        self.check_name(failure.member_id)
        ticket = self._book.find(self._member_id, transfer.check_message_id(failure.message_id))
        if ticket is not None and not ticket.answered:
            self._book.fail(ticket, printable(failure.code, 40), printable(failure.reason, _REASON_LENGTH))
        self._receipt(failure.message_id)

    def _receipt(self, message_id: str) -> None:
        self._say(pb.CoordinatorFrame(receipt=pb.Receipt(message_id=message_id)))

    def check_name(self, said: str) -> None:
        """Compare who the payload says it is with who the certificate says it is.

        Raises:
            RefusedError: they differ.
        """
        if said != self._member_id:
            raise RefusedError(f"the certificate is {self._member_id}'s, the payload says it is another member's")
