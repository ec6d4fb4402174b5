"""One document and the tables about it as HTML, for a light or a dark notebook."""

import numpy as np
import pyarrow as pa
from jinja2 import Environment

from lmtx.corpus import Corpus
from lmtx.report.render import Table

MARK = "✓"
_TEXT = 4000


def document_page(corpus: Corpus, split: str, row: int, annotated: np.ndarray, *tables: Table) -> str:
    """HTML of one document and what there is to say of it, for a light or a dark notebook; all text escaped.

    `annotated` holds the ids of its annotated labels. A long text is shown in part, and the page says so.
    """
    document = corpus.documents(split).slice(row, 1).to_pylist()[0]
    annotations = corpus.labels["text"].take(pa.array(annotated)).to_pylist()
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_PAGE)
    return template.render(document, annotations=annotations, tables=tables, limit=_TEXT, mark=MARK)


# Notebooks bring their own colours, and rules for tables that only a doubled class outweighs.
_PAGE = """<div class="lmtx-document">
<style>
.lmtx-document { line-height: 1.4; font-size: 13px; max-width: 100%; }
.widget-html-content:has(> .lmtx-document) { min-width: 0; width: 100%; }
.lmtx-document h3 { margin: 1em 0 .3em; overflow-wrap: anywhere; }
.lmtx-document h4 { margin: 1.2em 0 .2em; }
.lmtx-document p, .lmtx-document ul { margin: .2em 0; }
.lmtx-document .text { white-space: pre-wrap; overflow: auto; max-height: 16em; padding: .5em .8em;
  border: 1px solid var(--jp-border-color2, #8888); }
.lmtx-document .scroll { overflow-x: auto; }
.lmtx-document table { border-collapse: collapse; font-size: 12px; margin: .4em 0; }
.lmtx-document.lmtx-document :is(td, th) { text-align: left; vertical-align: top; padding: .25em .7em;
  border-bottom: 1px solid var(--jp-border-color3, #8884); }
.lmtx-document.lmtx-document th[scope="row"] { font-weight: normal; }
.lmtx-document.lmtx-document th[scope="rowgroup"] { padding-top: .9em; font-style: italic; }
</style>
<h3>{{ title or uid }}</h3>
<div class="text">{{ text[:limit] }}</div>
{% if text | length > limit %}
<p>The first {{ "{:,}".format(limit) }} of {{ "{:,}".format(text | length) }} characters.</p>
{% endif %}
<h4>Annotated labels</h4>
{% if annotations %}
<p>From the data set, to look at only: no zero-shot system has seen them.</p>
<ul>
{% for text in annotations %}
<li>{{ mark }} {{ text }}</li>
{% endfor %}
</ul>
{% else %}
<p>None: this document is not annotated.</p>
{% endif %}
{% for table in tables if table.groups %}
<h4>{{ table.title }}</h4>
<p>{{ table.caption }}</p>
<div class="scroll">{{ table.to_html() | safe }}</div>
{% endfor %}
</div>"""
