"""The processes that decode, by LitServe; and the way from HTTP to them and back.

LitServe's own loop takes whatever waits as a batch, and looks for more a thousand times a second even when there is
nothing to do. Ours waits, and takes only measurements of one size and camera together.
"""

from __future__ import annotations

import os
import queue
import signal
import time
from collections import deque
from pathlib import Path
from typing import Any

import litserve
from litserve.loops.base import LitLoop
from litserve.specs.base import LitSpec
from litserve.utils import LitAPIStatus, LoopResponseType

from crsdun.service.config import ServiceConfig
from crsdun.service.decoder import Answer, Decoder, Job, Read

PATIENCE_S = 1.0  # after which the loop looks whether it is to end
COMPANY_S = 0.02  # that a measurement waits for others to be decoded with
WORKERS = "workers"  # folder with the numbers of the processes that decode


class Connection(LitSpec):
    """Where messages to the processes go, and where those from them arrive; set by LitServe."""

    def __init__(self) -> None:
        super().__init__()
        self.api_path = "/"

    def decode_request(self, request: Any, context_kwargs: Any = None) -> Any:
        return request

    def encode_response(self, output: Any, context_kwargs: Any = None) -> Any:
        return output


class DecodingApi(litserve.LitAPI):
    """What each process does.

    Args:
        config: of the service.
        folder: of the service, for files that come and go.
    """

    def __init__(self, config: ServiceConfig, folder: Path):
        super().__init__(
            max_batch_size=config.batch, batch_timeout=COMPANY_S, spec=Connection(), loop=LoopOfEqualSizes()
        )
        self.config, self.folder = config, folder

    def setup(self, device: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the service ends this when it may end
        number = os.environ["LITSERVE_WORKER_ID"]
        self.decoder = Decoder(self.config, device)
        (self.folder / WORKERS / number).write_text(str(os.getpid()))

    def decode_request(self, request: Job) -> Read | Answer:
        return self.decoder.read(request)

    def predict(self, reads: list[Read]) -> list[Answer]:
        return self.decoder.decode(reads)


class LoopOfEqualSizes(LitLoop):
    """Takes a job, and those like it that wait or come soon; decodes them together; takes the next."""

    def __call__(
        self,
        lit_api: DecodingApi,
        device: Any,
        worker_id: int,
        request_queue: Any,
        transport: Any,
        workers_setup_status: Any,
        callback_runner: Any,
    ) -> None:
        waiting: deque[tuple[int, str, Read]] = deque()  # read, and not like those before

        def reply(consumer: int, uid: str, answer: Answer) -> None:
            self.put_response(transport, consumer, uid, answer, LitAPIStatus.OK, LoopResponseType.REGULAR)

        def take(seconds: float) -> None:
            """Read the next job that comes within some seconds, if one does."""
            try:
                consumer, uid, _, job = (
                    request_queue.get(timeout=seconds) if seconds > 0 else request_queue.get_nowait()
                )
            except queue.Empty:
                return
            self.put_response(transport, consumer, uid, worker_id, LitAPIStatus.START, LoopResponseType.REGULAR)
            read = lit_api.decode_request(job)
            if isinstance(read, Answer):
                reply(consumer, uid, read)
            else:
                waiting.append((consumer, uid, read))

        try:
            while True:
                if not waiting:
                    take(PATIENCE_S)
                    continue
                first = waiting.popleft()
                until = time.monotonic() + lit_api.batch_timeout
                batch = [first, *_like(first, waiting, lit_api, 1)]
                while len(batch) < lit_api.max_batch_size and len(waiting) < lit_api.max_batch_size:
                    left = until - time.monotonic()
                    if left <= 0:
                        break
                    take(left)
                    batch += _like(first, waiting, lit_api, len(batch))
                answers = lit_api.predict([read for _, _, read in batch])
                for (consumer, uid, _), answer in zip(batch, answers, strict=True):
                    reply(consumer, uid, answer)
        except (EOFError, ConnectionError):
            return  # the service has ended


def _like(first: tuple[int, str, Read], waiting: deque[Any], lit_api: DecodingApi, count: int) -> list[Any]:
    """Those that wait and may be decoded with the first, taken out of the queue; ``count`` are there already."""
    found: list[Any] = []
    for each in list(waiting):
        count_now = count + len(found) + 1
        if count_now <= lit_api.max_batch_size and lit_api.decoder.together(first[2], each[2], count_now):
            waiting.remove(each)
            found.append(each)
    return found
