"""An OpenAI-compatible server whose every answer and fault is scripted, over real HTTP.

It counts and keeps what it was asked, so that a test can say what a client sent. `Server` runs in a
thread of the test; `python tests/servers.py` runs it as a process of its own, for the benchmarks.
"""

import asyncio
import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Reply:
    """What the server does with one request.

    `status`, `body` (a JSON-able value, or bytes sent as they are) and `headers` make the answer;
    `delay` seconds pass before it. `fault` replaces it: "drop" closes the connection without a byte,
    "half" closes it in the middle of the body, "hang" never answers.
    """

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    fault: str | None = None


@dataclass
class Request:
    """One request as it came in; `body` is the parsed JSON, or bytes where it is none."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at: float


def completion(
    text: str | None,
    *,
    prompt_tokens: int = 100,
    answer_tokens: int = 1,
    finish: str = "stop",
    **message: Any,
) -> dict[str, Any]:
    """The body of a chat completion with this answer text; `message` adds fields to its message."""
    message = {"role": "assistant", "content": text, **message}
    choice = {"index": 0, "message": message, "finish_reason": finish, "logprobs": None}
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": answer_tokens}
    about = {"id": "x", "object": "chat.completion", "created": 0, "model": "scripted"}
    return about | {"choices": [choice], "usage": usage}


def with_logprobs(text: str, positions: list[dict[str, float]]) -> dict[str, Any]:
    """A chat completion: `positions[n]` gives the log-probabilities of token n, the chosen one first."""
    body, content = completion(text), []
    for top in positions:
        likeliest = [{"token": token, "logprob": p, "bytes": None} for token, p in top.items()]
        content.append(likeliest[0] | {"top_logprobs": likeliest})
    body["choices"][0]["logprobs"] = {"content": content}
    return body


def error(status: int, message: str, code: str | None = None, param: str | None = None, **more: Any) -> Reply:
    """An error in OpenAI's form."""
    return Reply(
        {"error": {"message": message, "type": "error", "code": code, "param": param}}, status, **more
    )


def prompt(request: Request) -> str:
    """The text of a chat request's last message."""
    return request.body["messages"][-1]["content"]


class Server:
    """A server in a thread of this process; a context manager.

    `answer` is called with each `Request` that `script` does not cover, and returns the JSON body or a
    `Reply`. `script` holds replies to the first requests, in the order of arrival; None there means: as
    `answer` says. `delay` seconds pass before each answer. `requests` came in, in that order;
    `most_at_once` of them were open at the same moment.
    """

    def __init__(
        self,
        answer: Callable[[Request], Any] = lambda request: completion("yes"),
        script: Iterable[Reply | None] = (),
        delay: float = 0.0,
        port: int = 0,
    ):
        self.answer, self.script, self.delay, self.port = answer, list(script), delay, port
        self.requests: list[Request] = []
        self.open_now = self.most_at_once = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> "Server":
        self._thread.start()
        self.come_back()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_away()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def go_away(self) -> None:
        """Close the port and every connection, as a server that stops."""

        async def close() -> None:
            self._server.close()
            for connection in list(self._connections):
                connection.transport.abort()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(10)

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    def come_back(self) -> None:
        """Listen (again) on the same port."""

        async def listen() -> None:
            self._server = await self._loop.create_server(
                lambda: _Connection(self), "127.0.0.1", self.port, backlog=1024
            )
            self.port = self._server.sockets[0].getsockname()[1]

        asyncio.run_coroutine_threadsafe(listen(), self._loop).result(10)

    def prompts(self) -> Counter[str]:
        """How often each prompt was sent to the chat address."""
        return Counter(prompt(r) for r in self.requests if r.path.endswith("/chat/completions"))

    def _reply(self, request: Request) -> Reply:
        number = len(self.requests)
        self.requests.append(request)
        reply = self.script[number] if number < len(self.script) else None
        if reply is None:
            reply = self.answer(request)
        return reply if isinstance(reply, Reply) else Reply(reply)


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as far as a JSON client needs it."""

    def __init__(self, server: Server):
        self.server, self.buffer = server, b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.server._connections.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self.server._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].decode("latin-1").split("\r\n")
            headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
            length = int(headers.get("content-length", 0))
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            if headers.get("content-type", "").startswith("application/json"):
                body = json.loads(body)
            method, path, _ = head[0].split(" ")
            self._serve(Request(method, path, headers, body, time.monotonic()))

    def _serve(self, request: Request) -> None:
        server = self.server
        server.open_now += 1
        server.most_at_once = max(server.most_at_once, server.open_now)
        reply = server._reply(request)
        server._loop.call_later(server.delay + reply.delay, self._send, reply)

    def _send(self, reply: Reply) -> None:
        if reply.fault == "hang":
            return
        self.server.open_now -= 1
        if reply.fault == "drop" or self.transport.is_closing():
            self.transport.abort()
            return
        body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
        headers = {"content-type": "application/json", **reply.headers, "content-length": str(len(body))}
        lines = [f"HTTP/1.1 {reply.status} X", *(f"{k}: {v}" for k, v in headers.items()), "\r\n"]
        self.transport.write("\r\n".join(lines).encode("latin-1"))
        self.transport.write(body[: len(body) // 2] if reply.fault == "half" else body)
        if reply.fault == "half":
            self.transport.close()


def judge_by_length(request: Request) -> dict[str, Any]:
    """A made-up judge: yes to labels of even length, for pointwise and listwise prompts alike."""
    text = prompt(request)
    numbered = re.findall(r"^(\d+)\. (.*)$", text[text.rindex("</document>") :], re.MULTILINE)
    if numbered:
        answers = {number: "yes" if len(label) % 2 == 0 else "no" for number, label in numbered}
        return completion(json.dumps(answers), answer_tokens=5 * len(numbered))
    return completion("yes" if len(text) % 2 == 0 else "no")


class BatchApi:
    """OpenAI's addresses for files and batches, as the `answer` of a `Server`; `answer` answers each line.

    A batch is done after `polls` questions after it. `answer` may give an error `Reply`, which goes
    to the error file. `created` holds the batches by id, `files` the files' bytes.
    """

    def __init__(self, answer: Callable[[Request], Any], polls: int = 2):
        self.answer, self.polls = answer, polls
        self.files: dict[str, bytes] = {}
        self.created: dict[str, dict[str, Any]] = {}
        self.asked: Counter[str] = Counter()

    def __call__(self, request: Request) -> Any:
        parts = request.path.partition("?")[0].removeprefix("/v1/").split("/")
        if parts == ["files"]:
            boundary = request.headers["content-type"].partition("boundary=")[2].encode()
            part = next(p for p in request.body.split(b"--" + boundary) if b"filename=" in p)
            return self._file(part.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n"))
        if parts[0] == "files":
            return Reply(self.files[parts[1]], headers={"content-type": "application/octet-stream"})
        if request.method == "POST":
            return self._create(request.body)
        if len(parts) == 1:
            return {"object": "list", "data": list(reversed(self.created.values())), "has_more": False}
        return self._poll(self.created[parts[1]])

    def lines(self) -> list[dict[str, Any]]:
        """All request lines that were sent, in order."""
        sent = [self.files[batch["input_file_id"]] for batch in self.created.values()]
        return [json.loads(line) for content in sent for line in content.splitlines()]

    def _file(self, content: bytes) -> dict[str, Any]:
        identity = f"file-{len(self.files)}"
        self.files[identity] = content
        return {"id": identity, "object": "file", "bytes": len(content), "created_at": 0, "filename": "x",
                "purpose": "batch", "status": "processed"}  # fmt: skip

    def _create(self, body: dict[str, Any]) -> dict[str, Any]:
        identity = f"batch-{len(self.created)}"
        self.created[identity] = {
            **body, "id": identity, "object": "batch", "created_at": int(time.time()), "status": "validating",
        }  # fmt: skip
        return self.created[identity]

    def _poll(self, batch: dict[str, Any]) -> dict[str, Any]:
        self.asked[batch["id"]] += 1
        if batch["status"] == "validating" and self.asked[batch["id"]] >= self.polls:
            good, bad = [], []
            for line in self.files[batch["input_file_id"]].splitlines():
                sent = json.loads(line)
                reply = self.answer(Request("POST", sent["url"], {}, sent["body"], time.monotonic()))
                reply = reply if isinstance(reply, Reply) else Reply(reply)
                response = {"status_code": reply.status, "request_id": "r", "body": reply.body}
                result = {"id": "l", "custom_id": sent["custom_id"], "response": response, "error": None}
                (good if reply.status == 200 else bad).append(json.dumps(result).encode())
            batch["status"] = "completed"
            for name, lines in (("output_file_id", good), ("error_file_id", bad)):
                if lines:
                    batch[name] = self._file(b"\n".join(lines) + b"\n")["id"]
        return batch


if __name__ == "__main__":
    with Server(judge_by_length, delay=float(sys.argv[1])) as running:
        print(running.url, flush=True)
        sys.stdin.read()  # until the parent goes away
        print(len(running.requests), running.most_at_once, flush=True)
