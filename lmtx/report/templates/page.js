const NUMBER = /^[−+]?[0-9][0-9.,]*[*]?$/;
const GAP = "—";
const shown = (cell) => (cell.querySelector("b") ?? cell.firstChild)?.textContent.trim() || GAP;
const value = (text) => parseFloat(text.replace("−", "-").replace(/[,*]/g, ""));
for (const table of document.querySelectorAll("main table:has(thead)")) {
  const bodies = [...table.tBodies].map((body) => [body, [...body.querySelectorAll("tr:has(td)")]]);
  if (!bodies.some(([, rows]) => rows.length > 1)) continue;
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const text = (row) => shown(row.cells[column]);
    const rows = bodies.flatMap(([, bodyRows]) => bodyRows);
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
      for (const [body, bodyRows] of bodies) {
        bodyRows.sort((a, b) => {
          const [x, y] = [text(a), text(b)];
          if (x === GAP || y === GAP) return (x === GAP) - (y === GAP);
          return sign * (numeric ? value(x) - value(y) : x.localeCompare(y, "en"));
        });
        body.append(...bodyRows);
      }
    });
  });
}
for (const box of document.querySelectorAll(".scroll")) {
  const mark = () => box.classList.toggle("more", box.scrollWidth - box.clientWidth - box.scrollLeft > 1);
  box.addEventListener("scroll", mark);
  new ResizeObserver(mark).observe(box);
}
