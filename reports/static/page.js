"use strict";
// A cell of a map shows its faces' number and one of its faces below the maps, on hover, touch or arrow keys.
document.querySelectorAll("[data-maps]").forEach((group) => {
  const shown = group.querySelector("[data-shown]");
  const show = (cell) => {
    group.querySelectorAll(".on").forEach((old) => old.classList.remove("on"));
    cell.classList.add("on");
    shown.replaceChildren();
    if (cell.dataset.face) {
      const picture = document.createElement("img");
      picture.src = document.getElementById(cell.dataset.face).content.textContent;
      picture.alt = "One of these faces";
      shown.append(picture);
    }
    const text = document.createElement("span");
    text.textContent = cell.closest("[data-map]").dataset.map + ": " + cell.dataset.label;
    shown.append(text);
  };
  group.querySelectorAll("[data-map]").forEach((map) => {
    const cells = Array.from(map.querySelectorAll(".cell"));
    const place = (cell) => [Number(cell.getAttribute("x")), Number(cell.getAttribute("y"))];
    const size = Number(map.dataset.size);
    let at = cells.reduce((best, cell, i) => (Number(cell.dataset.count) > Number(cells[best].dataset.count) ? i : best), 0);
    cells.forEach((cell, i) => cell.addEventListener("pointerover", () => { at = i; show(cell); }));
    map.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const [x, y] = place(cells[at]).map((v, i) => v + size * step[i]);
      const next = cells.findIndex((cell) => Math.hypot(place(cell)[0] - x, place(cell)[1] - y) < 1);
      if (next >= 0) show(cells[(at = next)]);
    });
    map.addEventListener("focus", () => show(cells[at]));
  });
});
