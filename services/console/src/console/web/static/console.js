// The loss curves: one chart a model, redrawn from the columns that the server sends. Everything else is HTML from the server.
"use strict";

const colours = ["#b3261e", "#1a7f4b", "#1f5fa8", "#8a5a00", "#6a3fb5", "#00796b"];
const charts = new Map();

function css(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Vertical lines where something happened, each with its word.
function markers(list) {
  return (plot) => {
    const context = plot.ctx;
    context.save();
    context.font = "12px system-ui, sans-serif";
    list.forEach((marker, place) => {
      const x = plot.valToPos(marker.at, "x", true);
      if (x < plot.bbox.left || x > plot.bbox.left + plot.bbox.width) return;
      context.strokeStyle = context.fillStyle = css(marker.label === "drift" ? "--hot" : marker.label === "retrain" ? "--cold" : "--good");
      context.setLineDash([5, 4]);
      context.beginPath();
      context.moveTo(x, plot.bbox.top);
      context.lineTo(x, plot.bbox.top + plot.bbox.height);
      context.stroke();
      context.fillText(marker.label, x + 4, plot.bbox.top + 14 + (place % 3) * 14);
    });
    context.restore();
  };
}

function draw(chart, folder) {
  const old = charts.get(chart.model);
  if (old) old.destroy();
  let box = document.getElementById("chart-" + chart.model);
  if (!box) {
    box = document.createElement("div");
    box.id = "chart-" + chart.model;
    folder.appendChild(box);
  }
  const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 } };
  const options = {
    title: chart.model + ": " + chart.signal,
    width: Math.max(320, folder.clientWidth),
    height: 280,
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    axes: [axis, axis],
    series: [{ label: "window closed (UTC)" }].concat(
      chart.series.map((line, place) => ({
        label: line.label,
        stroke: line.label.startsWith("version") ? colours[place % colours.length] : css("--soft"),
        dash: line.label.startsWith("version") ? undefined : [4, 4],
        width: 2,
        spanGaps: true,
        value: (plot, value) => (value === null || value === undefined ? "–" : value.toFixed(4)),
      })),
    ),
    hooks: { draw: [markers(chart.markers)] },
  };
  charts.set(chart.model, new uPlot(options, [chart.times].concat(chart.series.map((line) => line.values)), box));
}

function show(list) {
  const folder = document.getElementById("charts");
  const filled = list.filter((chart) => chart.times.length > 0);
  if (filled.length) folder.querySelectorAll(".empty").forEach((node) => node.remove());
  filled.forEach((chart) => draw(chart, folder));
}

const live = document.getElementById("live");
document.body.addEventListener("htmx:sseOpen", (event) => {
  live.textContent = "live";
  live.className = "pill good";
  event.detail.source.addEventListener("charts", (message) => show(JSON.parse(message.data)));
});
document.body.addEventListener("htmx:sseError", () => {
  live.textContent = "the console does not answer; trying again";
  live.className = "pill hot";
});
