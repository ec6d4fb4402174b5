"""What can go wrong with a request, and what to do about it."""

import email.utils
import os
import re
import time
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

LATEST_PAUSE = 30.0
_FIRST_PAUSE = 0.5
_HTTP_LIBRARIES = {"openai", "httpx", "httpx2", "httpcore", "httpcore2", "aiohttp", "h11"}
_FILTERED = ("content_filter", "content_policy", "invalid_prompt")
_OPTIONAL = {
    "max_tokens": r"\bmax_tokens\b",
    "response_format": r"\bresponse_format\b",
    "temperature": r"\btemperature\b",
    "logprobs": r"logprobs\b|\btop_n_tokens\b",  # as text-generation-inference calls them
}
"""Parameters that not every server knows, and that a request can do without; how errors name them."""


class TeacherError(RuntimeError):
    """A language model that cannot go on; the message names the cause and the remedy. Stored answers stay."""


class BudgetError(TeacherError):
    """`max_cost` or `max_requests` is reached; the message says what is missing and how to go on."""


@dataclass(frozen=True)
class Fault:
    """What became of a request that was not answered.

    Attributes
    ----------
    kind
        "passing": try again after a pause. "lasting": stop, `message` names cause and remedy.
        "refused": the server does not take this request; another one it may. "filtered": the
        provider refuses to answer for this document, which is an answer: none.
    message
        For people; holds no key.
    pause
        Seconds the server asks to wait; None when it does not say.
    alive
        Whether a server was there: it answered something that says it is merely busy.
    """

    kind: Literal["passing", "lasting", "refused", "filtered"]
    message: str
    pause: float | None = None
    alive: bool = False


class BadReply(ValueError):
    """A success status with a body that is no chat completion."""


def read_fault(error: Exception, model: str) -> Fault | None:
    """Classify an exception raised while sending a request; None for one that is not the server's.

    `model` is the model's name, for the messages.
    """
    status = getattr(error, "status_code", None)
    if status is None:
        library = type(error).__module__.partition(".")[0]
        if isinstance(error, OSError | TimeoutError | ValueError) or library in _HTTP_LIBRARIES:
            late = isinstance(error, TimeoutError)
            return Fault("passing", without_secrets(f"{address()}: {_cause(error)}"), alive=late)
        return None
    body = getattr(error, "body", None)
    code = str(getattr(error, "code", None) or getattr(error, "type", None) or "")
    text = (body.get("message") or body.get("detail")) if isinstance(body, dict) else None
    said = without_secrets(str(text or getattr(error, "message", error)).strip())[:500]
    where = f"{address()} answered {status} ({said})"
    no_quota = "insufficient_quota" in (code, getattr(error, "type", None)) or "billing_hard_limit" in code
    if no_quota or status == 402:
        return Fault(
            "lasting", f"{where}: the quota is used up. Top up the account, or use another key or address"
        )
    if status in (408, 409, 425, 429, 502, 503, 504):
        return Fault("passing", where, _retry_after(error), alive=True)
    if status >= 500:
        return Fault("passing", where, _retry_after(error))
    if status == 401:
        return Fault("lasting", f"{where}: set OPENAI_API_KEY to a key that is valid at this address")
    if status == 403:
        return Fault("lasting", f"{where}: this key may not use the model {model!r}, or not from here")
    if status == 404:
        return Fault(
            "lasting",
            f"{where}: the model {model!r} does not exist there (set teacher.model), or OPENAI_BASE_URL "
            "is not the address of an OpenAI-compatible server (it usually ends in /v1)",
        )
    if any(word in code for word in _FILTERED):
        return Fault("filtered", where)
    hint = "lower teacher.document_tokens" if "context" in said else "check teacher.model and teacher.extra"
    return Fault("refused", f"{where}: {hint}")


def unsupported(error: Exception) -> str | None:
    """The parameter that the server rejects and a request can do without; None for any other error."""
    if getattr(error, "status_code", None) not in (400, 403, 422):
        return None
    said = f"{getattr(error, 'param', None) or ''} {getattr(error, 'message', None) or error}"
    return next((name for name, pattern in _OPTIONAL.items() if re.search(pattern, said)), None)


def backoff(attempt: int, random: float) -> float:
    """Seconds before trying again: doubling from half a second to 30 s, times a factor of 0.5 to 1.5.

    `attempt` counts from 0; `random` in [0, 1) spreads requests that failed together.
    """
    return min(LATEST_PAUSE, _FIRST_PAUSE * 2 ** min(attempt, 16)) * (0.5 + random)


def api_key() -> str:
    """The key from OPENAI_API_KEY; a placeholder where another address than OpenAI's needs none.

    Raises `TeacherError`, which does not show the key, when it is missing or cannot be sent.
    """
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key:
        if os.environ.get("OPENAI_BASE_URL"):
            return "none"
        raise TeacherError(
            "no OPENAI_API_KEY in the environment: set it, or point OPENAI_BASE_URL to a server without keys"
        )
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise TeacherError("OPENAI_API_KEY holds spaces or characters that no key has; set it anew")
    return key


def address() -> str:
    """The server's address, without a user name or password in it."""
    url = urlsplit(os.environ.get("OPENAI_BASE_URL") or "https://api.openai.com/v1")
    host = url.hostname or ""
    return f"{url.scheme}://{host}{f':{url.port}' if url.port else ''}{url.path}"


def without_secrets(text: str) -> str:
    """`text` without the key, and without anything that looks like one."""
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if key:
        text = text.replace(key, "[key]")
    return re.sub(r"\b(?:sk|Bearer)[-_ ][\w*.-]{8,}", "[key]", text)


def _cause(error: BaseException) -> str:
    """The innermost cause: the client libraries wrap "connection refused" several times."""
    if isinstance(error, TimeoutError):
        return "no answer within teacher.timeout"
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    text = str(error).strip()
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def _retry_after(error: Exception) -> float | None:
    """Seconds from Retry-After (a number or a date) or retry-after-ms (RFC 9110, section 10.2.3)."""
    headers = getattr(getattr(error, "response", None), "headers", {})
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(0.0, float(milliseconds) / 1000)
        value = headers.get("retry-after")
        if value is None:
            return None
        try:
            return max(0.0, float(value))
        except ValueError:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return None
