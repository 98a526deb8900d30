"use strict";

/** Draws latency (bars, by stage) and frames per second (a line) of the last frames on a canvas. */
class Graph {
  /** @param {HTMLCanvasElement} canvas @param {number} length Frames it goes back. */
  constructor(canvas, length) {
    this.canvas = canvas;
    this.length = length;
    this.samples = [];
  }

  /** @param {number[][]} samples [number, preprocess ms, inference ms, postprocess ms, age ms, fps] in order. */
  add(samples) {
    this.samples = this.samples.concat(samples).slice(-this.length);
  }

  clear() {
    this.samples = [];
  }

  get last() {
    return this.samples.length ? this.samples[this.samples.length - 1][0] : 0;
  }

  /** Median of a function of the last second or so of samples; null without samples. */
  median(value) {
    const values = this.samples.slice(-30).map(value).sort((a, b) => a - b);
    return values.length ? values[values.length >> 1] : null;
  }

  draw() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const ratio = window.devicePixelRatio || 1;
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    const total = (sample) => sample[1] + sample[2] + sample[3];
    const top = Graph.ceiling(Math.max(1, ...this.samples.map(total)));
    const most = Graph.ceiling(Math.max(1, ...this.samples.map((sample) => sample[5])));
    const edge = 14, tall = height - edge - 2, left = 30, wide = width - 2 * left;

    context.strokeStyle = colour("--line");
    context.fillStyle = colour("--muted");
    context.textBaseline = "middle";
    for (const share of [0, 0.5, 1]) {
      const y = Math.round(edge / 2 + tall * (1 - share)) + 0.5;
      context.beginPath();
      context.moveTo(left, y);
      context.lineTo(left + wide, y);
      context.stroke();
      context.textAlign = "right";
      context.fillText(Graph.short(top * share), left - 6, y);
      context.textAlign = "left";
      context.fillText(Graph.short(most * share), left + wide + 6, y);
    }
    const step = wide / this.length, first = this.length - this.samples.length;
    const bar = Math.max(step - (step > 3 ? 1 : 0), 0.75);
    context.fillStyle = colour("--latency");
    this.samples.forEach((sample, index) => {
      const size = tall * total(sample) / top;
      context.fillRect(left + (first + index) * step, edge / 2 + tall - size, bar, size);
    });
    context.strokeStyle = colour("--fps");
    context.lineWidth = 2;
    context.lineJoin = "round";
    context.beginPath();
    this.samples.forEach((sample, index) => {
      context.lineTo(left + (first + index + 0.5) * step, edge / 2 + tall * (1 - sample[5] / most));
    });
    context.stroke();
    context.lineWidth = 1;
  }

  /** The next round number: 1, 2, 4, 5 or 8 times a power of ten, so that half of it is readable too. */
  static ceiling(value) {
    const power = 10 ** Math.floor(Math.log10(value));
    return power * [1, 2, 4, 5, 8, 10].find((digit) => digit * power >= value * 0.999);
  }

  static short(value) {
    return value >= 1000 ? `${value / 1000}k` : String(Math.round(value * 10) / 10);
  }
}
