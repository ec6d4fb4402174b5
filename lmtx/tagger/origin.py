"""From a study to a tagger: what a trained model's own study knows of its labels, results and teacher."""

from collections.abc import Callable
from pathlib import Path

from lmtx import teachers
from lmtx.config import load_config
from lmtx.corpus import load_corpus
from lmtx.encoder import Encoder
from lmtx.files import check_destination, read_json
from lmtx.study import Study
from lmtx.tagger.card import excerpt
from lmtx.tagger.labels import LabelIndex, TaggerError
from lmtx.tagger.windows import Windows, check_windows, longer


def study_of(folder: str | Path) -> Study | None:
    """The study whose `models/DATASET/SYSTEM` is `folder`; None where there is none around it.

    The parameters are those of the nearest `params.yaml` above it, but for the data set's name: the
    study may have gone on to another one since.
    """
    folder = Path(folder).resolve()
    if len(folder.parts) < 4 or folder.parents[1].name != "models":
        return None
    root, dataset = folder.parents[2], folder.parent.name
    found = next((p / "params.yaml" for p in (root, *root.parents) if (p / "params.yaml").is_file()), None)
    if found is None:
        return None
    study = Study(load_config(found, [f'dataset.name="{dataset}"']), root, {})
    return study if study.model(folder.name) == folder and study.corpus.is_dir() else None


def study_labels(folder: Path, encoder: Encoder) -> LabelIndex:
    """The labels of the study around `folder`, embedded by its encoder.

    The vectors are kept beside the folder, not in it, where DVC would take them for a changed model.

    Raises `TaggerError` where there is no study.
    """
    study = study_of(folder)
    if study is None:
        raise TaggerError(
            f"{folder} has no labels, and no study around it has any; make a tagger of it within its study: "
            "lmtx export models/DATASET/SYSTEM DESTINATION"
        )
    table = load_corpus(study.corpus).labels
    folder = folder.resolve()
    return LabelIndex.beside(
        folder.with_name(f".{folder.name}-labels"),
        table,
        [folder / "model.safetensors", study.corpus / "labels.arrow"],
        lambda: encoder.encode_labels(table, progress="embedding the study's labels, once"),
    )


def export_study(
    folder: str | Path,
    destination: str | Path,
    *,
    storage: str | None = None,
    ask: bool = False,
    annotated: str | Path | None = None,
    depth: int = 10,
    windows: Windows | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Make a tagger of a study's model, with its results in the model card and a calibration.

    An exported tagger may be exported again, in another storage; it keeps its card and calibration.

    Parameters
    ----------
    folder
        `models/DATASET/SYSTEM` of a study, or an exported tagger.
    destination
        The folder to write.
    storage
        Of the label vectors, as for `Tagger.export`.
    ask
        Calibrate even where the teacher must be asked, which may cost money; false: only where its
        stored verdicts suffice, or it is free.
    annotated
        Documents with people's answers in the column `labels`, to calibrate on instead of the teacher's
        verdicts: `lmtx tag --precision` then means precision. The encoder must not have learnt from them.
    depth
        How many labels of each held-out document the calibration rests on.
    windows
        What counts of a long document, as for `lmtx.learn`; None: as in `folder`.
    say
        Tells the user what was done.

    Raises what `Tagger.load`, `Tagger.export` and the teacher raise.
    """
    from lmtx.tagger import Tagger
    from lmtx.tagger.measuring import calibrate_on, read_annotated

    check_destination(destination, folder=True, source=folder)
    tagger = Tagger.load(folder)
    if tagger.card.get("system") == "zero-shot":
        outcome = (
            "This is E0, the encoder before training: the study kept no cycle, or you chose this system."
        )
        tagger.card = tagger.card | {"trained": False, "outcome": outcome}
        say(outcome)
    if windows is not None:
        tagger.windows = tagger.card["windows"] = check_windows(windows)
    study = study_of(folder)
    if study is not None:
        if note := longer(tagger.encoder, load_corpus(study.corpus).train, tagger.windows):
            say(note)
        system = Path(folder).resolve().name
        known = {"statistics": study.statistics, "results": study.results / f"{system}.json"}
        found = {name: read_json(file) for name, file in known.items() if file.is_file()}
        tagger.card = tagger.card | found
        tagger.card["example"] = excerpt(load_corpus(study.corpus).test)
        tagger.calibration = None
        if annotated is None:
            _calibrate(tagger, study, ask, depth, say)
    if annotated is not None:
        documents, truth = read_annotated(tagger, annotated)
        calibrate_on(tagger, documents, truth)
        if tagger.calibration is None:
            raise TaggerError(
                f"{annotated} says too little for a calibration: {documents.num_rows:,} of its documents "
                "have labels; annotate more"
            )
        say(f"calibrated on people's answers on {documents.num_rows:,} documents")
    tagger.export(destination, storage)
    say(f"{len(tagger.labels):,} labels; tag with: lmtx tag {destination} -k 5")


def _calibrate(tagger, study: Study, ask: bool, depth: int, say: Callable[[str], None]) -> None:
    """Calibrate on the study's held-out documents, unless that would cost what was not agreed to."""
    from lmtx.tagger.measuring import calibrate_by

    corpus = load_corpus(study.corpus)
    config = study.config.teacher
    if config.kind == "simulated":
        say("no calibration: the simulated teacher reads annotations")
        return
    if not corpus.dev.num_rows:
        say("no calibration: the study keeps no dev documents; raise dataset.dev_documents")
        return
    embeddings = study.load_embeddings()
    with teachers.build(config, store=study.store, corpus=corpus, embeddings=embeddings) as teacher:
        excluded = corpus.excluded["dev"]
        if not ask:
            ranking = tagger.rank(corpus.dev, depth, excluded=excluded)
            plan = teacher.plan(teachers.Pairs.from_shortlist(corpus.dev, corpus.labels, ranking.ids))
            if plan.requests:
                say(f"{plan}\nno calibration: the teacher would have to be asked; to ask it: --ask-teacher")
                return
        calibrate_by(tagger, corpus.dev, teacher, depth=depth, excluded=excluded)
    made = tagger.calibration
    if made is None:
        say("no calibration: too few verdicts, or the teacher's yes does not rise with the score")
        return
    say(f"calibrated on {made.pairs:,} verdicts of {made.judge} on {made.documents:,} held-out documents")
