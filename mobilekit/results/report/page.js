"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const whose = new Map(report.results.map((each) => [each.id, each.arrangement]));
  const ORIGINS = ["measured", "virtual", "simulated", "predicted"];
  const ORIGIN_SCALES = {
    color: { domain: ORIGINS, range: ORIGINS.map((name) => `var(--${name})`) },
    symbol: { domain: ORIGINS, range: ["circle", "diamond", "triangle", "square"] },
  };
  const SCALES = {
    ns: [["s", 1e9], ["ms", 1e6], ["µs", 1e3]],
    J: [["kJ", 1e3], ["J", 1], ["mJ", 1e-3], ["µJ", 1e-6]],
    inferences: [["", 1]],
  };
  const LABELS = {
    latency: "latency p50",
    energy_gross: "energy, gross",
    energy_marginal: "energy, marginal",
    charge: "inferences/charge",
    init: "init p50",
  };

  const deviceText = (one) => (one.virtual ? `${one.device} (virtual)` : one.device);
  const arrangementText = (one) =>
    [`${one.model} · ${deviceText(one)} · .${one.format} ${one.precision} ${one.backend}`]
      .concat(one.threads === null ? [] : [`${one.threads}t`])
      .join(" ");
  const originOf = (origin, one) => (origin === "measured" && one.virtual ? "virtual" : origin);
  const shortened = (text, most = 52) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const significant = (value) => Number(value.toPrecision(3)).toLocaleString("en");

  const LOGARITHMIC = { ticks: 6, tickFormat: significant };

  /** The unit that fits most of the values, and a function that scales to it. */
  function scaleOf(values, unit) {
    const sorted = values.map(Math.abs).sort((a, b) => a - b);
    const median = sorted[sorted.length >> 1] ?? 1;
    const sizes = SCALES[unit];
    const [suffix, size] = sizes.find(([, each]) => median >= each) ?? sizes[sizes.length - 1];
    return { suffix, of: (value) => value / size };
  }

  /** A row for each thing, its name to the left, and whatever marks it has. */
  function rowPlot(container, names, { marks, x, ...others }) {
    const shown = names.map((name) => shortened(name));
    const longest = Math.max(4, ...shown.map((name) => name.length));
    return Plot.plot({
      width: container.clientWidth || 960,
      height: 70 + 20 * names.length,
      marginBottom: 45,
      marginLeft: Math.min(20 + longest * 6.4, (container.clientWidth || 960) / 2),
      marginRight: 30,
      x: { grid: true, ...x },
      y: { domain: names.keys(), type: "band", tickFormat: (place) => shown[place], label: null, tickSize: 0 },
      marks,
      style: { fontSize: "12px", overflow: "visible" },
      ...others,
    });
  }

  /** Logarithmic where the values span more than a power of ten and a bit. */
  function xScale(values, label) {
    const positive = values.every((value) => value > 0);
    const isWide = positive && Math.max(...values) / Math.min(...values) > 20;
    return isWide
      ? { type: "log", label: `${label}, logarithmic`, ...LOGARITHMIC }
      : { type: "linear", label, zero: true, nice: true, ...(Math.max(...values) < 1e5 ? {} : { tickFormat: "~s" }) };
  }

  const intervalMark = (rows) =>
    Plot.ruleY(rows.filter((row) => row.low !== null), {
      y: "place", x1: "low", x2: "high", stroke: "origin", strokeWidth: 2.5, strokeOpacity: 0.55,
    });
  const dotMark = (rows) =>
    Plot.dot(rows, {
      y: "place", x: "value", stroke: "origin", fill: "origin", symbol: "origin", r: 4, title: "title",
    });

  function ranking(container, name) {
    const rows = [];
    for (const each of report.repeats) {
      const figure = each.figures.find((one) => one.name === name);
      if (figure) rows.push({ one: each.arrangement, figure });
    }
    const sign = name === "charge" ? -1 : 1;
    rows.sort((a, b) => sign * (a.figure.quantity.value - b.figure.quantity.value));
    const { suffix, of } = scaleOf(rows.map((row) => row.figure.quantity.value), rows[0].figure.unit);
    const points = rows.map(({ one, figure }, place) => ({
      place,
      value: of(figure.quantity.value),
      low: figure.quantity.interval && of(figure.quantity.interval.low),
      high: figure.quantity.interval && of(figure.quantity.interval.high),
      origin: originOf(figure.origin, one),
      title: `${arrangementText(one)}\n${significant(of(figure.quantity.value))} ${suffix}, ${figure.between}`,
    }));
    const label = LABELS[name] + (suffix && ` (${suffix})`);
    const ends = points.flatMap((each) => [each.value, each.low, each.high].filter((end) => end !== null));
    return rowPlot(container, rows.map(({ one }) => arrangementText(one)), {
      marks: [intervalMark(points), dotMark(points)],
      x: xScale(ends, label),
      ...ORIGIN_SCALES,
    });
  }

  function heat(container, name) {
    const best = new Map();
    for (const each of report.repeats) {
      const figure = each.figures.find((one) => one.name === name);
      if (!figure) continue;
      const [device, model] = [deviceText(each.arrangement), each.arrangement.model];
      const key = JSON.stringify([device, model]);
      const value = figure.quantity.value;
      if (!best.has(key) || value < best.get(key).value) best.set(key, { device, model, value, unit: figure.unit });
    }
    const cells = [...best.values()];
    const { suffix, of } = scaleOf(cells.map((each) => each.value), cells[0].unit);
    const values = cells.map((each) => each.value);
    const middle = Math.log(Math.min(...values)) * 0.35 + Math.log(Math.max(...values)) * 0.65;
    const devices = new Set(cells.map((each) => each.device));
    const longest = Math.max(...[...devices].map((each) => shortened(each, 40).length));
    return Plot.plot({
      width: container.clientWidth || 960,
      height: 60 + 34 * devices.size,
      marginLeft: 20 + longest * 7,
      marginTop: 30,
      x: { axis: "top", label: null, tickFormat: (text) => shortened(text, 18), tickSize: 0 },
      y: { label: null, tickFormat: (text) => shortened(text, 40), tickSize: 0 },
      color: { type: "log", scheme: "YlOrBr" },
      marks: [
        Plot.cell(cells, { x: "model", y: "device", fill: "value", inset: 1, title: (each) => `${each.model} on ${each.device}` }),
        Plot.text(cells, {
          x: "model", y: "device",
          text: (each) => `${significant(of(each.value))} ${suffix}`,
          fill: (each) => (Math.log(each.value) > middle ? "white" : "black"),
        }),
      ],
      style: { fontSize: "12px" },
    });
  }

  function ratios(container, place) {
    const comparison = report.comparisons[Number(place)];
    const rows = [];
    for (const figure of comparison.figures) {
      if (!(figure.name in LABELS)) continue;
      figure.sides.forEach((side, number) => {
        if (!side.ratio) return;
        const one = comparison.sides[number];
        const isVirtual = one.virtual || comparison.against.virtual;
        rows.push({
          place: rows.length,
          name: `${LABELS[figure.name]} · ${deviceText(one)} / ${comparison.against.device}`,
          value: side.ratio.value,
          low: side.ratio.interval && side.ratio.interval.low,
          high: side.ratio.interval && side.ratio.interval.high,
          origin: originOf(figure.origin, { virtual: isVirtual }),
          title: `${significant(side.ratio.value)} times`,
        });
      });
    }
    if (!rows.length) return null;
    return rowPlot(container, rows.map((row) => row.name), {
      marks: [Plot.ruleX([1], { strokeDasharray: "4 3" }), intervalMark(rows), dotMark(rows)],
      x: { type: "log", label: `times that of ${comparison.against.device}, logarithmic`, ...LOGARITHMIC },
      ...ORIGIN_SCALES,
    });
  }

  function layers(container) {
    const names = report.profiles.map(({ id }) => {
      const one = whose.get(id);
      return `${one.model} · ${deviceText(one)} · .${one.format}`;
    });
    const rows = report.profiles.flatMap((each, place) =>
      each.profile.types.map((cost) => ({
        place, type: cost.type, share: cost.share * 100,
        title: `${cost.type}: ${significant(cost.share * 100)} %`,
      })));
    return rowPlot(container, names, {
      marks: [Plot.barX(rows, { y: "place", x: "share", fill: "type", title: "title", inset: 0.5 })],
      x: { label: "share of all layers' time (%)" },
      color: { legend: true, scheme: "observable10" },
    });
  }

  function power(container, place) {
    const series = report.powers[Number(place)];
    const start = series.windows[0].started_ns;
    const windows = series.windows.map((each) => ({
      ...each, from: (each.started_ns - start) / 1e9, to: (each.ended_ns - start) / 1e9,
    }));
    const counted = windows.filter((each) => each.power_w !== null);
    const middle = (each) => (each.from + each.to) / 2;
    return Plot.plot({
      width: container.clientWidth || 960,
      height: 280,
      marginTop: 30,
      marginBottom: 45,
      x: { label: "time in the energy phase (s)", grid: true },
      y: { label: `power (W), ${series.origin}`, grid: true, zero: true, nice: true },
      color: {
        domain: ["load", "idle", "does not count"],
        range: ["var(--load)", "var(--idle)", "var(--line)"],
        legend: true,
      },
      marks: [
        Plot.rectX(windows.filter((each) => each.power_w === null), { x1: "from", x2: "to", fill: () => "does not count", fillOpacity: 0.6 }),
        Plot.rect(counted, {
          x1: "from", x2: "to", y1: 0, y2: "power_w", fill: "kind", inset: 0.5,
          title: (each) => `${each.kind}: ${significant(each.power_w)} W, ${each.iterations} inferences`,
        }),
        Plot.ruleX(counted, {
          x: middle,
          y1: (each) => each.power_w - each.half_width_w,
          y2: (each) => each.power_w + each.half_width_w,
          strokeWidth: 1.5,
        }),
        Plot.ruleY([0]),
      ],
      style: { fontSize: "12px" },
    });
  }

  function drift(container) {
    const rows = report.results
      .filter((each) => each.latency_drift !== null)
      .map((each, place) => ({
        place, id: each.id, value: each.latency_drift * 100,
        origin: originOf("measured", each.arrangement),
        title: `${each.id}\n${significant(each.latency_drift * 100)} %`,
      }));
    const most = Math.max(1, ...rows.map((row) => Math.abs(row.value)));
    return rowPlot(container, rows.map((row) => row.id), {
      marks: [Plot.ruleX([0]), dotMark(rows)],
      x: { label: "latency of the second half, over that of the first (%)", domain: [-most, most], nice: true },
      ...ORIGIN_SCALES,
    });
  }

  function accuracy(container) {
    const found = report.results.filter((each) => each.is_usable && each.answer.accuracy && each.answer.latency);
    if (!found.length) return null;
    const { suffix, of } = scaleOf(found.map((each) => each.answer.latency.p50_ns), "ns");
    const points = found.map((each) => ({
      x: of(each.answer.latency.p50_ns),
      y: each.answer.accuracy.device.top1.share * 100,
      low: each.answer.accuracy.device.top1.interval.low * 100,
      high: each.answer.accuracy.device.top1.interval.high * 100,
      origin: originOf("measured", each.arrangement),
      title: arrangementText(each.arrangement),
    }));
    return Plot.plot({
      width: container.clientWidth || 960,
      height: 350,
      marginBottom: 45,
      marginRight: 120,
      x: { ...xScale(points.map((each) => each.x), `latency p50 (${suffix})`), grid: true },
      y: { label: "top 1 on the device (%)", grid: true, nice: true },
      ...ORIGIN_SCALES,
      marks: [
        Plot.ruleX(points, { x: "x", y1: "low", y2: "high", stroke: "origin", strokeOpacity: 0.55, strokeWidth: 2.5 }),
        Plot.dot(points, { x: "x", y: "y", stroke: "origin", fill: "origin", symbol: "origin", r: 4, title: "title" }),
        Plot.text(points, { x: "x", y: "y", text: (each) => shortened(each.title, 40), dy: -12 }),
      ],
      style: { fontSize: "12px", overflow: "visible" },
    });
  }

  const CHARTS = { ranking, heat, ratios, layers, power, drift, accuracy };

  /** Draw each chart that can be seen and is not there yet; a folded one has no width. */
  function drawCharts(within) {
    for (const container of within.querySelectorAll(".chart:empty")) {
      if (container.closest("details:not([open])")) continue;
      const drawn = CHARTS[container.dataset.kind](container, container.dataset.argument);
      if (!drawn) {
        container.remove();
        continue;
      }
      // The chart is one picture with a name; a group of its marks may have none.
      for (const group of drawn.querySelectorAll("g[aria-label]")) group.removeAttribute("aria-label");
      container.append(drawn);
    }
  }

  drawCharts(document);
  for (const each of document.querySelectorAll("details")) {
    each.addEventListener("toggle", () => each.open && drawCharts(each));
  }
  addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details")) each.open = true;
    drawCharts(document);
  });

  const button = document.getElementById("theme");
  const themes = ["system", "dark", "light"];
  button.hidden = false;
  button.addEventListener("click", () => {
    const next = themes[(themes.indexOf(document.documentElement.dataset.theme ?? "system") + 1) % 3];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    button.textContent = `Theme: ${next}`;
  });
})();
