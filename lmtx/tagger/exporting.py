"""From a study to a tagger: what a trained model's own study knows of its labels, results and teacher."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from lmtx import teachers
from lmtx.config import load_config
from lmtx.corpus import Corpus, load_corpus
from lmtx.encoder import Encoder
from lmtx.files import check_destination, read_json
from lmtx.study import Study
from lmtx.tagger.card import excerpt
from lmtx.tagger.labels import LabelIndex, TaggerError
from lmtx.tagger.windows import Windows, check_windows, longer

if TYPE_CHECKING:
    from lmtx.tagger import Tagger

_DEPTH = 10  # labels of each held-out document that a calibration rests on


def study_of(folder: str | Path) -> Study | None:
    """The study whose `models/DATASET/SYSTEM` is `folder`; None where there is none around it.

    The parameters are those of the nearest `params.yaml` above it, but for the data set's name: the
    study may have gone on to another one since.
    """
    folder = Path(folder).resolve()
    if len(folder.parts) < 4 or folder.parents[1].name != "models":
        return None
    root, dataset = folder.parents[2], folder.parent.name
    parameters = next(
        (p / "params.yaml" for p in (root, *root.parents) if (p / "params.yaml").is_file()), None
    )
    if parameters is None:
        return None
    study = Study(load_config(parameters, [f'dataset.name="{dataset}"']), root, {})
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
    windows
        What counts of a long document, as for `lmtx.learn`; None: as in `folder`.
    say
        Tells the user what was done.

    Raises what `Tagger.load`, `Tagger.export` and the teacher raise.
    """
    from lmtx.tagger import Tagger
    from lmtx.tagger.calibration import calibrate_on
    from lmtx.tagger.measuring import read_annotated

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
        corpus, system = load_corpus(study.corpus), Path(folder).resolve().name
        if note := longer(tagger.encoder, corpus.train, tagger.windows):
            say(note)
        files = {"statistics": study.statistics, "results": study.results / f"{system}.json"}
        tagger.card |= {name: read_json(file) for name, file in files.items() if file.is_file()}
        tagger.card["example"] = excerpt(corpus.test)
        tagger.calibration = None
        if annotated is None:
            say(_calibrate(tagger, study, corpus, ask))
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


def _calibrate(tagger: "Tagger", study: Study, corpus: Corpus, ask: bool) -> str:
    """Calibrate on the study's held-out documents; returns a sentence that says so, or why not."""
    from lmtx.tagger.calibration import calibrate_by

    config, excluded = study.config.teacher, corpus.excluded["dev"]
    if config.kind == "simulated":
        return "no calibration: the simulated teacher reads annotations"
    if not corpus.dev.num_rows:
        return "no calibration: the study keeps no dev documents; raise dataset.dev_documents"
    embeddings = study.load_embeddings()
    with teachers.build(config, store=study.store, corpus=corpus, embeddings=embeddings) as teacher:
        ids = tagger.rank(corpus.dev, _DEPTH, excluded=excluded).ids
        plan = teacher.plan(teachers.Pairs.from_shortlist(corpus.dev, corpus.labels, ids))
        if plan.requests and not ask:
            return f"{plan}\nno calibration: the teacher would have to be asked; to ask it: --ask-teacher"
        calibrate_by(tagger, corpus.dev, teacher, depth=_DEPTH, excluded=excluded)
    made = tagger.calibration
    if made is None:
        return "no calibration: too few verdicts, or the teacher's yes does not rise with the score"
    return f"calibrated on {made.pairs:,} verdicts of {made.judge} on {made.documents:,} held-out documents"
