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
    const columns = Number(map.dataset.columns);
    let at = cells.reduce((best, cell, i) => (Number(cell.dataset.count) > Number(cells[best].dataset.count) ? i : best), 0);
    cells.forEach((cell, i) => cell.addEventListener("pointerover", () => { at = i; show(cell); }));
    map.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
      if (!step) return;
      event.preventDefault();
      at = Math.min(Math.max(at + step, 0), cells.length - 1);
      show(cells[at]);
    });
    map.addEventListener("focus", () => show(cells[at]));
  });
});
