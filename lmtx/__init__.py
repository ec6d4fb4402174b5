"""LMTX: zero-shot tagging at extreme scales with a large language model as the teacher."""

from importlib import import_module

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
