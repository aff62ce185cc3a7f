/* Draws the plots of pyexp's page as SVG, from the JSON beside them. Nothing is fetched, and no text becomes markup. */
(function () {
  "use strict";
  var SVG = "http://www.w3.org/2000/svg";
  var WIDTH = 320, HEIGHT = 300, LEFT = 56, RIGHT = 14, TOP = 12, BOTTOM = 44;
  var COLORS = ["#945dd6", "#13adc7", "#f46837", "#48bb78", "#4299e1", "#ed8936", "#f56565"];
  var DASHES = ["", "8 8", "8 4", "4 4", "4 2", "2 1", "1 1"];
  var HOVERED = 3000; /* points that get a hint of their own */

  function make(name, attributes, parent, text) {
    var node = document.createElementNS(SVG, name);
    for (var key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  }
  function html(name, parent, text, style) {
    var node = document.createElement(name);
    if (text !== undefined) node.textContent = text;
    if (style) node.style.cssText = style;
    parent.appendChild(node);
    return node;
  }
  function color(rev) { return COLORS[rev % COLORS.length]; }
  function shown(value) {
    if (typeof value !== "number") return value !== null && typeof value === "object" ? JSON.stringify(value) : String(value);
    var size = Math.abs(value);
    return size !== 0 && (size >= 1e6 || size < 1e-3) ? value.toExponential(2) : String(+value.toPrecision(6));
  }
  function isNumber(value) {
    return value !== null && value !== "" && typeof value !== "boolean" && isFinite(Number(value));
  }
  function distinct(values) {
    var seen = new Set(), found = [];
    values.forEach(function (value) { if (!seen.has(String(value))) { seen.add(String(value)); found.push(String(value)); } });
    return found;
  }
  function inOrder(names) {
    return names.every(isNumber) ? names.sort(function (a, b) { return a - b; }) : names.sort();
  }

  /* An axis: numbers where all values are, else names in a row. */
  function scale(values, from, to, zero) {
    var there = values.filter(function (value) { return value !== null && value !== undefined && value !== ""; });
    if (there.length && there.every(isNumber)) {
      var low = zero ? 0 : Infinity, high = zero ? 0 : -Infinity;
      there.forEach(function (value) { low = Math.min(low, value); high = Math.max(high, value); });
      if (low === high) { low -= low ? Math.abs(low) * 0.1 : 1; high += high ? Math.abs(high) * 0.1 : 1; }
      var step = Math.pow(10, Math.floor(Math.log10((high - low) / 4)));
      [5, 2].some(function (times) { if ((high - low) / (step * times) >= 4) { step *= times; return true; } return false; });
      low = Math.floor(low / step) * step; high = Math.ceil(high / step) * step;
      var ticks = [];
      for (var i = 0; i <= Math.round((high - low) / step) && i < 50; i++) ticks.push(low + i * step);
      var at = function (value) { return isNumber(value) ? from + (to - from) * (value - low) / (high - low) : NaN; };
      return { at: at, ticks: ticks.map(function (tick) { return { at: at(tick), text: shown(tick) }; }) };
    }
    var names = inOrder(distinct(there)), place = new Map();
    if (from > to) names.reverse(); /* from above to below */
    names.forEach(function (name, i) { place.set(name, i); });
    var band = (to - from) / Math.max(names.length, 1);
    var byName = function (value) { return place.has(String(value)) ? from + band * (place.get(String(value)) + 0.5) : NaN; };
    var every = Math.ceil(names.length / 12);
    return { at: byName, ticks: names.filter(function (_, i) { return i % every === 0; }).map(function (name) {
      return { at: byName(name), text: name };
    }) };
  }
  function cut(text, most) { return text.length > most ? text.slice(0, most - 1) + "…" : text; }

  function frame(box, plot, width, height, left) {
    var svg = make("svg", { width: width, height: height, viewBox: "0 0 " + width + " " + height, "font-family": "sans-serif", "font-size": 11 });
    box.appendChild(svg);
    make("text", { x: (left + width - RIGHT) / 2, y: height - 8, "text-anchor": "middle", "font-weight": "bold" }, svg, cut(plot.xLabel, 60));
    var y = (TOP + height - BOTTOM) / 2;
    make("text", { x: 12, y: y, "text-anchor": "middle", "font-weight": "bold", transform: "rotate(-90 12 " + y + ")" }, svg, cut(plot.yLabel, 50));
    return svg;
  }
  function axes(svg, xs, ys, width, height) {
    xs.ticks.forEach(function (tick) {
      make("line", { x1: tick.at, x2: tick.at, y1: TOP, y2: height - BOTTOM, stroke: "#ddd" }, svg);
      make("text", { x: tick.at, y: height - BOTTOM + 14, "text-anchor": "middle" }, svg, cut(tick.text, 10));
    });
    ys.ticks.forEach(function (tick) {
      make("line", { x1: LEFT, x2: width - RIGHT, y1: tick.at, y2: tick.at, stroke: "#ddd" }, svg);
      make("text", { x: LEFT - 4, y: tick.at + 4, "text-anchor": "end" }, svg, cut(tick.text, 8));
    });
    make("rect", { x: LEFT, y: TOP, width: width - LEFT - RIGHT, height: height - TOP - BOTTOM, fill: "none", stroke: "#888" }, svg);
  }
  function legend(box, plot, dashes) {
    var list = html("div", box, undefined, "font-size:12px");
    plot.revs.forEach(function (rev, i) {
      html("span", list, "● ", "color:" + color(i));
      html("span", list, rev + "  ", "margin-right:8px");
    });
    if (!dashes) return;
    plot.keys.forEach(function (key, i) {
      var line = html("div", list);
      var svg = make("svg", { width: 34, height: 8 });
      line.appendChild(svg);
      make("line", { x1: 0, x2: 32, y1: 4, y2: 4, stroke: "#444", "stroke-width": 2, "stroke-dasharray": DASHES[i % DASHES.length] }, svg);
      html("span", line, " " + key);
    });
  }
  /* The rows of each revision and series: [x, y, rev, key]. */
  function groups(rows) {
    var found = new Map();
    rows.forEach(function (row) {
      var name = row[2] + " " + row[3];
      if (!found.has(name)) found.set(name, { rev: row[2], key: row[3], rows: [] });
      found.get(name).rows.push(row);
    });
    return Array.from(found.values());
  }
  function hint(plot, row) {
    return plot.revs[row[2]] + (plot.keys.length ? "\n" + plot.keys[row[3]] : "") +
      "\n" + plot.xLabel + ": " + shown(row[0]) + "\n" + plot.yLabel + ": " + shown(row[1]);
  }

  /* Local linear regression over the nearest part of the points, near ones weighing more. */
  function smoothed(points, part) {
    var every = Math.ceil(points.length / 600); /* a picture shows no more */
    points = points.filter(function (_, i) { return i % every === 0 || i === points.length - 1; });
    var count = Math.max(2, Math.round(points.length * part)), first = 0;
    if (count < 3) return points;
    return points.map(function (point) {
      while (first + count < points.length && points[first + count].x - point.x < point.x - points[first].x) first++;
      var far = Math.max(point.x - points[first].x, points[first + count - 1].x - point.x) || 1;
      var w = 0, wx = 0, wy = 0, wxx = 0, wxy = 0;
      for (var j = first; j < first + count; j++) {
        var near = points[j], t = Math.min(1, Math.abs(near.x - point.x) / (far * 1.0001)), weight = Math.pow(1 - t * t * t, 3), dx = near.x - point.x;
        w += weight; wx += weight * dx; wy += weight * near.y; wxx += weight * dx * dx; wxy += weight * dx * near.y;
      }
      var spread = w * wxx - wx * wx;
      return { x: point.x, y: spread > 1e-12 ? (wy * wxx - wx * wxy) / spread : wy / w };
    });
  }
  function path(points) {
    var text = "", open = false;
    points.forEach(function (point) {
      var drawn = isFinite(point.x) && isFinite(point.y);
      if (drawn) text += (open ? "L" : "M") + point.x.toFixed(1) + " " + point.y.toFixed(1);
      open = drawn;
    });
    return text;
  }

  function lines(box, plot) {
    var xs = scale(plot.rows.map(function (row) { return row[0]; }), LEFT, WIDTH - RIGHT);
    var ys = scale(plot.rows.map(function (row) { return row[1]; }), HEIGHT - BOTTOM, TOP);
    var svg = frame(box, plot, WIDTH, HEIGHT, LEFT);
    axes(svg, xs, ys, WIDTH, HEIGHT);
    var redraws = [];
    groups(plot.rows).forEach(function (group) {
      var points = group.rows.map(function (row) { return { x: xs.at(row[0]), y: ys.at(row[1]), row: row }; });
      points.sort(function (a, b) { return a.x - b.x; });
      var look = { fill: "none", stroke: color(group.rev), "stroke-dasharray": DASHES[group.key % DASHES.length] };
      var line = make("path", Object.assign({ d: path(points), "stroke-width": 2 }, look), svg);
      if (plot.kind === "smooth") {
        make("path", Object.assign({ d: path(points), opacity: 0.25 }, look), svg);
        var whole = points.filter(function (point) { return isFinite(point.x) && isFinite(point.y); });
        redraws.push(function (part) { line.setAttribute("d", path(part > 0.001 ? smoothed(whole, part) : points)); });
      }
      if (plot.rows.length > HOVERED) return;
      points.forEach(function (point) {
        if (!isFinite(point.x) || !isFinite(point.y)) return;
        make("title", {}, make("circle", { cx: point.x, cy: point.y, r: points.length > 60 ? 3 : 2.5, fill: color(group.rev), "fill-opacity": points.length > 60 ? 0 : 0.7 }, svg), hint(plot, point.row));
      });
    });
    if (redraws.length && plot.rows.length > 2) {
      var label = html("label", box, "smooth ", "font-size:12px;display:block");
      var slider = html("input", label);
      slider.type = "range"; slider.min = 0.001; slider.max = 1; slider.step = 0.001; slider.value = 0.001;
      slider.addEventListener("input", function () { redraws.forEach(function (redraw) { redraw(Number(slider.value)); }); });
    }
    legend(box, plot, plot.keys.length > 0);
  }

  var SHAPES = [
    function (x, y) { return "M" + (x - 3) + " " + y + "a3 3 0 1 0 6 0a3 3 0 1 0 -6 0"; },
    function (x, y) { return "M" + (x - 3) + " " + (y - 3) + "h6v6h-6z"; },
    function (x, y) { return "M" + x + " " + (y - 4) + "l4 7h-8z"; },
    function (x, y) { return "M" + x + " " + (y - 4) + "l4 4l-4 4l-4 -4z"; }
  ];
  function points(box, plot) {
    var xs = scale(plot.rows.map(function (row) { return row[0]; }), LEFT, WIDTH - RIGHT);
    var ys = scale(plot.rows.map(function (row) { return row[1]; }), HEIGHT - BOTTOM, TOP);
    var svg = frame(box, plot, WIDTH, HEIGHT, LEFT);
    axes(svg, xs, ys, WIDTH, HEIGHT);
    plot.rows.forEach(function (row) {
      var shift = plot.kind === "jitter" ? function () { return (Math.random() - 0.5) * 20; } : function () { return 0; };
      var x = xs.at(row[0]) + shift(), y = ys.at(row[1]) + shift();
      if (!isFinite(x) || !isFinite(y)) return;
      var mark = make("path", { d: SHAPES[row[3] % SHAPES.length](x, y), fill: "transparent", stroke: color(row[2]) }, svg);
      if (plot.rows.length <= HOVERED) make("title", {}, mark, hint(plot, row));
    });
    legend(box, plot, false);
    if (plot.keys.length) html("div", box, plot.keys.map(function (key, i) { return ["○", "□", "△", "◇"][i % 4] + " " + key; }).join("   "), "font-size:12px");
  }

  function heat(box, plot) {
    var most = 0;
    var counted = groups(plot.rows).map(function (group) {
      var cells = new Map(), sums = new Map();
      group.rows.forEach(function (row) {
        var name = JSON.stringify([String(row[0]), String(row[1])]);
        cells.set(name, (cells.get(name) || 0) + 1);
        sums.set(String(row[1]), (sums.get(String(row[1])) || 0) + 1);
        most = Math.max(most, cells.get(name));
      });
      return { group: group, cells: cells, sums: sums };
    });
    counted.forEach(function (one) {
      var part = html("div", box, undefined, "display:inline-block;vertical-align:top");
      var name = plot.revs[one.group.rev] + (plot.keys.length ? " " + plot.keys[one.group.key] : "");
      html("div", part, name, "text-align:center;font-size:12px");
      var svg = frame(part, plot, WIDTH, HEIGHT, LEFT);
      var xs = inOrder(distinct(one.group.rows.map(function (row) { return row[0]; })));
      var ys = inOrder(distinct(one.group.rows.map(function (row) { return row[1]; })));
      var w = (WIDTH - LEFT - RIGHT) / xs.length, h = (HEIGHT - TOP - BOTTOM) / ys.length;
      xs.forEach(function (x, i) {
        ys.forEach(function (y, j) {
          var count = one.cells.get(JSON.stringify([x, y])) || 0;
          var value = plot.kind === "heat_normalized" ? count / one.sums.get(y) : count;
          var depth = plot.kind === "heat_normalized" ? value : count / most;
          var text = plot.kind === "heat_normalized" ? value.toFixed(2) : String(count);
          var cell = make("rect", { x: LEFT + i * w, y: TOP + j * h, width: w, height: h, stroke: "white", fill: "hsl(210,70%," + (96 - 62 * depth) + "%)" }, svg);
          make("title", {}, cell, plot.xLabel + ": " + x + "\n" + plot.yLabel + ": " + y + "\n" + text);
          if (w >= 22 && h >= 12) make("text", { x: LEFT + (i + 0.5) * w, y: TOP + (j + 0.5) * h + 4, "text-anchor": "middle", "pointer-events": "none", fill: depth > 0.5 ? "white" : "black" }, svg, text);
        });
      });
      xs.forEach(function (x, i) { make("text", { x: LEFT + (i + 0.5) * w, y: HEIGHT - BOTTOM + 14, "text-anchor": "middle" }, svg, cut(x, Math.max(3, Math.floor(w / 6)))); });
      ys.forEach(function (y, j) { make("text", { x: LEFT - 4, y: TOP + (j + 0.5) * h + 4, "text-anchor": "end" }, svg, cut(y, 7)); });
    });
  }

  function bars(box, plot) {
    (plot.keys.length ? plot.keys : [""]).forEach(function (key, number) {
      var rows = plot.rows.filter(function (row) { return !plot.keys.length || row[3] === number; });
      var part = html("div", box, undefined, "display:inline-block;vertical-align:top");
      if (key) html("div", part, key, "text-align:center;font-size:12px");
      var names = inOrder(distinct(rows.map(function (row) { return row[1]; })));
      if (plot.kind === "bars_sorted") {
        var best = new Map();
        rows.forEach(function (row) { best.set(String(row[1]), Math.max(best.has(String(row[1])) ? best.get(String(row[1])) : -Infinity, Number(row[0]))); });
        names.sort(function (a, b) { return best.get(b) - best.get(a); });
      }
      var left = 120, height = TOP + BOTTOM + Math.max(120, names.length * (8 + 10 * plot.revs.length)), width = WIDTH + 80;
      var svg = frame(part, plot, width, height, left);
      var xs = scale(rows.map(function (row) { return row[0]; }), left, width - RIGHT, true);
      xs.ticks.forEach(function (tick) {
        make("line", { x1: tick.at, x2: tick.at, y1: TOP, y2: height - BOTTOM, stroke: "#ddd" }, svg);
        make("text", { x: tick.at, y: height - BOTTOM + 14, "text-anchor": "middle" }, svg, cut(tick.text, 10));
      });
      var band = (height - TOP - BOTTOM) / Math.max(names.length, 1), bar = band * 0.8 / plot.revs.length, zero = xs.at(0);
      names.forEach(function (name, i) { make("text", { x: left - 4, y: TOP + (i + 0.5) * band + 4, "text-anchor": "end" }, svg, cut(name, 16)); });
      rows.forEach(function (row) {
        var at = xs.at(row[0]), i = names.indexOf(String(row[1]));
        if (!isFinite(at)) return;
        var mark = make("rect", { x: Math.min(at, zero) || left, y: TOP + i * band + band * 0.1 + row[2] * bar, width: Math.abs(at - (zero || left)), height: bar, fill: color(row[2]) }, svg);
        make("title", {}, mark, hint(plot, row));
      });
    });
    legend(box, plot, false);
  }

  var KINDS = { line: lines, smooth: lines, point: points, jitter: points, heat: heat, heat_normalized: heat, bars: bars, bars_sorted: bars };

  function draw() {
    document.querySelectorAll("script.pyexp-plot").forEach(function (script) {
      var box = script.parentNode, plot = JSON.parse(script.textContent);
      if (plot.spec) { /* somebody's own template: Vega draws it */
        var place = html("div", box);
        if (window.vegaEmbed) {
          /* ast: expressions are interpreted, never compiled into code. */
          window.vegaEmbed(place, plot.spec, { ast: true }).catch(function (error) { place.textContent = String(error); });
        } else {
          place.textContent = "This plot has a template of its own, and Vega, which draws it, could not be loaded from the network.";
        }
        return;
      }
      html("div", box, plot.title, "text-align:center;font-weight:bold;margin:4px");
      KINDS[plot.kind](box, plot);
    });
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", draw);
  else draw();
})();
