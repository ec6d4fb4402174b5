"""The report as one page that needs nothing beside itself: no script, no font, no image to load."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment
from markupsafe import Markup

from lmtx.files import replacing
from lmtx.report.drawing import VARIABLES, Drawing
from lmtx.report.render import GAP, Table
from lmtx.report.results import Result, Statistics

_LIGHT = {variable: colour for colour, variable in VARIABLES.items()}
_DARK = {
    **{"--ink": "#e8eaed", "--muted": "#a4abb6", "--grid": "#3a404a", "--paper": "#16181c"},
    **{"--blue": "#56a8e0", "--orange": "#f08f52", "--green": "#35c598", "--purple": "#e3a6c9"},
}
_HOST = {
    **{"processor": "Processor", "cores": "Cores", "memory_gib": "Memory (GiB)"},
    **{"gpu": "GPU", "python": "Python", "system": "System"},
}


@dataclass(frozen=True)
class Provenance:
    """Where results come from; systems that share all of it share a row."""

    systems: list[str]
    facts: dict[str, str]
    versions: str


def provenance(results: Sequence[Result]) -> list[Provenance]:
    """Group the systems that have a result by host, versions, precision, seed and parameters."""
    groups: dict[tuple, list[str]] = {}
    for r in results:
        if r.stopped is not None:
            continue
        facts = {
            "Parameters": r.config_hash,
            "Seed": r.seed,
            "Precision": r.precision,
            **{_HOST.get(key, key): value for key, value in r.host.items()},
            "GPU": r.host.get("gpu") or "none",
        }
        shown = tuple((key, GAP if value is None else str(value)) for key, value in facts.items())
        versions = ", ".join(f"{name} {version}" for name, version in sorted(r.versions.items()) if version)
        groups.setdefault((shown, versions), []).append(r.system)
    return [Provenance(systems, dict(facts), versions) for (facts, versions), systems in groups.items()]


def write_page(
    path: str | Path,
    dataset: str,
    parts: Sequence[Table | Drawing],
    results: Sequence[Result],
    statistics: Statistics | None,
) -> Path:
    """Write the tables and figures in the order given, with a table of contents and the provenance.

    `statistics` gives the data set's manifest; `None` is a gap that the page names.
    """
    sections = [
        {
            "id": part.name.replace("_", "-"),
            "name": part.name,
            "title": part.title,
            # A figure carries its message and caption within.
            "text": part.caption if isinstance(part, Table) else "",
            "body": Markup(part.to_html() if isinstance(part, Table) else part.inline_svg()),
            "endings": "csv, md, tex" if isinstance(part, Table) else "csv, pdf, png, svg",
            "folder": "tables" if isinstance(part, Table) else "figures",
        }
        for part in parts
    ]
    # autoescape: labels and notes come from files, and end up as text whatever they hold.
    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_PAGE)
    text = page.render(
        dataset=dataset,
        sections=sections,
        provenance=provenance(results),
        missing=[r for r in results if r.stopped is not None],
        manifest=_lines(statistics.manifest) if statistics else None,
        light=_LIGHT,
        dark=_DARK,
    )
    with replacing(path) as scratch:
        scratch.write_text(text, encoding="utf-8", newline="\n")
    return Path(path)


def _lines(values: dict, prefix: str = "") -> list[tuple[str, str]]:
    """A nested dictionary as (dotted key, value) lines."""
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += _lines(value, f"{prefix}{key}.")
        else:
            lines.append(
                (prefix + str(key), ", ".join(map(str, value)) if isinstance(value, list) else str(value))
            )
    return lines


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>LMTX study: {{ dataset }}</title>
<style>
:root { {% for name, colour in light.items() %}{{ name }}: {{ colour }}; {% endfor %}}
@media (prefers-color-scheme: dark) {
  :root { {% for name, colour in dark.items() %}{{ name }}: {{ colour }}; {% endfor %}}
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 66rem; color: var(--ink);
  background: var(--paper); font: 16px/1.55 system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .25rem; padding-top: .75rem; border-top: 1px solid var(--grid); }
a { color: inherit; text-underline-offset: .15em; }
nav ol { margin: .25rem 0 0; padding-left: 1.4rem; }
p { max-width: 46rem; margin: .4rem 0; }
.muted, .note, small { color: var(--muted); }
.note { font-size: .85rem; margin: .3rem 0; }
.scroll { overflow-x: auto; margin: .75rem 0; }
svg { width: 100%; height: auto; display: block; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .45rem; text-align: right; vertical-align: top; white-space: nowrap;
  border-bottom: 1px solid var(--grid); }
thead th { border-bottom: 2px solid var(--muted); vertical-align: bottom; white-space: normal; }
th:first-child, .facts td { text-align: left; }
th[scope="row"] { font-weight: 500; white-space: normal; min-width: 11rem; }
th[scope="rowgroup"] { padding-top: .9rem; color: var(--muted); font-weight: 500; font-style: italic; }
.facts td { white-space: normal; overflow-wrap: anywhere; }
td small { font-size: .74rem; }
code { font-size: .85em; }
@media print { h2, .scroll, svg { break-inside: avoid; } }
</style>
</head>
<body>
<h1>LMTX study: {{ dataset }}</h1>
<p class="muted">Zero-shot tagging with a teacher that is gone at prediction time. Every number
comes from the result files in <code>reports/metrics</code> and <code>reports/corpus</code>;
<code>make report</code> rebuilds this page from them.</p>
<nav aria-label="Contents">
<ol>
{% for section in sections %}
<li><a href="#{{ section.id }}">{{ section.title }}</a></li>
{% endfor %}
<li><a href="#provenance">Provenance</a></li>
</ol>
</nav>
<main>
{% for section in sections %}
<section id="{{ section.id }}">
<h2>{{ section.title }}</h2>
{% if section.text %}
<p class="muted">{{ section.text }}</p>
{% endif %}
<div class="scroll">
{{ section.body }}
</div>
<p class="note">Files: <code>reports/{{ section.folder }}/{{ section.name }}</code>
as {{ section.endings }}.</p>
</section>
{% endfor %}
<section id="provenance">
<h2>Provenance</h2>
{% for result in missing %}
<p class="note">{{ result.label }}: no result ({{ result.stopped }}).</p>
{% endfor %}
{% for group in provenance %}
<div class="scroll"><table class="facts"><tbody>
<tr><th scope="row">Systems</th><td>{{ group.systems | join(", ") }}</td></tr>
{% for key, value in group.facts.items() %}
<tr><th scope="row">{{ key }}</th><td>{{ value }}</td></tr>
{% endfor %}
<tr><th scope="row">Versions</th><td>{{ group.versions or "not recorded" }}</td></tr>
</tbody></table></div>
{% endfor %}
{% if manifest is none %}
<p class="note">The data set's manifest is missing; the <code>prepare</code> stage writes it.</p>
{% else %}
<details><summary>The data set's manifest</summary>
<div class="scroll"><table class="facts"><tbody>
{% for key, value in manifest %}
<tr><th scope="row">{{ key }}</th><td>{{ value }}</td></tr>
{% endfor %}
</tbody></table></div>
</details>
{% endif %}
</section>
</main>
</body>
</html>
"""
