// Draws the page's charts and maps from the data beside it, each when it comes into view. Texts come from files: in the
// page they are set as text, in plotly's own markup they are escaped.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const COLOURS = {
    light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b87d00", "#3d9bd1", "#000000", "#8f8700"],
    dark: ["#4da3dc", "#f07a2e", "#2fbf91", "#dd8fbb", "#f0b030", "#8fd0f5", "#e8e9eb", "#f0e442"],
  };
  // Those that plotly has in three dimensions too, each with its outline for the legend.
  const SYMBOLS = ["circle", "square", "diamond", "cross", "x", "circle-open", "square-open", "diamond-open"];
  const OUTLINES = {
    circle: "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z", square: "M-3.6,-3.6H3.6V3.6H-3.6Z", diamond: "M0,-5L5,0L0,5L-5,0Z",
    cross: "M-5,-1.6H-1.6V-5H1.6V-1.6H5V1.6H1.6V5H-1.6V1.6H-5Z",
    x: "M-4.6,-2.4L-2.4,-4.6L0,-2.2L2.4,-4.6L4.6,-2.4L2.2,0L4.6,2.4L2.4,4.6L0,2.2L-2.4,4.6L-4.6,2.4L-2.2,0Z",
  };
  const DASHES = ["solid", "dash", "dot", "dashdot", "longdash", "longdashdot"];
  const STROKES = { solid: "", dash: "7,4", dot: "2,3", dashdot: "7,3,2,3", longdash: "11,4", longdashdot: "11,3,2,3" };
  const MOST_LABELS = 90;
  const MOST_PANELS = 8; // a browser draws no more than 16 pictures with WebGL at a time

  const isDark = window.matchMedia("(prefers-color-scheme: dark)");
  const isCoarse = window.matchMedia("(pointer: coarse)").matches;
  const colour = (index) => COLOURS[isDark.matches ? "dark" : "light"][index % 8];
  const symbol = (index) => SYMBOLS[(index + Math.floor(index / 8)) % 8];
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const faint = (hex, alpha) => `rgba(${[1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)).join(",")},${alpha})`;
  // plotly's own buttons would offer to send the figures to its makers.
  const config = (...buttons) => ({
    displaylogo: false, showSendToCloud: false, plotlyServerURL: "", scrollZoom: false,
    modeBarButtons: [["toImage"], buttons],
  });
  const FLAT = config("zoom2d", "pan2d", "resetScale2d");
  const DEEP = config("resetCameraDefault3d");

  // A plot keeps to its place when the window, or what unfolds beside it, changes.
  const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => {
    const [width, height] = [target.clientWidth, target.clientHeight];
    if (width > 0 && target.layout && width !== target._fullLayout.width) Plotly.relayout(target, { width, height });
  }));

  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function hasWebGL() {
    try {
      const context = document.createElement("canvas").getContext("webgl");
      context?.getExtension("WEBGL_lose_context")?.loseContext();
      return context !== null;
    } catch {
      return false;
    }
  }

  function swatch({ stroke, dash, mark }) {
    const outline = mark === null ? "" : OUTLINES[mark.replace("-open", "")];
    const fill = mark !== null && mark.endsWith("-open") ? "none" : stroke;
    const width = dash === null ? 14 : 30;
    const svg = make("template", {
      innerHTML: `<svg width="${width}" height="12" viewBox="${-width / 2} -6 ${width} 12" aria-hidden="true">
        ${dash === null ? "" : `<path d="M${-width / 2},0H${width / 2}" stroke="${stroke}" stroke-width="2"
          stroke-dasharray="${STROKES[dash]}"/>`}
        <path d="${outline}" fill="${fill}" stroke="${stroke}" stroke-width="1.2"/></svg>`,
    });
    return svg.content.firstChild;
  }

  // The buttons stand above a plot, not on it.
  function layoutOf(more) {
    const [ink, line, card] = [css("--ink"), css("--line"), css("--card")];
    return {
      margin: { l: 60, r: 16, t: 32, b: 46 }, autosize: true, showlegend: false, hovermode: "closest",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, size: 12, family: "system-ui, sans-serif" },
      hoverlabel: { align: "left", bgcolor: card, bordercolor: line, font: { color: ink, size: 12 }, namelength: -1 },
      modebar: { bgcolor: card, color: css("--soft"), activecolor: css("--mark") },
      ...more,
    };
  }

  // Charts ------------------------------------------------------------------------------------------------------------

  const MOST_MARKED = 40; // as in chart.py
  const FEW = 4; // as in figures.py
  const isJoined = (line) => ["curve", "bars", "thread"].includes(line.s);

  function look(line) {
    const isMarked = line.s !== "thread" && line.x.length <= MOST_MARKED;
    const mark = symbol(line.c);
    return {
      stroke: line.s === "thread" ? css("--soft") : colour(line.c),
      dash: isJoined(line) && !line.a ? DASHES[line.d % DASHES.length] : null,
      mark: !isMarked ? null : line.o ? `${mark.replace("-open", "")}-open` : mark,
    };
  }

  function lineTraces(line, numLines) {
    const { stroke, mark } = look(line);
    const text = line.x.map((x, at) => {
      const said = line.t ? line.t[at] : `${x.toLocaleString("en")}: ${Number(line.y[at].toPrecision(5))}`;
      return (line.n ? `<b>${escaped(line.n)}</b><br>` : "") + escaped(said);
    });
    const size = { marks: 10, dots: 5 }[line.s] ?? (line.a ? 11 : 7);
    const trace = {
      type: "scatter", x: line.x, y: line.y, text, hovertemplate: "%{text}<extra></extra>",
      mode: !isJoined(line) ? "markers" : mark !== null ? "lines+markers" : "lines",
      line: { color: stroke, width: line.s === "thread" ? 1.2 : line.d ? 1.8 : 2.2, dash: DASHES[line.d % DASHES.length] },
      marker: {
        color: stroke, size, symbol: mark ?? "circle", opacity: line.s === "dots" ? 0.6 : 1,
        line: { width: line.o ? 2 : 1, color: stroke },
      },
    };
    if (line.s === "thread") return [{ ...trace, hovertemplate: undefined, hoverinfo: "skip" }];
    if (!line.l) return [trace];
    if (line.s !== "curve" || line.x.length === 1) {
      const above = line.h.map((high, at) => high - line.y[at]), below = line.l.map((low, at) => line.y[at] - low);
      trace.error_y = { type: "data", symmetric: false, array: above, arrayminus: below, color: stroke, thickness: 1.5 };
      return [trace];
    }
    const band = {
      type: "scatter", x: [...line.x, ...line.x.slice().reverse()], y: [...line.h, ...line.l.slice().reverse()],
      fill: "toself", fillcolor: faint(stroke, (line.d ? 0.07 : 0.16) * Math.min(1, FEW / numLines)), mode: "lines",
      line: { width: 0 }, hoverinfo: "skip",
    };
    return [band, trace];
  }

  const sideways = ({ x, y, error_y, ...trace }) => ({ ...trace, x: y, y: x, ...(error_y ? { error_x: error_y } : {}) });

  // A name beside a plot, in as many lines as its room asks for; what is longer than three is cut off.
  function inLines(name, width) {
    const lines = [""];
    const pieces = new RegExp(`\\S{1,${width}}`, "gu");
    for (const word of name.match(pieces) ?? [""]) {
      const last = lines[lines.length - 1];
      if (last && last.length + 1 + word.length > width) lines.push(word);
      else lines[lines.length - 1] = last ? `${last} ${word}` : word;
    }
    const shown = lines.length > 3 ? [...lines.slice(0, 2), `${lines[2].slice(0, width - 1)}…`] : lines;
    return shown.map(escaped).join("<br>");
  }

  function chartLegend(chart, entries) {
    const legend = make("div", { className: "legend" });
    for (const { label, drawn, traces } of entries) {
      const button = make("button", { type: "button" }, swatch(drawn), label);
      button.setAttribute("aria-pressed", "true");
      button.addEventListener("click", () => {
        const isShown = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(isShown));
        Plotly.restyle(chart, { visible: isShown }, traces);
      });
      legend.append(button);
    }
    return legend;
  }

  function axesOf(about, ends, width) {
    const axis = { gridcolor: css("--line"), linecolor: css("--line"), zeroline: false, automargin: true };
    const [xRange, yRange] = about.ranges.map((range) => (range ? { range } : {}));
    const xaxis = { ...axis, ...xRange, title: { text: escaped(about.x), standoff: 8 }, showgrid: false, nticks: 8 };
    const yaxis = { ...axis, ...yRange, title: { text: escaped(about.y), standoff: 8 }, nticks: about.sideways ? 6 : 7 };
    if (about.whole) Object.assign(xaxis, ends[1] - ends[0] <= 13 ? { dtick: 1 } : { tickformat: "d" });
    if (about.ticks.length) {
      const room = about.sideways ? (width < 500 ? 14 : 26) : Math.max(6, Math.floor(width / about.ticks.length / 8));
      Object.assign(xaxis, { tickvals: about.ticks.map(([x]) => x), ticktext: about.ticks.map(([, name]) => inLines(name, room)) });
    }
    if (!about.sideways) return { xaxis, yaxis };
    return { xaxis: yaxis, yaxis: { ...xaxis, ...(xaxis.range ? { range: [...xaxis.range].reverse() } : { autorange: "reversed" }) } };
  }

  function drawChart(place) {
    const about = data.charts[place.dataset.chart];
    const area = make("div", { className: "area" });
    if (about.sideways) area.style.height = `${Math.max(300, 110 + 44 * about.ticks.length)}px`;
    const traces = [], entries = [];
    for (const line of about.lines) {
      const found = lineTraces(line, about.lines.length);
      const numbers = found.map((_, at) => traces.length + at);
      // A finished model belongs to the line before it.
      if (line.a && entries.length) entries[entries.length - 1].traces.push(...numbers);
      else if (line.n) entries.push({ label: line.n, drawn: look(line), traces: numbers });
      traces.push(...found);
    }
    const all = about.ranges[0] ?? about.lines.flatMap((line) => line.x);
    const ends = [all.reduce((a, b) => Math.min(a, b), Infinity), all.reduce((a, b) => Math.max(a, b), -Infinity)];
    about.levels.forEach(([label, y], at) => {
      const dash = DASHES[1 + (at % (DASHES.length - 1))];
      entries.push({ label, drawn: { stroke: css("--soft"), dash, mark: null }, traces: [traces.length] });
      traces.push({
        type: "scatter", x: ends, y: [y, y], mode: "lines", line: { color: css("--soft"), width: 1.4, dash },
        text: [0, 0].map(() => escaped(label)), hovertemplate: "%{text}<extra></extra>",
      });
    });
    place.replaceChildren(area, ...(entries.length > 1 ? [chartLegend(area, entries)] : []));
    const layout = layoutOf({ ...axesOf(about, ends, place.clientWidth), dragmode: isCoarse ? false : "zoom" });
    Plotly.newPlot(area, about.sideways ? traces.map(sideways) : traces, layout, FLAT);
    sizes.observe(area);
  }

  // Maps --------------------------------------------------------------------------------------------------------------

  // Long texts keep what is around the word.
  function cut([text, begin, end], most) {
    const letters = Array.from(text);
    const from = Math.max(0, begin - most), to = Math.min(letters.length, end + most);
    const [before, after] = [from > 0 ? "…" : "", to < letters.length ? "…" : ""];
    return [before, letters.slice(from, begin), letters.slice(begin, end), letters.slice(end, to), after];
  }

  // Lines of at most `width` letters in plotly's markup, the word bold and underlined.
  function wrapped(row, width) {
    const [before, left, word, right, after] = cut(row, 140);
    const letters = [...before, ...left, ...word, ...right, ...after];
    const [begin, end] = [before.length + left.length, before.length + left.length + word.length];
    let shown = "", line = 0, at = 0;
    for (const part of letters.join("").split(/(\s+)/)) {
      const length = Array.from(part).length;
      if (line > 0 && line + length > width) [shown, line] = [shown + "<br>", 0];
      for (const letter of Array.from(part)) {
        if (line > 0 && line % width === 0) [shown, line] = [shown + "<br>", 0];
        const isMarked = at >= begin && at < end;
        shown += isMarked ? `<b><u>${escaped(letter)}</u></b>` : escaped(letter);
        [line, at] = [line + 1, at + 1];
      }
    }
    return shown.replaceAll("</u></b><b><u>", "");
  }

  function nearestLayer(panel, wanted) {
    const layers = Object.keys(panel.layers).map(Number).sort((a, b) => a - b);
    return layers.filter((layer) => layer <= wanted).pop() ?? layers[0];
  }

  function pointTraces(points, projection, view, hidden, width) {
    const axes = view === "pca3" ? 3 : 2;
    const flat = view === "tsne" ? projection.tsne : projection.pca;
    const stride = view === "tsne" ? 2 : 3;
    const withLabels = points.rows.some((row) => row[4]) && points.rows.length <= MOST_LABELS;
    return points.groups.flatMap((group, number) => {
      if (hidden.has(group)) return [];
      const rows = points.rows.flatMap((row, at) => (row[3] === number ? [at] : []));
      const along = (axis) => rows.map((at) => flat[at * stride + axis]);
      const texts = rows.map((at) => (group ? `<i>${escaped(group)}</i><br>` : "") + wrapped(points.rows[at], width));
      return [{
        type: axes === 3 ? "scatter3d" : "scatter", x: along(0), y: along(1), ...(axes === 3 ? { z: along(2) } : {}),
        mode: withLabels ? "markers+text" : "markers", text: rows.map((at) => escaped(points.rows[at][4])),
        textposition: "top center", textfont: { size: 10 }, customdata: rows, hovertext: texts,
        hovertemplate: "%{hovertext}<extra></extra>",
        marker: {
          color: colour(number), symbol: symbol(number), size: axes === 3 ? 4.5 : rows.length > 300 ? 6 : 8, opacity: 0.85,
          line: { width: axes === 3 ? 0 : 0.6, color: symbol(number).endsWith("open") ? colour(number) : css("--card") },
        },
      }];
    });
  }

  // One scale for all axes, the longest as long as the box.
  function proportions(flat) {
    const sizes = [0, 1, 2].map((axis) => {
      const along = flat.filter((_, at) => at % 3 === axis);
      return Math.max(...along) - Math.min(...along);
    });
    const most = Math.max(...sizes) || 1;
    const [x, y, z] = sizes.map((size) => Math.max((1.25 * size) / most, 0.1));
    return { x, y, z };
  }

  function mapLayout(view, projection) {
    const bare = { showticklabels: false, zeroline: false, gridcolor: css("--line"), title: { text: "" }, ticks: "" };
    if (view !== "pca3") {
      const names = view === "tsne" ? ["", ""] : ["first coordinate", "second coordinate"];
      return layoutOf({
        margin: { l: 26, r: 10, t: 10, b: 28 }, dragmode: isCoarse ? false : "pan",
        xaxis: { ...bare, title: { text: names[0], font: { size: 11 }, standoff: 4 } },
        yaxis: { ...bare, title: { text: names[1], font: { size: 11 }, standoff: 4 }, scaleanchor: "x" },
      });
    }
    const axis = (number) => ({ ...bare, title: { text: `${number}`, font: { size: 12 } }, showspikes: false, backgroundcolor: "rgba(0,0,0,0)" });
    const scene = { xaxis: axis(1), yaxis: axis(2), zaxis: axis(3), aspectmode: "manual", aspectratio: proportions(projection.pca), uirevision: "kept", dragmode: "orbit" };
    return layoutOf({ margin: { l: 0, r: 0, t: 0, b: 0 }, scene });
  }

  class Maps {
    constructor(place) {
      this.place = place;
      this.all = data.maps[place.dataset.maps];
      this.map = this.all.maps[0];
      this.view = "pca2";
      this.layer = Infinity;
      this.models = new Set(this.all.shown.slice(0, 4));
      this.hidden = new Set();
      this.panels = make("div", { className: "panels" });
      this.legend = make("div", { className: "legend" });
      this.reading = make("p", { className: "reading", ariaLive: "polite" }, "Point at a dot to read its text.");
      place.replaceChildren(this.controls(), this.panels, this.legend, this.reading);
      this.choose(0);
    }

    controls() {
      const choice = make("select", {}, ...this.all.maps.map((map, at) => make("option", { value: at }, map.title)));
      choice.addEventListener("change", () => this.choose(Number(choice.value)));
      const option = (value, text, isThere) => make("option", { value, disabled: !isThere }, text);
      const has3d = hasWebGL();
      const hasTsne = this.all.maps.some((map) => map.panels.some((panel) => Object.values(panel.layers).some((one) => one.tsne)));
      this.views = make(
        "select", {}, option("pca2", "PCA, two dimensions", true),
        option("pca3", has3d ? "PCA, three dimensions" : "PCA, three dimensions (needs WebGL, which is off here)", has3d),
        option("tsne", hasTsne ? "t-SNE" : "t-SNE (not computed)", hasTsne),
      );
      this.views.addEventListener("change", () => this.change({ view: this.views.value }));
      this.slider = make("input", { type: "range", min: 0, step: 1 });
      this.number = make("output");
      this.slider.addEventListener("input", () => this.change({ layer: this.layers[Number(this.slider.value)] }));
      this.ticks = make("fieldset", { ariaLabel: "models" });
      const controls = make("div", { className: "controls" });
      if (this.all.maps.length > 1) controls.append(make("label", {}, "Map", choice));
      controls.append(make("label", {}, "View", this.views), make("label", {}, "Layer", this.slider, this.number), this.ticks);
      return controls;
    }

    choose(number) {
      this.map = this.all.maps[number];
      const layers = new Set(this.map.panels.flatMap((panel) => Object.keys(panel.layers).map(Number)));
      this.layers = [...layers].sort((a, b) => a - b);
      if (!this.map.panels.some((panel) => this.models.has(panel.model))) this.models.add(this.map.panels[0].model);
      this.slider.max = this.layers.length - 1;
      this.slider.closest("label").hidden = this.layers.length < 2;
      this.hidden.clear();
      this.showTicks();
      this.change({ layer: this.layers.filter((layer) => layer <= this.layer).pop() ?? this.layers[0] });
    }

    showTicks() {
      const boxes = this.map.panels.map(({ model }) => {
        const box = make("input", { type: "checkbox", checked: this.models.has(model) });
        box.addEventListener("change", () => {
          this.models[box.checked ? "add" : "delete"](model);
          this.showTicks();
          this.change({});
        });
        const isFull = this.map.panels.filter((panel) => this.models.has(panel.model)).length >= MOST_PANELS;
        box.disabled = !box.checked && isFull;
        return make("label", {}, box, model);
      });
      this.ticks.replaceChildren(...(boxes.length > 1 ? boxes : []));
    }

    change(values) {
      Object.assign(this, values);
      this.slider.value = this.layers.indexOf(this.layer);
      this.number.textContent = this.layer;
      this.draw();
    }

    draw() {
      const panels = this.map.panels.filter((panel) => this.models.has(panel.model));
      const frames = [...this.panels.children];
      frames.slice(panels.length).forEach((frame) => this.drop(frame));
      // All stand in their places first, so that each is drawn at its width.
      for (let at = frames.length; at < panels.length; at += 1) {
        this.panels.append(make("div", { className: "panel" }, make("p"), make("div", { className: "area" })));
      }
      panels.forEach((panel, at) => this.drawPanel(this.panels.children[at], panel));
      this.showLegend(panels);
    }

    drawPanel(frame, panel) {
      const [title, area] = frame.children;
      const layer = nearestLayer(panel, this.layer);
      const projection = panel.layers[layer];
      const view = this.view === "tsne" && !projection.tsne ? "pca2" : this.view;
      const points = this.all.points[panel.points];
      const held = projection.variance.slice(0, view === "pca3" ? 3 : 2).reduce((sum, share) => sum + share, 0);
      title.replaceChildren(
        make("b", {}, panel.model), this.layers.length > 1 || layer > 0 ? `, layer ${layer}` : "",
        layer === this.layer ? "" : ` (it has no layer ${this.layer})`,
        view === "tsne" ? ": t-SNE" : held > 0 ? `: ${held.toFixed(0)} % of the variance` : "",
        view === this.view ? "" : " (no t-SNE of it, so PCA)",
      );
      if (area.dataset.view && (area.dataset.view === "pca3") !== (view === "pca3")) Plotly.purge(area);
      area.dataset.view = view;
      const width = Math.max(24, Math.min(60, Math.floor(area.clientWidth / 8)));
      const traces = pointTraces(points, projection, view, this.hidden, width);
      Plotly.react(area, traces, mapLayout(view, projection), view === "pca3" ? DEEP : FLAT).then(() => {
        sizes.observe(area);
        area.removeAllListeners("plotly_hover");
        area.on("plotly_hover", (event) => this.read(points, event.points[0]?.customdata));
      });
    }

    read(points, at) {
      if (at === undefined) return;
      const row = points.rows[at];
      const [before, left, word, right, after] = cut(row, 400);
      const group = points.groups[row[3]];
      this.reading.replaceChildren(
        ...(group ? [make("i", {}, group), ": "] : []), before + left.join(""), make("mark", {}, word.join("")),
        right.join("") + after,
      );
    }

    showLegend(panels) {
      const groups = panels.length ? this.all.points[panels[0].points].groups : [];
      const counted = (number) => this.all.points[panels[0].points].rows.filter((row) => row[3] === number).length;
      const buttons = groups.map((group, number) => {
        const mark = swatch({ stroke: colour(number), dash: null, mark: symbol(number) });
        const button = make("button", { type: "button" }, mark, `${group} (${counted(number)})`);
        button.setAttribute("aria-pressed", String(!this.hidden.has(group)));
        button.addEventListener("click", () => {
          this.hidden[this.hidden.has(group) ? "delete" : "add"](group);
          this.change({});
        });
        return button;
      });
      this.legend.replaceChildren(...(groups.length > 1 || groups[0] ? buttons : []));
    }

    drop(frame) {
      sizes.unobserve(frame.children[1]);
      Plotly.purge(frame.children[1]);
      frame.remove();
    }

    // Three dimensions take one of the browser's few WebGL contexts each, so they are given back out of view.
    leave() {
      if (this.view === "pca3") [...this.panels.children].forEach((frame) => this.drop(frame));
    }
  }

  // Commands ----------------------------------------------------------------------------------------------------------

  // Browsers let a page from disk write to the clipboard, or do not: then the command is marked, to be copied by hand.
  for (const command of document.querySelectorAll("pre.command")) {
    const button = make("button", { type: "button", className: "copy" }, "Copy");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(command.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(command);
        button.textContent = "Marked";
      }
    });
    command.parentElement.after(button);
  }

  // Drawing what comes into view ----------------------------------------------------------------------------------------

  const drawn = new Map();

  function show(place) {
    if (place.dataset.chart !== undefined) {
      if (drawn.has(place)) return;
      drawn.set(place, null);
      drawChart(place);
    } else if (!drawn.has(place)) {
      drawn.set(place, new Maps(place));
    } else if (drawn.get(place).panels.childElementCount === 0) {
      drawn.get(place).draw();
    }
  }

  const observer = new IntersectionObserver(
    (entries) => entries.forEach(({ target, isIntersecting }) => (isIntersecting ? show(target) : drawn.get(target)?.leave())),
    { rootMargin: "300px" },
  );
  const places = document.querySelectorAll("[data-chart], [data-maps]");
  places.forEach((place) => observer.observe(place));
  isDark.addEventListener("change", () => drawn.forEach((maps, place) => (maps ? maps.draw() : drawChart(place))));
  window.addEventListener("beforeprint", () => places.forEach(show));
})();
