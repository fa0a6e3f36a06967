"""A TFTP transfer with its bytes: datagrams in, datagrams out."""

from pxe import tftp_packets as packets
from pxe.tftp import Agreed, State, Transfer
from pxe.tftp_packets import Ack, Data, Error


class Sender:
    """A transfer with its bytes: datagrams in, datagrams out."""

    def __init__(self, content: bytes, agreed: Agreed) -> None:
        self.transfer = Transfer(len(content), agreed)
        self._content = content

    @property
    def state(self) -> State:
        return self.transfer.state

    @property
    def over(self) -> bool:
        return self.transfer.over

    @property
    def deadline(self) -> float:
        return self.transfer.deadline

    def begin(self, now: float) -> list[bytes]:
        return self._datagrams(self.transfer.begin(now))

    def receive(self, datagram: bytes, now: float) -> list[bytes]:
        match packets.parse(datagram):
            case Ack(number):
                return self._datagrams(self.transfer.acknowledged(number, now))
            case Error(code, message):
                self.transfer.refused(code, message)
        return []

    def timeout(self, now: float) -> list[bytes]:
        return self._datagrams(self.transfer.timeout(now))

    def _datagrams(self, blocks: range) -> list[bytes]:
        agreed, size = self.transfer.agreed, self.transfer.agreed.blksize
        return [
            packets.data(self.transfer.wire(block), self._content[(block - 1) * size : block * size])
            if block
            else packets.option_ack(agreed.oack)
            for block in blocks
        ]


def blocks(datagrams: list[bytes]) -> list[int]:
    """The numbers of the DATA packets in a list, which has nothing else."""
    parsed = [packets.parse(datagram) for datagram in datagrams]
    return [packet.block for packet in parsed if isinstance(packet, Data)] if parsed else []
