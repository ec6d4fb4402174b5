"""LMTX: zero-shot tagging at extreme scales with a large language model as the teacher."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for editors and type checkers; at run time `__getattr__` imports them
    from lmtx.config import load_config as load_config
    from lmtx.corpus import Corpus as Corpus
    from lmtx.corpus import load_corpus as load_corpus
    from lmtx.study import Study as Study
    from lmtx.tagger import Tagger as Tagger
    from lmtx.tagger.learning import learn as learn
    from lmtx.tagger.review import review as review

__version__ = "0.1.0"

_EXPORTS = {
    "Corpus": "lmtx.corpus",
    "load_corpus": "lmtx.corpus",
    "load_config": "lmtx.config",
    "Study": "lmtx.study",
    "Tagger": "lmtx.tagger",
    "learn": "lmtx.tagger.learning",
    "review": "lmtx.tagger.review",
}

__all__ = [*_EXPORTS]


def __getattr__(name: str):
    """Import a public name when it is first used, so that `import lmtx` stays instant."""
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'lmtx' has no attribute {name!r}")
