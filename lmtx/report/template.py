"""The markup, the style and the one script of the report's page."""

PAGE = """<!doctype html>
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
th button { all: unset; cursor: pointer; text-decoration: underline dotted var(--muted);
  text-underline-offset: .2em; }
th button:hover { color: var(--blue); }
th button:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
th[aria-sort="ascending"] button::after { content: "\\a0↑"; }
th[aria-sort="descending"] button::after { content: "\\a0↓"; }
tfoot th, tfoot td { border-bottom: 0; font-weight: 600; }
.findings { border-left: 3px solid var(--blue); padding-left: .75rem; }
code { font-size: .85em; }
@media print { h2, .scroll, svg { break-inside: avoid; } }
</style>
</head>
<body>
<h1>LMTX study: {{ dataset }}</h1>
<p class="muted">Zero-shot tagging with a teacher that is gone at prediction time. Every number
comes from the result files in <code>reports/metrics</code>, <code>reports/ablations</code> and
<code>reports/corpus</code>; <code>make report</code> rebuilds this page from them.</p>
<nav aria-label="Contents">
<ol>
{% for section in sections %}
<li><a href="#{{ section.id }}">{{ section.title }}</a></li>
{% endfor %}
{% if not_run %}
<li><a href="#not-run">Not run yet</a></li>
{% endif %}
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
{% if section.findings %}
<p class="findings">{{ section.findings | join(" ") }}</p>
{% endif %}
<div class="scroll">
{{ section.body }}
</div>
<p class="note">From scratch: <code>dvc repro {{ section.stage }} &amp;&amp; make report</code>. Files:
<code>reports/{{ section.folder }}/{{ section.name }}</code> as {{ section.endings }}.</p>
</section>
{% endfor %}
{% if not_run %}
<section id="not-run">
<h2>Not run yet</h2>
<p>These come with the ablations: <code>dvc repro {{ not_run[0].stage }} &amp;&amp; make report</code>.</p>
<ul>
{% for part in not_run %}
<li>{{ part.title }} <small>({{ part.name }})</small></li>
{% endfor %}
</ul>
</section>
{% endif %}
<section id="provenance">
<h2>Provenance</h2>
{% for result in missing %}
<p class="note">{{ result.label }}: no result ({{ result.stopped }}).</p>
{% endfor %}
{% for group in provenance %}
<div class="scroll"><table class="facts"><tbody>
{% for key, value in group.facts.items() %}
<tr><th scope="row">{{ key }}</th><td>{{ value }}</td></tr>
{% endfor %}
</tbody></table></div>
<div class="scroll"><table>
<thead><tr>{% for heading in group.headings %}<th scope="col">{{ heading }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in group.rows %}
<tr><th scope="row">{{ row[0] }}</th>{% for text in row[1:] %}<td>{{ text }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
<tfoot>
<tr><th scope="row">{{ group.total[0] }}</th>
{%- for text in group.total[1:] %}<td>{{ text }}</td>{% endfor %}</tr>
</tfoot></table></div>
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
<script>
{{ sorting }}
</script>
</body>
</html>
"""

# Without the script the tables are whole, and a heading is plain text. Rows stay within their part of a
# table, gaps last; the first press puts the greatest number, or the first name, on top.
SORTING = """const NUMBER = /^[−+]?[0-9][0-9.,]*[*]?$/;
const GAP = "—";
const shown = (cell) => (cell.querySelector("b") ?? cell.firstChild)?.textContent.trim() || GAP;
const value = (text) => parseFloat(text.replace("−", "-").replace(/[,*]/g, ""));
for (const table of document.querySelectorAll("main table:has(thead)")) {
  const bodies = [...table.tBodies].map((body) => [body, [...body.querySelectorAll("tr:has(td)")]]);
  if (!bodies.some(([, rows]) => rows.length > 1)) continue;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const text = (row) => shown(row.cells[column]);
    const rows = bodies.flatMap(([, found]) => found);
    const numeric = rows.every((row) => NUMBER.test(text(row)) || text(row) === GAP);
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const orders = numeric ? ["descending", "ascending"] : ["ascending", "descending"];
      const order = orders[head.getAttribute("aria-sort") === orders[0] ? 1 : 0];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      for (const [body, found] of bodies) {
        found.sort((a, b) => {
          const [x, y] = [text(a), text(b)];
          if (x === GAP || y === GAP) return (x === GAP) - (y === GAP);
          return sign * (numeric ? value(x) - value(y) : x.localeCompare(y, "en"));
        });
        body.append(...found);
      }
    });
  });
}"""
