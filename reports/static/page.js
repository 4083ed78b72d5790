"use strict";
// A cell of a chart shows its numbers and one of its faces in a box beside it, on hover, touch or arrow keys.
const tip = document.createElement("div");
tip.className = "tip";
tip.setAttribute("role", "status");
tip.hidden = true;
document.body.append(tip);
const hide = () => {
  tip.hidden = true;
  document.querySelectorAll(".cell.on").forEach((old) => old.classList.remove("on"));
};
let keys = null;  // the chart on which the arrow keys are: its box follows when the page scrolls
const show = (cell) => {
  hide();
  cell.classList.add("on");
  tip.replaceChildren();
  if (cell.dataset.face) {
    const picture = document.createElement("img");
    picture.src = document.getElementById(cell.dataset.face).content.textContent;
    picture.alt = "One of these faces";
    tip.append(picture);
  }
  const text = document.createElement("span");
  text.textContent = cell.dataset.label;
  tip.append(text);
  tip.hidden = false;
  const at = cell.getBoundingClientRect(), box = tip.getBoundingClientRect();
  const left = at.right + 8 + box.width < innerWidth ? at.right + 8 : at.left - 8 - box.width;
  tip.style.left = Math.max(4, left) + "px";
  tip.style.top = Math.max(4, Math.min(at.top, innerHeight - box.height - 4)) + "px";
};
document.querySelectorAll("[data-map]").forEach((map) => {
  const cells = Array.from(map.querySelectorAll(".cell"));
  if (!cells.length) return;
  const place = (cell) => [Number(cell.getAttribute("x")), Number(cell.getAttribute("y"))];
  const step = Number(map.dataset.step);
  let at = cells.reduce((best, cell, i) => (Number(cell.dataset.count) > Number(cells[best].dataset.count) ? i : best), 0);
  cells.forEach((cell, i) => cell.addEventListener("pointerover", () => { at = i; keys = null; show(cell); }));
  map.addEventListener("pointerleave", hide);
  map.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { keys = null; return hide(); }
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!way) return;
    event.preventDefault();
    keys = map;
    const [x, y] = place(cells[at]).map((v, i) => v + step * way[i]);
    const next = cells.findIndex((cell) => Math.hypot(place(cell)[0] - x, place(cell)[1] - y) < step / 4);
    show(cells[(at = next >= 0 ? next : at)]);
  });
  map.addEventListener("focus", () => { if (map.matches(":focus-visible")) { keys = map; show(cells[at]); } });
  map.addEventListener("blur", () => { keys = null; hide(); });
});
addEventListener("scroll", () => {
  const cell = keys && keys.querySelector(".cell.on");
  if (cell) show(cell); else hide();
}, { passive: true });
// A slider walks over pictures of the same thing at different times; the last one has a larger version.
document.querySelectorAll("[data-lapse]").forEach((lapse) => {
  const large = lapse.querySelector("img"), slider = lapse.querySelector("input"), said = lapse.querySelector("output");
  const shots = Array.from(lapse.querySelectorAll("li img")), newest = large.src;
  const pick = (at) => {
    slider.value = at;
    large.src = at === shots.length - 1 ? newest : shots[at].src;
    large.alt = said.textContent = shots[at].title;
    slider.setAttribute("aria-valuetext", shots[at].title);
    shots.forEach((shot, i) => shot.classList.toggle("on", i === at));
  };
  slider.addEventListener("input", () => pick(Number(slider.value)));
  shots.forEach((shot, i) => shot.addEventListener("click", () => pick(i)));
  pick(shots.length - 1);
});
