"""Talking to a language model, behind an address or in this process: prompts in, replies out.

Nothing here knows of documents, labels or verdicts; `lmtx.teachers` judges with it.
"""
