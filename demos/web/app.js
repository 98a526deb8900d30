"use strict";

// Everything that comes from people (prompts, file names, messages) goes into the page as text, never as HTML.

const POLL_MS = 500;
const SAMPLES = 150;
const $ = (id) => document.getElementById(id);
const graph = new Graph($("graph"), SAMPLES);
let state = null;
let failures = 0;
let cross = { x: 0.5, y: 0.5 };

/** Make an element: make("b", {className: "x"}, "text", child, ...). */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

async function call(method, address, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const response = await fetch(address, options);
  if (response.status === 401) location.assign("login");
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `the server answers ${response.status}`);
  return answer;
}

function say(text, kind = "") {
  $("notice").textContent = text;
  $("notice").dataset.kind = kind;
}

/** Call the server because the user asked for it: tell them when it fails, show the new state when it works. */
async function act(method, address, body, done = "") {
  try {
    await call(method, address, body);
    say(done);
    await update();
    return true;
  } catch (error) {
    say(error.message, "problem");
    return false;
  }
}

// The picture

function play() {
  $("picture").src = `stream.mjpg?${Date.now()}`;
}

/** Where the picture lies in its element, which may be larger: left, top, width and height in CSS pixels. */
function pictureBox() {
  const box = $("picture").getBoundingClientRect();
  const frame = state && state.frame || { width: box.width, height: box.height };
  const scale = Math.min(box.width / frame.width, box.height / frame.height);
  const width = frame.width * scale, height = frame.height * scale;
  return { left: box.left + (box.width - width) / 2, top: box.top + (box.height - height) / 2, width, height };
}

function moveCross(x, y) {
  cross = { x: Math.min(Math.max(x, 0), 1), y: Math.min(Math.max(y, 0), 1) };
  const box = pictureBox(), stage = $("stage").getBoundingClientRect();
  $("cross").style.left = `${box.left - stage.left + cross.x * box.width}px`;
  $("cross").style.top = `${box.top - stage.top + cross.y * box.height}px`;
}

function blink() {
  $("cross").classList.remove("blink");
  void $("cross").offsetWidth; // restarts the animation
  $("cross").classList.add("blink");
}

function selectHere() {
  blink();
  return act("POST", "api/select", cross, "Selected. Escape shows everybody again.");
}

function showEverybody() {
  return act("POST", "api/select", { prompt: null });
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

$("stage").addEventListener("click", (event) => {
  if (event.target === $("everybody")) return;
  const box = pictureBox();
  const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
  if (x < 0 || y < 0 || x > 1 || y > 1) return;
  $("cross").hidden = false;
  moveCross(x, y);
  selectHere();
});

$("stage").addEventListener("keydown", (event) => {
  if (event.target !== $("stage")) return;
  const step = STEPS[event.key];
  if (step) {
    const size = event.shiftKey ? 0.1 : 0.02;
    $("cross").hidden = false;
    moveCross(cross.x + step[0] * size, cross.y + step[1] * size);
  } else if (event.key === "Enter" || event.key === " ") {
    $("cross").hidden = false;
    moveCross(cross.x, cross.y);
    selectHere();
  } else {
    return;
  }
  event.preventDefault();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && state && state.selected !== null) showEverybody();
  if (event.key === "/" && document.activeElement !== $("text")) {
    event.preventDefault();
    $("text").focus();
  }
});

$("everybody").addEventListener("click", showEverybody);
$("picture").addEventListener("error", () => setTimeout(() => { if (!document.hidden) play(); }, 1500));
$("cross").addEventListener("animationend", () => { $("cross").hidden = document.activeElement !== $("stage"); });
$("stage").addEventListener("blur", () => { $("cross").hidden = true; });

// Prompts

async function ask(alone) {
  const text = $("text").value.trim();
  if (!text) {
    say("Type whom to look for, for example: the woman in blue", "problem");
    $("text").focus();
    return;
  }
  if (await act("POST", "api/prompts", { text, alone }) && !alone) $("text").value = "";
  $("text").select();
}

$("ask").addEventListener("submit", (event) => { event.preventDefault(); ask(true); });
$("also").addEventListener("click", () => ask(false));

/** Keeps a list's elements for as long as their keys exist, so that focus and clicks survive updates. */
function keepList(list, items, key, build, fill) {
  const old = new Map([...list.children].map((element) => [element.dataset.key, element]));
  const now = items.map((item) => {
    let element = old.get(String(key(item)));
    if (!element) {
      element = build(item);
      element.dataset.key = String(key(item));
    }
    fill(element, item);
    return element;
  });
  if (now.length !== list.children.length || now.some((element, index) => list.children[index] !== element)) {
    list.replaceChildren(...now);
  }
}

function buildPerson(prompt) {
  const name = make("span", { className: "name" }, prompt.text);
  const pick = make("button", { type: "button", className: "pick" }, name, make("span", { className: "score" }));
  pick.addEventListener("click", () => {
    act("POST", "api/select", { prompt: state.selected === prompt.id ? null : prompt.id });
  });
  const remove = make("button", { type: "button", className: "icon small", textContent: "×" });
  remove.setAttribute("aria-label", `Stop looking for ${prompt.text}`);
  remove.addEventListener("click", () => act("DELETE", `api/prompts/${prompt.id}`));
  const bar = make("span", { className: "bar" }, make("i"));
  return make("li", { className: "person" }, pick, remove, bar);
}

function fillPerson(element, prompt) {
  const percent = prompt.score === null ? 0 : Math.round(prompt.score * 100);
  const found = prompt.score === null ? "…" : prompt.found ? `${percent}%` : `not seen, ${percent}%`;
  const score = element.querySelector(".score");
  if (score.textContent !== found) score.textContent = found;
  element.classList.toggle("found", prompt.found === true);
  element.querySelector(".bar i").style.width = `${percent}%`;
  element.querySelector(".pick").setAttribute("aria-pressed", String(state.selected === prompt.id));
  element.querySelector(".pick").title = prompt.truncated ? "Too long for the model; its end is ignored" : "";
  element.querySelector(".icon").disabled = state.prompts.length === 1;
}

// Sources

function buildSource(source) {
  const pick = make("button", { type: "button", className: "pick" }, make("span", { className: "name" }, source.label));
  pick.addEventListener("click", () => act("POST", "api/source", { id: source.id }));
  const item = make("li", { className: "source" }, pick);
  if (source.kind === "upload") {
    const remove = make("button", { type: "button", className: "icon small", textContent: "×" });
    remove.setAttribute("aria-label", `Delete ${source.label}`);
    remove.addEventListener("click", () => act("DELETE", `api/uploads/${source.id}`));
    item.append(remove);
  }
  return item;
}

function fillSource(element, source) {
  element.querySelector(".pick").setAttribute("aria-pressed", String(state.source === source.id));
}

function upload(file) {
  if (file.size > state.model.max_upload_bytes) {
    say(`${file.name} is larger than ${state.model.max_upload_bytes / 1e6} MB`, "problem");
    return;
  }
  const request = new XMLHttpRequest(); // fetch tells no progress
  request.open("POST", `api/uploads?name=${encodeURIComponent(file.name)}`);
  request.responseType = "json";
  request.upload.addEventListener("progress", (event) => { $("progress").value = 100 * event.loaded / event.total; });
  request.addEventListener("loadend", () => {
    $("progress").hidden = true;
    $("upload").value = "";
    if (request.status === 201) say(`Playing ${file.name}`);
    else say(request.response && request.response.error || "The upload failed", "problem");
    update();
  });
  $("progress").value = 0;
  $("progress").hidden = false;
  say(`Uploading ${file.name}`);
  request.send(file);
}

$("upload").addEventListener("change", () => { if ($("upload").files.length) upload($("upload").files[0]); });
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  if (state && event.dataTransfer.files.length) upload(event.dataTransfer.files[0]);
});

// What the server tells

function health(kind, text) {
  $("health").dataset.kind = kind;
  $("health-text").textContent = text;
}

function show() {
  const model = state.model;
  $("model").textContent = `${model.name} · ${model.backend} · ${model.device}`;
  $("banner").textContent = state.problem ? `The picture stands still: ${state.problem}` : model.warning || "";
  $("banner").hidden = !$("banner").textContent;
  health(state.problem ? "bad" : "good", state.problem ? "Stopped" : "Live");
  $("click-hint").textContent = model.positional
    ? "Click anybody in the picture to select them."
    : "Click a person who is found to select them.";
  if (state.frame) $("stage").style.setProperty("--aspect", `${state.frame.width} / ${state.frame.height}`);
  $("everybody").hidden = state.selected === null;
  keepList($("people"), state.prompts, (prompt) => prompt.id, buildPerson, fillPerson);
  keepList($("sources"), state.sources, (source) => source.id, buildSource, fillSource);
  const number = (value, digits) => value === null ? "–" : value.toFixed(digits);
  const latency = graph.median((sample) => sample[1] + sample[2] + sample[3]);
  $("latency").textContent = number(latency, latency !== null && latency < 10 ? 1 : 0);
  $("age").textContent = number(graph.median((sample) => sample[4]), 0);
  $("fps").textContent = number(state.fps, 1);
  const dropped = state.dropped ? `, ${state.dropped} skipped to stay live` : "";
  const viewers = state.viewers > 1 ? `, ${state.viewers} viewers` : "";
  $("counts").textContent = `${state.frames} frames${dropped}${viewers}`;
  graph.draw();
}

let lastAnswer = Promise.resolve();

/** Ask for the state and show it; one request at a time. */
function update() {
  lastAnswer = lastAnswer.then(async () => {
    try {
      const fresh = await call("GET", `api/state?since=${graph.last}`);
      if (failures) play();
      failures = 0;
      graph.add(fresh.samples);
      state = fresh;
      show();
    } catch {
      failures += 1;
      if (failures > 1) health("bad", "Connection lost");
    }
  });
  return lastAnswer;
}

async function poll() {
  if (!document.hidden) await update();
  setTimeout(poll, POLL_MS * Math.min(2 ** failures, 8));
}

document.addEventListener("visibilitychange", () => {
  // A page nobody sees takes no pictures.
  if (document.hidden) $("picture").removeAttribute("src");
  else play();
});

// Dark and light

function theme(name) {
  document.documentElement.dataset.theme = name;
  graph.draw();
}

$("theme").addEventListener("click", () => {
  const dark = document.documentElement.dataset.theme === "dark";
  const name = dark ? "light" : "dark";
  theme(name);
  try { localStorage.setItem("theme", name); } catch { /* private window */ }
});

let stored = null;
try { stored = localStorage.getItem("theme"); } catch { /* private window */ }
const system = matchMedia("(prefers-color-scheme: dark)");
theme(stored || (system.matches ? "dark" : "light"));
system.addEventListener("change", () => { if (!stored) theme(system.matches ? "dark" : "light"); });
window.addEventListener("resize", () => { graph.draw(); $("cross").hidden = true; });
play();
poll();
