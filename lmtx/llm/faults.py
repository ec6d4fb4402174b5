"""Faults of requests: their kinds, their causes and their remedies."""

import email.utils
import json
import os
import re
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

_HTTP_LIBRARIES = {"openai", "httpx", "httpx2", "httpcore", "httpcore2", "aiohttp", "h11"}
_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
_ECHOES = {"input", "messages", "prompt", "flagged_input"}  # fields in which an error repeats the request
_CODES = {"code", "type", "error_code", "error_type", "status"}
_NO_QUOTA = re.compile(r"insufficient[ _](quota|balance|credit|fund)|billing_hard_limit|credit balance", re.I)
_FILTERED = ("content_filter", "content_policy", "invalid_prompt")
_PAGE = re.compile(r"<|(data|event|id|retry)?:")  # how HTML, and a stream of events, begin
_CUT_OFF = re.compile(r"could not finish|(max_tokens|output limit)\b.* reached|higher max_tokens", re.I)
_TOO_LONG = re.compile(r"context|too (long|large|many)|at most|input length", re.I)
_LIMIT = re.compile(r"\bmax_(completion_)?tokens\b", re.I)
_UNSUPPORTED = re.compile(
    r"support|unknown|unrecogni|unexpected|permitted|allowed|extra|invalid|implemented|deprecated"
    r"|instead|must be|greater|less than",
    re.I,
)
_OPTIONAL = {
    "max_tokens": re.compile(r"\bmax_tokens\b", re.I),
    "response_format": re.compile(r"\bresponse_format\b", re.I),
    "temperature": re.compile(r"\btemperature\b", re.I),
    "logprobs": re.compile(r"logprobs\b|\btop_n_tokens\b", re.I),  # as text-generation-inference calls them
}
"""Parameters that not every server knows, and that a request can do without; how errors name them."""


class TeacherError(RuntimeError):
    """A language model that cannot go on; the message names the cause and the remedy. Stored answers stay."""


class BudgetError(TeacherError):
    """`max_cost` or `max_requests` is reached; the message names the remedy."""


class Unanswered(Exception):
    """A completion without an answer in it: empty, or cut off before one. The message says which."""


class ServerError(Exception):
    """An error that a server sends in the place of a completion.

    `status` is the HTTP status, or the error's code in the body of a reply with the status 200; `said` every
    text in the body, whatever its shape, on one line; `codes` the body's names of the error.
    """

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None):
        texts, codes, values = [], [], [("", body)]
        while values:  # no recursion: a body may be nested as deeply as a server likes
            name, value = values.pop()
            if isinstance(value, dict):
                values += [item for item in reversed(value.items()) if item[0] not in _ECHOES]
            elif isinstance(value, list):
                values += [(name, entry) for entry in reversed(value)]
            elif name in _CODES and not isinstance(value, bool | None):
                codes.append(str(value))
            if isinstance(value, str) and value.strip():
                texts.append(" ".join(value.split()))
        self.is_page = isinstance(body, str) and bool(_PAGE.match(body.lstrip()))
        number = next((int(code) for code in codes if re.fullmatch(r"[45]\d\d", code)), status)
        self.status = number if status == 200 else status
        self.codes, self.headers = codes, headers or {}
        fields = f"JSON with the fields {', '.join(body)}" if isinstance(body, dict) and body else "nothing"
        said = "; ".join(dict.fromkeys(texts)) or fields
        self.said = without_secrets("".join(letter if letter.isprintable() else "�" for letter in said))
        super().__init__(self.said)

    @classmethod
    def of(cls, error: Exception) -> "ServerError | None":
        """The same from an error of the client that holds a response; None for any other."""
        response = getattr(error, "response", None)
        if isinstance(error, cls) or response is None:
            return error if isinstance(error, cls) else None
        return cls(response.status_code, read_json(response.content), response.headers)


@dataclass(frozen=True)
class Fault:
    """The reason why a request was not answered.

    "passing": try again after a pause. "lasting": stop, `message` names cause and remedy. "refused": the
    server does not take this request; another one it may. "filtered": the provider refuses to answer for
    this document, which is an answer: none. "page": no answer of a language model; passing where there has
    been one before, else lasting.
    """

    kind: Literal["passing", "lasting", "refused", "filtered", "page"]
    message: str  # for people; holds no key
    pause: float | None = None  # seconds the server asks to wait; None: it does not say


def read_json(raw: bytes) -> Any:
    """The JSON value in a body, whatever its content type says; the text itself where it is none."""
    text = raw.decode("utf-8-sig", "replace")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def read_fault(error: Exception, model: str) -> Fault | None:
    """Classify an exception raised while sending a request; None for one that is not the server's.

    `model` is the model's name, for the messages.
    """
    if isinstance(error, Unanswered):
        return Fault("refused", without_secrets(str(error)))
    reply = ServerError.of(error)
    if reply is None:
        library = type(error).__module__.partition(".")[0]
        return _no_reply(error) if isinstance(error, OSError) or library in _HTTP_LIBRARIES else None
    status, said = reply.status, reply.said
    where = f"{address()} answered {status} ({said[:500]})"
    base_url = "OPENAI_BASE_URL is not the address of an OpenAI-compatible server (it usually ends in /v1)"
    if status == 402 or _NO_QUOTA.search(f"{said} {reply.codes}"):
        return Fault(
            "lasting", f"{where}: the quota is used up. Top up the account, or use another key or address"
        )
    if status == 200:
        where = f"{address()} answered, but with no chat completion ({said[:200]})"
        return Fault("page", f"{where}: {base_url}") if reply.is_page else Fault("passing", where)
    if status in (408, 409, 425, 429) or (status >= 500 and status != 501):
        return Fault("passing", where, _retry_after(reply.headers))
    if status == 401:
        return Fault("lasting", f"{where}: set OPENAI_API_KEY to a key that is valid at this address")
    if status == 404:
        return Fault(
            "lasting", f"{where}: the model {model!r} does not exist there (set teacher.model), or {base_url}"
        )
    if any(word in code for word in _FILTERED for code in reply.codes):
        return Fault("filtered", where)
    if status == 403:
        hint = f"this key may not use the model {model!r}, or not from here"
    elif _CUT_OFF.search(said):
        hint = "raise teacher.max_tokens"
    elif _LIMIT.search(said) and "context" not in said.lower():
        hint = "check teacher.max_tokens"
    elif _TOO_LONG.search(said):
        hint = "lower teacher.document_tokens"
    else:
        hint = "check teacher.model and teacher.extra"
    return Fault("refused", f"{where}: {hint}")


def unsupported(error: Exception) -> str | None:
    """The parameter that the server rejects and a request can do without; None for any other error."""
    reply = ServerError.of(error)
    if reply is None or reply.status not in (400, 403, 422, 500, 501) or not _UNSUPPORTED.search(reply.said):
        return None
    names = [name for name, pattern in _OPTIONAL.items() if pattern.search(reply.said)]
    if _CUT_OFF.search(reply.said) or _TOO_LONG.search(reply.said):  # about the value of max_tokens
        names = [name for name in names if name != "max_tokens"]
    return next(iter(names), None)


def backoff(attempt: int, random: float) -> float:
    """Seconds before trying again: doubling from half a second to 30 s, times a factor of 0.5 to 1.5.

    `attempt` counts from 0; `random` in [0, 1) spreads requests that failed together.
    """
    return min(30.0, 0.5 * 2 ** min(attempt, 16)) * (0.5 + random)


@contextmanager
def environment() -> Iterator[str]:
    """Give the key from OPENAI_API_KEY, and raise errors of making a client as those of the environment.

    The key is a placeholder where another address than OpenAI's needs none. Raises `TeacherError`, which does
    not show the key, when it is missing or cannot be sent, and for an error of the block, whose variables it
    names.
    """
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key and not os.environ.get("OPENAI_BASE_URL"):
        raise TeacherError(
            "no OPENAI_API_KEY in the environment: set it, or point OPENAI_BASE_URL to a server without keys"
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise TeacherError("OPENAI_API_KEY holds spaces or characters that no key has; set it anew")
    try:
        yield key or "none"
    except Exception as error:
        if isinstance(error, OSError):
            variables = ("SSL_CERT_FILE", "SSL_CERT_DIR")
        else:
            variables = _PROXIES if "proxy" in str(error) else ("OPENAI_BASE_URL", *_PROXIES)
        given = " or ".join(f"{name}={os.environ[name]}" for name in os.environ if name.upper() in variables)
        if not given:
            raise
        message = f"no client can be made ({_described(error)}): correct or unset {given}"
        raise TeacherError(without_secrets(message)) from None


def address() -> str:
    """The server's address, without a user name or password in it."""
    return re.sub(r"//[^/]*@", "//", os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1").strip()


def without_secrets(text: str) -> str:
    """`text` without the key, without anything that looks like one, and without passwords in addresses."""
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if key:
        text = text.replace(key, "[key]")
    text = re.sub(r"//[^/@\s]+@", "//[secret]@", text)
    return re.sub(r"\b(?:sk|Bearer)[-_ ][\w*.-]{8,}", "[key]", text)


def first_line(error: object) -> str:
    """An error in one line, for a message that names cause and remedy."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _described(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _no_reply(error: BaseException) -> Fault:
    """The fault of a request that got no reply, by its innermost cause.

    The client libraries wrap "connection refused" several times.
    """
    is_late = isinstance(error, TimeoutError)
    while (inner := error.__cause__ or error.__context__) is not None and not is_late:
        error = inner
    cause = "no answer within teacher.timeout" if is_late else _described(error)
    where, proxies = address(), urllib.request.getproxies_environment()
    host = re.sub(r":\d+$", "", where.partition("//")[2].partition("/")[0])
    proxy = next((name for name in (where.partition(":")[0], "all") if name in proxies), None)
    if proxy and not urllib.request.proxy_bypass_environment(host):
        where += f" through the proxy in {proxy.upper()}_PROXY (NO_PROXY={host} goes around it)"
    message = without_secrets(f"{where}: {cause}")
    if re.search("Ur[lL]|UnsupportedProtocol", type(error).__name__):
        return Fault(
            "lasting", f"{message}: set OPENAI_BASE_URL to an address such as http://localhost:8000/v1"
        )
    if "CERTIFICATE_VERIFY_FAILED" in cause:
        return Fault("lasting", f"{message}: set SSL_CERT_FILE to a file with its authority's certificate")
    return Fault("passing", message)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from Retry-After (a number or a date) or retry-after-ms (RFC 9110, section 10.2.3)."""
    milliseconds, value = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds:
            seconds = float(milliseconds) / 1000
        elif value and re.fullmatch(r"[-+.\d]+", value):
            seconds = float(value)
        else:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(0.0, seconds), 1e9)
