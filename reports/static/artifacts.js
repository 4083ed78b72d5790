// Two synchronised videos, their difference, the boxes of findings, and the timeline that seeks to them.
(() => {
  const player = document.getElementById("player"), lanes = player.querySelector(".lanes"), head = lanes.querySelector(".head");
  const one = (query) => player.querySelector(query);
  const all = (query, root = document) => Array.from(root.querySelectorAll(query));
  const { fps, start, length, offset } = Object.fromEntries(Object.entries(player.dataset).map(([k, v]) => [k, Number(v)]));
  const findings = all("[data-finding]").map((line) => ({
    passage: Number(line.dataset.finding), from: Number(line.dataset.start), to: Number(line.dataset.end),
    severity: line.dataset.severity, title: line.dataset.title, label: line.dataset.label, track: JSON.parse(line.dataset.track),
  }));
  const cards = all("li[data-passage]"), list = document.querySelector(".passages");
  const inOrder = cards.map((card) => card.querySelector("[data-go]")).map((b) => [Number(b.dataset.go), Number(b.dataset.passage)]);
  inOrder.sort((a, b) => a[0] - b[0]);
  let render = one("[data-role=render]"), target = one("[data-role=target]"), canvas = one("canvas");
  let at = start, picked = -1, said = "";
  const clip = (t) => Math.min(Math.max(t, start), start + length - 0.5 / fps);
  const clock = (t) => `${Math.floor(t / 60)}:${(t % 60 < 10 ? "0" : "") + (Math.floor((t % 60) * 100 + 1e-6) / 100).toFixed(2)}`;

  const boxAt = (finding) => {
    const track = finding.track;
    let i = track.findIndex((p) => p[0] > at);
    if (i <= 0) return track[i < 0 ? track.length - 1 : 0].slice(1);
    const share = (at - track[i - 1][0]) / (track[i][0] - track[i - 1][0]);
    return track[i - 1].slice(1).map((v, k) => v + (track[i][k + 1] - v) * share);
  };
  const box = (finding) => {
    const [x, y, w, h] = finding.at, mark = document.createElement("i");
    mark.className = finding.severity + (y < 0.08 * render.videoHeight ? " inside" : "");
    mark.dataset.title = finding.label;
    Object.assign(mark.style, {
      left: (100 * x) / render.videoWidth + "%", top: (100 * y) / render.videoHeight + "%",
      width: (100 * w) / render.videoWidth + "%", height: (100 * h) / render.videoHeight + "%",
    });
    return mark;
  };
  const marked = (found) => { // boxes that nearly coincide are one, with all labels
    const boxes = [];
    found.forEach((f) => {
      const at = boxAt(f), same = boxes.find((b) => b.at.every((v, k) => Math.abs(v - at[k]) < 0.1 * at[2 + (k % 2)]));
      if (same) same.label += ", " + f.label.toLowerCase();
      else boxes.push({ ...f, at });
    });
    return boxes;
  };
  const subtract = () => {
    if (!canvas || !target || target.readyState < 2 || render.readyState < 2) return;
    const to = canvas.getContext("2d"), size = [0, 0, canvas.width, canvas.height];
    to.globalCompositeOperation = "copy";
    to.drawImage(target, ...size);
    to.globalCompositeOperation = "difference";
    to.drawImage(render, ...size);
  };
  const draw = () => {
    const x = Math.min(Math.max((at - start) / length, 0), 1);
    head.style.left = 100 * x + "%";
    lanes.setAttribute("aria-valuenow", at.toFixed(1));
    lanes.setAttribute("aria-valuetext", clock(at));
    const found = findings.filter((f) => f.from <= at + 1e-3 && at < f.to);
    const words = found.length ? `At this time: ${found.map((f) => `${f.title[0].toLowerCase()}${f.title.slice(1)} (${f.severity})`).join(", ")}.` : "";
    if (words !== said) one(".now").textContent = said = words;
    cards.forEach((card, i) => card.classList.toggle("on", i === picked || found.some((f) => f.passage === i)));
    if (!render) return;
    one(".clock").replaceChildren(clock(at));
    const frame = document.createElement("small");
    frame.textContent = ` of ${clock(start + length)}`;
    one(".clock").append(frame);
    subtract();
    if (render.videoWidth) all(".boxes", player).forEach((boxes) => boxes.replaceChildren(...marked(found).map(box)));
  };
  const show = (index) => {
    picked = index;
    const card = cards[index];
    if (!card || list.scrollHeight <= list.clientHeight) return;
    list.scrollTop += card.getBoundingClientRect().top - list.getBoundingClientRect().top - 8;
  };
  const seek = (time) => {
    at = clip(time);
    if (render) render.currentTime = at + 0.25 / fps;
    if (target) target.currentTime = at + offset + 0.25 / fps;
    draw();
  };
  const go = (time, index) => { show(index); seek(time); };
  const stop = () => {
    if (!render) return;
    render.pause();
    if (target) target.pause();
    seek(Math.floor((render.currentTime - start) * fps + 1e-3) / fps + start);
  };
  const keep = () => {
    if (!render || render.paused) return;
    at = Math.min(render.currentTime, start + length);
    if (target && !target.seeking) {
      const late = render.currentTime + offset - target.currentTime;
      if (Math.abs(late) > 0.3) target.currentTime = render.currentTime + offset;
      else target.playbackRate = render.playbackRate * (Math.abs(late) < 0.25 / fps ? 1 : 1 + Math.min(Math.max(2 * late, -0.2), 0.2));
    }
    draw();
    requestAnimationFrame(keep);
  };
  const play = () => {
    if (!render) return;
    if (!render.paused) return stop();
    picked = -1;
    if (at >= start + length - 1.5 / fps) seek(start);
    if (target) target.play().catch(() => {});
    render.play().catch(() => {});
  };
  const step = (frames) => { stop(); seek(at + frames / fps); };
  const jump = (way) => {
    const near = 0.5 / fps, next = way > 0 ? inOrder.find((p) => p[0] > at + near) : inOrder.findLast((p) => p[0] < at - near);
    if (next) go(...next);
  };
  const lost = [];
  const fail = (video) => {
    lost.push(video.dataset.name);
    const note = one(".failed"), still = video === render ? " The pictures below still show what was found." : "";
    note.textContent = `${lost.join(" and ")} cannot be played: the file was moved, or this browser does not support its codec.${still}`;
    note.hidden = false;
    if (video === render) {
      if (target) target.pause();
      one(".panes").remove();
      one(".transport").remove();
      render = target = canvas = null;
    } else if (render) {
      all("[data-pane=target], [data-pane=difference]", player).forEach((pane) => pane.remove());
      one(".panes").classList.add("one");
      target = canvas = null;
    }
  };
  const ready = () => {
    player.style.setProperty("--ratio", render.videoWidth / render.videoHeight);
    if (canvas) [canvas.width, canvas.height] = [render.videoWidth, render.videoHeight];
    draw();
  };
  for (const video of [render, target]) {
    if (!video) continue;
    const failed = () => { if (video === render || video === target) fail(video); };
    video.addEventListener("error", failed, { once: true });
    for (const name of ["loadeddata", "seeked"]) video.addEventListener(name, draw);
    if (video.error) failed();
  }
  if (render) {
    render.addEventListener("loadedmetadata", ready);
    if (render.readyState) ready();
    render.addEventListener("play", () => { player.classList.add("playing"); one(".play").setAttribute("aria-label", "Pause"); keep(); });
    render.addEventListener("pause", () => { player.classList.remove("playing"); one(".play").setAttribute("aria-label", "Play"); });
    render.addEventListener("ended", () => { if (target) target.pause(); });
    const actions = { play, back: () => step(-1), forth: () => step(1), previous: () => jump(-1), next: () => jump(1) };
    all("[data-do]", player).forEach((button) => button.addEventListener("click", actions[button.dataset.do]));
    one("#speed").addEventListener("change", (event) => { for (const v of [render, target]) if (v) v.playbackRate = Number(event.target.value); });
    one("#boxed").addEventListener("change", (event) => player.classList.toggle("unboxed", !event.target.checked));
    const gain = one("#gain"), amplify = () => { canvas.style.filter = `brightness(${gain.value})`; };
    if (gain) { gain.addEventListener("change", amplify); amplify(); }
  }
  const strip = lanes.querySelector(".ticks");
  const timeAt = (event) => {
    const across = strip.getBoundingClientRect();
    return start + (length * (event.clientX - across.left)) / across.width;
  };
  lanes.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    const mark = event.target.closest(".mark"), time = timeAt(event);
    const from = mark && Number(mark.dataset.from), index = mark ? Number(mark.dataset.passage) : -1;
    const own = mark && findings.some((f) => f.passage === index && f.from <= time && time < f.to);
    go(mark && !own ? from : time, index);
    lanes.setPointerCapture(event.pointerId);
  });
  lanes.addEventListener("pointermove", (event) => { if (lanes.hasPointerCapture(event.pointerId)) seek(timeAt(event)); });
  all("[data-go]").forEach((button) => button.addEventListener("click", () => {
    go(Number(button.dataset.go), Number(button.dataset.passage ?? -1));
    player.scrollIntoView({ block: "nearest" });
  }));
  const keys = {
    " ": play, ",": () => step(-1), ".": () => step(1), n: () => jump(1), p: () => jump(-1),
    ArrowLeft: () => seek(at - 1), ArrowRight: () => seek(at + 1),
  };
  const onSlider = { ArrowUp: () => jump(-1), ArrowDown: () => jump(1), Home: () => seek(start), End: () => seek(start + length) };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input, summary, [data-map]")) return;
    if (event.key === " " && event.target.closest("button")) return;
    const act = keys[event.key] || (event.target === lanes && onSlider[event.key]);
    if (!act || (event.key === " " && !render)) return;
    event.preventDefault();
    act();
  });
  const measure = () => head.style.setProperty("--tall", lanes.getBoundingClientRect().height - 16 + "px");
  addEventListener("resize", measure);
  measure();
  if (inOrder.length) {
    seek(Number(cards[0].dataset.worst));
  } else draw();
})();
