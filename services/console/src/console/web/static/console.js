// The loss curves: one chart a model, from the columns that the server sends. Everything else is HTML from the server.
"use strict";

const folder = document.getElementById("charts");
const live = document.getElementById("live");
const charts = new Map();
const dashes = { "rate of the last 24 h": { steps: [4, 4], word: "dashed" }, "base rate": { steps: [1, 4], word: "dotted" } };
const toneOf = { drift: "--hot", fault: "--hot", retrain: "--cold", "rolled back": "--hot" };

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Vertical lines where something happened, each with its word; words of neighbours stand below each other.
function markers(shown) {
  return (plot) => {
    const { ctx, bbox } = plot;
    const unit = devicePixelRatio;
    const ends = [];
    ctx.save();
    ctx.font = `${12 * unit}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "top";
    for (const { at, label } of shown.chart.markers) {
      const x = plot.valToPos(at, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) continue;
      ctx.strokeStyle = ctx.fillStyle = css(toneOf[label] || "--good");
      ctx.setLineDash([5 * unit, 4 * unit]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      const width = ctx.measureText(label).width;
      const left = x + 4 * unit + width > bbox.left + bbox.width ? x - width - 4 * unit : x + 4 * unit;
      let row = ends.findIndex((end) => end < left);
      if (row < 0) row = ends.length;
      ends[row] = left + width + 6 * unit;
      ctx.fillText(label, left, bbox.top + (2 + 15 * row) * unit);
    }
    ctx.restore();
  };
}

// Versions are drawn through and in colours, the floors they are held to in grey.
function line(series, place) {
  const isVersion = series.label.startsWith("version");
  return {
    label: series.label,
    stroke: css(isVersion ? `--curve${place % 6}` : "--soft"),
    dash: (dashes[series.label] || {}).steps,
    width: isVersion ? 2 : 1.5,
    points: { show: isVersion, size: 5 },
    value: (plot, value) => (value === null || value === undefined ? "–" : value.toFixed(4)),
  };
}

// Days in UTC, with the hour where ticks are closer than a day.
function dates(plot, ticks) {
  const byDay = ticks.every((tick) => tick % 86400 === 0);
  return ticks.map((tick) => {
    const moment = new Date(tick * 1000);
    const day = moment.toLocaleDateString("en-GB", { timeZone: "UTC", day: "numeric", month: "short" });
    return byDay || tick % 86400 === 0 ? day : moment.toISOString().slice(11, 16);
  });
}

// Whoever points nowhere reads the last window.
function readLast(plot) {
  if (plot.cursor.idx === null || plot.cursor.idx === undefined) plot.setLegend({ idx: plot.data[0].length - 1 }, false);
}

function made(shown) {
  const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 } };
  const options = {
    width: shown.box.clientWidth,
    height: 260,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    axes: [{ ...axis, space: 70, values: dates }, { ...axis, size: 56 }],
    scales: { x: { range: (plot, from, to) => [from - (to - from || 86400) * 0.03, to + (to - from || 86400) * 0.03] } },
    series: [{ label: "window closed", value: "{YYYY}-{MM}-{DD} {HH}:{mm}" }, ...shown.chart.series.map(line)],
    legend: { markers: { dash: (plot, place) => (dashes[shown.chart.series[place - 1].label] || {}).word || "solid" } },
    hooks: { draw: [markers(shown)], ready: [readLast], setData: [readLast], setCursor: [readLast] },
  };
  return new uPlot(options, columns(shown.chart), shown.box);
}

function columns(chart) {
  return [chart.times, ...chart.series.map((series) => series.values)];
}

function names(chart) {
  return chart.series.map((series) => series.label).join("\n");
}

function draw(shown) {
  if (shown.plot) shown.plot.destroy();
  shown.drawn = names(shown.chart);
  shown.plot = made(shown);
}

function show(chart) {
  if (!chart.times.length) return;
  let shown = charts.get(chart.model);
  if (!shown) {
    shown = { box: document.createElement("div"), plot: null, drawn: "" };
    shown.box.className = "chart";
    shown.box.appendChild(document.createElement("h3")).textContent = `${chart.model}: ${chart.signal}`;
    folder.querySelectorAll(".empty").forEach((node) => node.remove());
    folder.appendChild(shown.box);
    charts.set(chart.model, shown);
    new ResizeObserver(() => shown.plot && shown.plot.setSize({ width: shown.box.clientWidth, height: 260 })).observe(shown.box);
  }
  shown.chart = chart;
  // New points move the lines; only another set of lines needs another chart.
  if (shown.drawn === names(chart)) shown.plot.setData(columns(chart));
  else draw(shown);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach(draw));

function say(words, tone, silent) {
  live.textContent = words;
  live.className = `pill ${tone}`;
  document.body.classList.toggle("silent", silent);
}

document.body.addEventListener("htmx:sseOpen", (event) => {
  say("live", "good", false);
  event.detail.source.addEventListener("chart", (message) => show(JSON.parse(message.data)));
});
document.body.addEventListener("htmx:sseError", () => say("the console does not answer; trying again", "hot", true));
