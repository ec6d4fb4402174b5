"""The actions of `lmtx verdicts`: list, export, record, judge again and merge the verdicts of teachers."""

import argparse
from pathlib import Path


def list_verdicts(options: argparse.Namespace) -> None:
    import pandas as pd

    from lmtx.teachers.records import summary

    with _open(options.store) as store:
        rows = summary(store)
    if not rows:
        print(f"{options.store} holds no verdicts yet")
        return
    counts = ("verdicts", "yes", "no", "none", "requests")
    lines = [
        {"teacher": row["name"], "id": row["teacher_id"][:8], "model": str(row["identity"].get("model", ""))}
        | {count: f"{row[count]:,}" for count in counts}
        | {"US $": "unknown" if row["usd"] is None else f"{row['usd']:,.2f}"}
        | {"hours": f"{row['seconds'] / 3600:,.2f}"}
        for row in rows
    ]
    print(pd.DataFrame(lines).to_string(index=False))


def export_verdicts(options: argparse.Namespace) -> None:
    from lmtx.teachers.records import export

    with _open(options.store) as store:
        count = export(store, options.file, options.teacher)
    print(f"{count:,} verdicts written to {options.file}")


def record_verdicts(options: argparse.Namespace) -> None:
    from lmtx.corpus import load_corpus
    from lmtx.teachers.records import write_record

    corpus = load_corpus(options.corpus)
    with _open(options.store) as store:
        count = write_record(store, options.teacher, corpus, options.file)
        print(f"{count:,} verdicts recorded in {options.file}")
        if options.texts:
            file = options.file.with_name(f"{options.file.stem}-texts.parquet")
            print(f"{write_record(store, options.teacher, None, file):,} texts recorded in {file}")


def judge_again(options: argparse.Namespace) -> None:
    import numpy as np

    from lmtx import teachers
    from lmtx.config import load_config
    from lmtx.corpus import load_corpus
    from lmtx.teachers.records import recorded_pairs

    corpus = load_corpus(options.corpus)
    pairs, before = recorded_pairs(options.file, corpus)
    if options.documents is not None:
        chosen = np.flatnonzero(np.isin(pairs.rows, np.unique(pairs.rows)[: options.documents]))
        pairs, before = pairs.select(chosen), before[chosen]
    config = load_config(overrides=[f"teacher={options.teacher}"]).teacher
    with teachers.build(config, store=options.store, corpus=corpus) as teacher:
        print(teacher.plan(pairs))
        now = teacher.judge(pairs).p_yes
    same = (now >= 0.5) == (before >= 0.5)
    print(
        f"{len(now):,} pairs judged anew: {same.mean():.2%} have the same answer; p_yes differs by "
        f"{np.abs(now - before).mean():.4f} on average and {np.abs(now - before).max():.4f} at most"
    )


def merge_verdicts(options: argparse.Namespace) -> None:
    from lmtx.files import check_destination
    from lmtx.teachers.records import merge
    from lmtx.teachers.store import VerdictStore

    check_destination(options.store)
    with VerdictStore(options.store) as store:
        for other in options.other:
            print(f"{merge(store, other):,} new verdicts from {other}")


def _open(path: Path):
    """The store at `path`, which must be there: to look is not to make an empty one."""
    from lmtx.teachers.store import StoreError, VerdictStore

    if not path.is_file():
        raise StoreError(f"there is no verdict store {path}; name one with --store")
    return VerdictStore(path, writing=False)
