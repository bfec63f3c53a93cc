"use strict";
// Shows what summary.py has put into the page. Texts of logs are anybody's: they become text nodes and attributes, never HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const ROWS = 100, DOTS = 1000, CARDS = 12, SHAPES = 2;
  const PLACES = Array.from({ length: 32 }, (_, at) => at + 1);
  const REST = { [-3]: "var(--other)", [-2]: "var(--unknown)", [-1]: "var(--none)" };

  // ---- elements, numbers, times

  function make(tag, about, ...inside) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(about || {})) {
      if (name === "on") element.addEventListener("click", value);
      else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...inside.filter((each) => each !== undefined && each !== null && each !== "").map((each) => each instanceof Node ? each : String(each)));
    return element;
  }
  const whole = new Intl.NumberFormat("en");
  const count = (number) => whole.format(number);
  const many = (number, one, more) => `${count(number)} ${number === 1 ? one : more}`;
  const score = (value) => value === null || value === undefined ? "" : value.toFixed(3);
  const words = (text) => (text || "").replaceAll("_", " ");
  function octets(number) {
    if (number === null || number === undefined) return "";
    const units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let at = 0;
    while (number >= 999.5 && at < units.length - 1) { number /= 1000; at += 1; }
    return `${at && number < 99.5 ? number.toFixed(1) : Math.round(number)} ${units[at]}`;
  }
  function seconds(value) {
    if (value === null || value === undefined) return "";
    if (value < 1) return `${Math.round(value * 1000)} ms`;
    if (value < 60) return `${value.toFixed(value < 10 ? 2 : 1)} s`;
    const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
    const at = parts.findIndex(([size]) => value >= size), [size, unit] = parts[at];
    const rest = at < 3 ? Math.round((value % size) / parts[at + 1][0]) : 0;
    return `${Math.floor(value / size)} ${unit}${rest ? ` ${rest} ${parts[at + 1][1]}` : ""}`;
  }
  const two = (number) => String(number).padStart(2, "0");
  const local = Intl.DateTimeFormat().resolvedOptions().timeZone || "the reader's zone";
  let utc = false;
  // Of microseconds since 1970; a damaged clock may be past all calendars.
  function when(micros, utcs = utc, fine = false) {
    const date = new Date(micros / 1000);
    if (Number.isNaN(date.getTime()) || Math.abs(date.getUTCFullYear()) > 9999) return `${Math.round(micros / 1e6)} s`;
    const of = (name) => date[(utcs ? "getUTC" : "get") + name]();
    const text = `${of("FullYear")}-${two(of("Month") + 1)}-${two(of("Date"))} ${two(of("Hours"))}:${two(of("Minutes"))}:${two(of("Seconds"))}`;
    return fine ? `${text}.${String(of("Milliseconds")).padStart(3, "0")}` : text;
  }
  const zone = () => utc ? "UTC" : `${local} (UTC${offset()})`;
  function offset() {
    const minutes = -new Date(data.end / 1000).getTimezoneOffset();
    if (!minutes || Number.isNaN(minutes)) return "+0";
    return `${minutes < 0 ? "\u2212" : "+"}${Math.floor(Math.abs(minutes) / 60)}${minutes % 60 ? `:${two(Math.abs(minutes) % 60)}` : ""}`;
  }
  const time = (micros, fine) => make("time", { title: `${when(micros, true, true)} UTC` }, when(micros, utc, fine));
  const end = (host, port) => port === null || port === undefined ? host : host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;

  // ---- flows, by row

  const columns = data.flows, TENTHS = ["service_score", "application_score", "malicious_score", "duration"];
  const TEXTS = { orig_h: "orig_h", resp_h: "orig_h", proto: "proto", service: "service", application: "application", malicious_kind: "malicious_kind",
    status: "status", incident: "incident", model: "model", capture: "capture", conn_state: "conn_state", conn_service: "conn_service" };
  const flows = (columns.uid || []).map((uid, at) => ({ at, uid }));
  let before = 0;
  for (const flow of flows) flow.first = before += columns.first[flow.at];
  for (const name of ["orig_p", "resp_p", "windows", "packets", "malicious", "orig_bytes", "resp_bytes"])
    for (const flow of flows) flow[name] = columns[name] ? columns[name][flow.at] : null;
  for (const name of TENTHS)
    for (const flow of flows) { const value = columns[name] ? columns[name][flow.at] : null; flow[name] = value === null ? null : value / 10000; }
  for (const [name, of] of Object.entries(TEXTS)) {
    const texts = columns[`${of}_texts`] || [];
    for (const flow of flows) { const at = columns[name] ? columns[name][flow.at] : null; flow[name] = at === null ? "" : texts[at]; }
  }
  for (const flow of flows) {
    flow.bytes = flow.orig_bytes === null && flow.resp_bytes === null ? null : (flow.orig_bytes || 0) + (flow.resp_bytes || 0);
    flow.text = null;
  }
  const byUid = new Map(flows.map((flow) => [flow.uid, flow]));
  const complete = data.left_out.flows === 0;
  const has = (name) => flows.some((flow) => flow[name] !== null && flow[name] !== "");
  const hasBytes = has("bytes"), hasDuration = has("duration"), captures = new Set(flows.map((flow) => flow.capture)), several = captures.size > 1;
  // What the names of captures have in common says nothing.
  const paths = [...captures].map((name) => name.split("/")), short = new Map();
  let common = 0;
  while (paths.length > 1 && paths.every((parts) => parts.length > common + 1 && parts[common] === paths[0][common])) common += 1;
  for (const parts of paths) short.set(parts.join("/"), parts.slice(common).join("/"));
  const named = (capture) => make("span", { title: capture }, short.get(capture) || capture);
  const evidence = new Map();
  for (const incident of data.incidents) for (const uid of incident.uids) if (!evidence.has(uid)) evidence.set(uid, incident.id);

  function haystack(flow) {
    if (flow.text === null) {
      flow.text = [flow.uid, end(flow.orig_h, flow.orig_p), end(flow.resp_h, flow.resp_p), flow.proto, flow.service, flow.application, flow.malicious_kind,
        words(flow.malicious_kind), flow.status, flow.incident, flow.capture, flow.conn_state, flow.conn_service].join("\n").toLowerCase();
    }
    return flow.text;
  }
  const EXACT = {
    host: (flow, value) => flow.orig_h === value || flow.resp_h === value,
    port: (flow, value) => String(flow.orig_p) === value || String(flow.resp_p) === value,
    uid: (flow, value) => flow.uid === value,
    incident: (flow, value) => flow.incident === value || evidence.get(flow.uid) === value,
  };

  // ---- what is chosen

  const chosen = { search: "", verdict: "", service: "", application: "", kind: "", span: null };
  const sort = { key: "malicious_score", down: true };
  let rows = ROWS;
  const VERDICTS = {
    "": ["all", () => true],
    flagged: ["flagged malicious", (flow) => flow.malicious],
    incident: ["in an incident", (flow) => flow.incident || evidence.has(flow.uid)],
    harmless: ["not flagged", (flow) => !flow.malicious && flow.status === "ok"],
    none: ["no verdict", (flow) => flow.status !== "ok"],
  };
  const isChosen = () => Object.values(chosen).some((value) => value);

  function filtered() {
    const terms = chosen.search.split(/\s+/).filter(Boolean).map((term) => {
      const not = term.length > 1 && term.startsWith("-"), exact = not ? term.slice(1) : term, text = exact.toLowerCase();
      const [, name, value] = /^([a-z]+):(.*)$/.exec(exact) || [];
      const test = Object.hasOwn(EXACT, name || "") ? (flow) => EXACT[name](flow, value) : (flow) => haystack(flow).includes(text);
      return not ? (flow) => !test(flow) : test;
    });
    const verdict = VERDICTS[chosen.verdict][1], [from, to] = chosen.span || [-Infinity, Infinity];
    return flows.filter((flow) => flow.first >= from && flow.first < to && (!chosen.service || label(flow, "service") === chosen.service)
      && (!chosen.application || label(flow, "application") === chosen.application) && (!chosen.kind || flow.malicious_kind === chosen.kind)
      && verdict(flow) && terms.every((term) => term(flow)));
  }
  const NONE = "no verdict";
  const label = (flow, name) => flow.status !== "ok" ? NONE : flow[name] || NONE;

  // ---- charts

  const css = (at, chart) => at < chart.own ? `var(--c${at})` : REST[at - chart.names.length];
  const config = {
    background: "transparent", font: "system-ui, sans-serif",
    view: { stroke: null },
    axis: { labelColor: "var(--soft)", titleColor: "var(--soft)", gridColor: "var(--line)", domainColor: "var(--line)", tickColor: "var(--line)", labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal" },
  };
  // No program is made of text (ast), no menu; of an axis without flows there is nothing to warn (1: errors alone).
  const DRAWN = { actions: false, renderer: "svg", ast: true, logLevel: 1 };
  const views = {};
  // What a chart says to those who don't see it is in its place's label.
  const hide = (place) => place.querySelector("svg").setAttribute("aria-hidden", "true");
  function embed(id, spec, then) {
    const full = { config, autosize: { type: "fit-x", contains: "padding" }, ...spec };
    return vegaEmbed(byId(id), full, { ...DRAWN, tooltip: { theme: "custom" } }).then((result) => {
      if (views[id]) views[id].finalize();
      views[id] = result.view;
      hide(byId(id));
      if (then) then(result.view);
    }).catch((error) => { console.error(error); });
  }
  // As a clock of 24 hours has it, or a calendar.
  function axis(from, to, tickCount) {
    const days = (to - from) / 86400e6;
    const format = days < 1 / 288 ? "%H:%M:%S" : days < 1 ? "%H:%M" : days < 4 ? "%d %b %H:%M" : days < 366 ? "%d %b" : "%b %Y";
    return { title: null, grid: false, labelOverlap: true, tickCount, format };
  }
  const temporal = () => ({ type: utc ? "utc" : "time", nice: false });

  function stepOf(from, to) {
    return data.steps.find((step) => Math.floor(to / step) - Math.floor(from / step) < data.parts) || data.steps[data.steps.length - 1];
  }
  // Flows by part of the time and name: of all, as summary.py counted, or of those that are chosen.
  function counts(name, found) {
    const chart = data.charts[name];
    if (!isChosen()) return [data.step, chart.counts, data.begin, data.end];
    const [from, to] = chosen.span || [data.begin, data.end], step = stepOf(from, to);
    const index = new Map(chart.names.map((each, at) => [each, at])), sums = new Map();
    for (const flow of found) {
      const text = label(flow, name), at = index.has(text) && (text !== "other" || index.get(text) < chart.own) ? index.get(text) : chart.own;
      const key = `${Math.floor(flow.first / step)},${at}`;
      sums.set(key, (sums.get(key) || 0) + 1);
    }
    return [step, [...sums].map(([key, n]) => [...key.split(",").map(Number), n]), from, to];
  }
  function bars(name, found) {
    const chart = data.charts[name], [step, parts, from, to] = counts(name, found), heights = new Map();
    const span = (part) => ({ t: part * step / 1000, e: (part + 1) * step / 1000 });
    const values = [...parts].sort((a, b) => a[1] - b[1]).map(([part, at, n]) => {
      const low = heights.get(part) || 0;
      heights.set(part, low + n);
      return { ...span(part), low, high: low + n, n, name: chart.names[at], text: words(chart.names[at]),
        from: when(part * step, utc, step < 1e6), to: when((part + 1) * step, utc, step < 1e6) };
    });
    // So that the axis is as long as the time, whatever is chosen.
    for (const part of [Math.floor(from / step), Math.floor(to / step)]) values.push({ ...span(part), low: 0, high: 0, n: 0, name: chart.names[0] });
    return values;
  }
  function timeChart(name, found) {
    const chart = data.charts[name];
    const tip = [["from", "from"], ["to", "to"], ["text", name], ["n", "flows"]].map(([field, title]) => ({ field, title }));
    return embed(`chart-${name}`, {
      data: { name: "table", values: bars(name, found) }, width: "container", height: 170,
      params: [{ name: "brush", select: { type: "interval", encodings: ["x"] } }],
      mark: { type: "rect", stroke: "var(--ground)", strokeWidth: .5 },
      encoding: {
        x: { field: "t", type: "temporal", scale: temporal(), axis: axis(...(chosen.span || [data.begin, data.end]), 6) }, x2: { field: "e" },
        y: { field: "low", type: "quantitative", axis: { title: "flows", tickMinStep: 1, tickCount: 4, format: ",d" } }, y2: { field: "high" },
        color: { field: "name", type: "nominal", legend: null, scale: { domain: chart.names, range: chart.names.map((_, at) => css(at, chart)) } },
        tooltip: tip,
      },
    }, (view) => view.addSignalListener("brush", (_, value) => { dragged = value && value.t && value.t[1] > value.t[0] ? value.t : null; }));
  }
  let dragged = null;
  window.addEventListener("pointerup", () => setTimeout(() => {
    if (!dragged) return;
    const span = dragged.map((each) => Math.round(Number(each) * 1000));
    dragged = null;
    if (flows.some((flow) => flow.first >= span[0] && flow.first < span[1])) { chosen.span = span; draw(true); } else draw(true);
  }));

  function dots(found) {
    const scored = found.filter((flow) => flow.malicious_score !== null);
    const most = scored.length > DOTS ? [...scored].sort((a, b) => b.malicious - a.malicious || b.malicious_score - a.malicious_score).slice(0, DOTS) : scored;
    byId("of-scores").textContent = `of ${most.length < scored.length ? `the ${count(most.length)} most suspicious of ` : ""}${many(scored.length, "flow", "flows")}`;
    return most.map((flow) => ({ t: flow.first / 1000, y: flow.malicious_score, flagged: flow.malicious ? 1 : 0, uid: flow.uid, time: when(flow.first),
      flow: `${end(flow.orig_h, flow.orig_p)} \u2192 ${end(flow.resp_h, flow.resp_p)}`, what: [label(flow, "service"), label(flow, "application")].map(words).join(", "), kind: words(flow.malicious_kind) || "\u2013" }));
  }
  function scoreChart(found) {
    const tip = [["time", "time"], ["flow", "flow"], ["what", "what"], ["kind", "kind"]].map(([field, title]) => ({ field, title }));
    const [from, to] = chosen.span || [data.begin, Math.max(data.end, data.begin + 1000)];
    const x = { field: "t", type: "temporal", scale: temporal(), axis: axis(from, to, 8) };
    // Two rules that nobody sees make the axis as long as the time.
    const ends = { data: { name: "ends", values: [{ t: from / 1000 }, { t: to / 1000 }] }, mark: { type: "rule", opacity: 0 }, encoding: { x } };
    return embed("chart-scores", { width: "container", height: 150, layer: [ends, {
      data: { name: "table", values: dots(found) },
      mark: { type: "circle", opacity: .75, size: 36, cursor: "pointer" },
      encoding: {
        x,
        y: { field: "y", type: "quantitative", scale: { domain: [0, 1] }, axis: { title: "score", tickCount: 5 } },
        color: { field: "flagged", type: "nominal", legend: null, scale: { domain: [0, 1], range: ["var(--other)", "var(--alarm)"] } },
        tooltip: [...tip, { field: "y", title: "score", format: ".3f" }],
      },
    }] }, (view) => view.addEventListener("click", (_, item) => { if (item && item.datum && item.datum.uid) only(`uid:${item.datum.uid}`); }));
  }

  // A window: a bar a packet.
  let shapeOf = null;
  function shape(sizes, times) {
    const sent = sizes.filter((size) => size > 0), got = sizes.filter((size) => size < 0);
    const sum = (values) => Math.abs(values.reduce((a, b) => a + b, 0));
    const text = `${many(sizes.length, "packet", "packets")} in ${seconds(times[times.length - 1] / 1e6)}: ${count(sent.length)} sent (${octets(sum(sent))}), ${count(got.length)} received (${octets(sum(got))})`;
    const place = make("div", { role: "img", "aria-label": `Packets as bars. ${text}` });
    const values = sizes.map((size, at) => ({ i: at + 1, size, of: size > 0 ? "sent" : "received", bytes: Math.abs(size), after: seconds(times[at] / 1e6) }));
    const spec = {
      config, data: { name: "table", values }, width: 205, height: 80, autosize: { type: "pad" },
      mark: { type: "bar" },
      encoding: {
        x: { field: "i", type: "ordinal", axis: null, scale: { domain: PLACES, paddingInner: .2, paddingOuter: 0 } },
        y: { field: "size", type: "quantitative", axis: { title: null, tickCount: 3, format: ",d", grid: false, offset: 2 } },
        color: { field: "of", type: "nominal", legend: null, scale: { domain: ["sent", "received"], range: ["var(--sent)", "var(--got)"] } },
        tooltip: [{ field: "i", title: "packet" }, { field: "of", title: "was" }, { field: "bytes", title: "bytes" }, { field: "after", title: "after" }],
      },
    };
    // The same for all but for the packets: it is compiled once.
    const draws = shapeOf
      ? vegaEmbed(place, { ...shapeOf, data: [{ ...shapeOf.data[0], values }, ...shapeOf.data.slice(1)] }, { mode: "vega", ...DRAWN })
      : vegaEmbed(place, spec, DRAWN).then((result) => { shapeOf = result.vgSpec; });
    draws.then(() => hide(place)).catch((error) => console.error(error));
    return make("div", { class: "shape" }, place, make("p", {}, text));
  }
  function shapes(flow, most) {
    const windows = Object.entries(data.shapes[flow.at] || {}).sort(([a], [b]) => a - b).slice(0, most);
    return windows.map(([window, [sizes, times]]) => {
      const drawn = shape(sizes, times);
      if (Number(window)) drawn.append(make("p", {}, `window ${window}, from the middle of the flow`));
      return drawn;
    });
  }

  // ---- the parts of the page

  function head() {
    byId("title").textContent = document.title;
    const totals = data.totals;
    byId("totals").replaceChildren(...[
      ["flows", count(totals.flows)], ["with a verdict", count(totals.answered)],
      ["flagged malicious", count(totals.flagged), totals.flagged > 0], ["incidents", count(totals.incidents), totals.incidents > 0],
      ["hosts", count(totals.hosts)], totals.bytes === null ? null : ["payload, by conn.log", octets(totals.bytes)],
      ["time", seconds((data.end - data.begin) / 1e6)],
    ].filter(Boolean).map(([name, value, alarm]) => make("div", { class: alarm ? "alarm" : null }, make("dt", {}, name), make("dd", {}, value))));
    const notes = [];
    if (!complete) notes.push(`Listed are the ${count(flows.length)} most suspicious flows. ${many(data.left_out.flows, "flow more is", "flows more are")} only counted: in the figures above, in the charts and the top talkers while nothing is filtered.`);
    if (data.left_out.incidents) notes.push(`Shown are the ${count(data.incidents.length)} surest incidents, ${count(data.left_out.incidents)} more are only counted.`);
    if (data.left_out.shapes) notes.push(`Packets are drawn of the most suspicious windows of captures, not of ${count(data.left_out.shapes)} others.`);
    if (!data.whole) notes.push("Not all of what this page is made of could be read: its end says what.");
    byId("notes").replaceChildren(...notes.map((text) => make("p", { class: "note" }, text)));
  }
  function times() {
    byId("period").replaceChildren(...(data.totals.flows ? [when(data.begin), " to ", when(data.end), `, ${zone()}`,
      ...(utc ? [] : [make("br"), `${when(data.begin, true)} to ${when(data.end, true)} UTC`])] : ["no flows"]));
    const models = data.models.length ? ` Model: ${data.models.join(", ")}.` : "";
    byId("made").textContent = `Made by mmtt ${data.version} on ${when(data.made * 1000)}, ${zone()}.${models} Times are in ${zone()}; UTC where the pointer rests on one.`;
  }

  let cards = CARDS;
  function incidents() {
    const place = byId("incidents");
    if (!data.incidents.length) { place.replaceChildren(make("p", {}, data.totals.incidents ? "" : "None.")); return; }
    place.replaceChildren(...data.incidents.slice(0, cards).map(card));
    if (cards < data.incidents.length)
      place.append(make("p", { class: "more" }, make("button", { type: "button", on: () => { cards += 4 * CARDS; incidents(); } }, `Show more of ${count(data.incidents.length)} incidents`)));
  }
  function card(incident) {
    const members = incident.uids.map((uid) => byUid.get(uid)).filter(Boolean);
    const listed = flows.some((flow) => EXACT.incident(flow, incident.id));
    const fact = (name, ...values) => make("div", {}, make("dt", {}, name), make("dd", {}, ...values));
    const resp = incident.resp_h === undefined ? "many" : end(incident.resp_h, incident.resp_p);
    const drawn = members.flatMap((flow) => shapes(flow, 1)).slice(0, SHAPES);
    return make("article", { class: "incident", id: `incident-${incident.id}` },
      make("div", { class: "top" }, make("h3", {}, `${incident.orig_h || "many"} \u2192 ${resp}`),
        incident.kind ? make("span", { class: "badge" }, words(incident.kind)) : make("span", { class: "dim" }, "kind not known"),
        make("span", { class: "score" }, `score ${score(incident.score)}`)),
      make("p", { class: "reason" }, incident.reason),
      make("dl", { class: "facts" }, fact("connections", count(incident.connections)), fact("from", time(incident.first)), fact("to", time(incident.last)),
        fact("payload", `${octets(incident.orig_bytes)} sent, ${octets(incident.resp_bytes)} received`), fact("state", incident.state), fact("id", incident.id),
        incident.capture && several ? fact("capture", named(incident.capture)) : "",
        members.length ? "" : fact("flows", incident.uids.join(", "))),
      drawn.length ? make("div", { class: "shapes" }, ...drawn) : "",
      listed ? make("button", { type: "button", class: "link", on: () => only(`incident:${incident.id}`) }, "Its flows") : "");
  }

  function legend(name, found) {
    const chart = data.charts[name], sums = chart.names.map(() => 0);
    for (const [, at, n] of counts(name, found)[1]) sums[at] += n;
    byId(`legend-${name}`).replaceChildren(...chart.names.map((text, at) => [text, at]).filter(([text, at]) => sums[at] || chosen[name] === text).map(([text, at]) => {
      const swatch = make("span", { class: "swatch" });
      swatch.style.background = css(at, chart);
      const other = at === chart.own;
      return make("li", {}, swatch, other ? `${text} (${count(sums[at])})` : make("button", { type: "button", class: "link", "aria-pressed": chosen[name] === text ? "true" : "false",
        on: () => { chosen[name] = chosen[name] === text ? "" : text; draw(); } }, words(text)), other ? "" : make("span", { class: "n" }, count(sums[at])));
    }));
    const most = sums.map((n, at) => [n, chart.names[at]]).filter(([n]) => n).sort(([a], [b]) => b - a).slice(0, 5).map(([n, text]) => `${text} ${count(n)}`);
    byId(`chart-${name}`).setAttribute("aria-label", `Flows over time by ${name}, as stacked bars. Most frequent: ${most.join(", ") || "none"}.`);
  }

  function talkers(found) {
    const places = [["orig_h", "Originators"], ["resp_h", "Responders"]];
    byId("talkers").replaceChildren(...places.map(([role, title]) => {
      let list = data.talkers[role];
      if (isChosen()) {
        const sums = new Map();
        for (const flow of found) {
          const sum = sums.get(flow[role]) || [flow[role], 0, 0, null];
          sum[1] += 1; sum[2] += flow.malicious ? 1 : 0;
          if (flow.bytes !== null) sum[3] = (sum[3] || 0) + flow.bytes;
          sums.set(flow[role], sum);
        }
        list = [...sums.values()].sort((a, b) => (b[3] || 0) - (a[3] || 0) || b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).slice(0, 12);
      }
      const bytes = data.totals.bytes !== null;
      return make("div", {}, make("h3", {}, title), make("div", { class: "scroll" }, make("table", {},
        make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "host"), bytes ? make("th", { scope: "col", class: "number" }, "payload") : "",
          make("th", { scope: "col", class: "number" }, "flows"), make("th", { scope: "col", class: "number" }, "flagged"))),
        make("tbody", {}, ...list.map(([host, n, flagged, sum]) => make("tr", {},
          make("td", { class: "end" }, make("button", { type: "button", class: "link", on: () => only(`host:${host}`) }, host || "unset")),
          bytes ? make("td", { class: "number" }, octets(sum) || "\u2013") : "", make("td", { class: "number" }, count(n)),
          make("td", { class: flagged ? "number flagged" : "number dim" }, count(flagged))))))));
    }));
  }

  // The columns of the table: head, value to sort by, cell.
  const scored = (text, value) => text ? [make("span", { class: value === null || text === "unknown" ? "dim" : null }, words(text)), " ", make("span", { class: "dim" }, value === null ? "" : value.toFixed(2))] : [make("span", { class: "dim" }, "\u2013")];
  const COLUMNS = [
    { key: "first", head: "time", cell: (flow) => make("td", { class: "time" }, time(flow.first)) },
    { key: "orig_h", head: "originator", cell: (flow) => make("td", { class: "end" }, end(flow.orig_h, flow.orig_p)) },
    { key: "resp_h", head: "responder", cell: (flow) => make("td", { class: "end" }, `${end(flow.resp_h, flow.resp_p)}/${flow.proto}`) },
    { key: "service", head: "service", cell: (flow) => make("td", {}, ...scored(flow.status === "ok" ? flow.service : words(flow.status), flow.service_score)) },
    { key: "application", head: "application", cell: (flow) => make("td", {}, ...scored(flow.application, flow.application_score)) },
    hasBytes ? { key: "bytes", head: "payload", number: true, cell: (flow) => make("td", { class: "number" }, octets(flow.bytes) || "\u2013") } : null,
    hasDuration ? { key: "duration", head: "duration", number: true, cell: (flow) => make("td", { class: "number" }, seconds(flow.duration) || "\u2013") } : null,
    { key: "malicious_score", head: "malicious", number: true, cell: (flow) => make("td", { class: flow.malicious ? "number flagged" : "number" }, score(flow.malicious_score) || "\u2013") },
    has("malicious_kind") || data.incidents.length ? { key: "malicious_kind", head: "kind", cell: (flow) => make("td", { class: "kind" }, words(flow.malicious_kind), flow.incident || evidence.has(flow.uid) ? make("span", { class: "dim", title: `incident ${flow.incident || evidence.get(flow.uid)}` }, `${flow.malicious_kind ? ", " : ""}incident`) : "") } : null,
    several ? { key: "capture", head: "capture", cell: (flow) => make("td", { class: "end" }, named(flow.capture)) } : null,
  ].filter(Boolean);
  const collator = new Intl.Collator("en", { numeric: true });
  function compare(a, b) {
    const one = a[sort.key], other = b[sort.key];
    const none = (value) => value === null || value === "";
    if (none(one) || none(other)) return none(one) - none(other) || a.first - b.first;
    const by = typeof one === "number" ? one - other : collator.compare(one, other);
    return (sort.down ? -by : by) || b.malicious - a.malicious || a.first - b.first;
  }
  function heads() {
    byId("table").tHead.rows[0].replaceChildren(make("th", { scope: "col" }, make("span", { class: "skip" }, "more")), ...COLUMNS.map((column) => make("th", {
      scope: "col", class: column.number ? "number" : null, "aria-sort": sort.key === column.key ? (sort.down ? "descending" : "ascending") : null,
    }, make("button", { type: "button", "data-key": column.key, on: () => {
      sort.down = sort.key === column.key ? !sort.down : Boolean(column.number); sort.key = column.key; table(found, true);
      byId("table").querySelector(`[data-key="${column.key}"]`).focus();
    } }, column.head), make("span", { class: "printed", "aria-hidden": "true" }, column.head))));
  }
  function table(list) {
    heads();
    const ordered = [...list].sort(compare);
    byId("table").tBodies[0].replaceChildren(...ordered.slice(0, rows).map(line));
    const left = ordered.length - rows;
    byId("more").hidden = left <= 0;
    byId("more").textContent = `Show ${count(Math.min(left, 4 * ROWS))} more`;
    byId("listed").textContent = !flows.length ? "There are none." : ordered.length ? `${left > 0 ? `The first ${count(rows)} of ` : ""}${many(ordered.length, "flow", "flows")}${complete ? "" : ` of the ${count(flows.length)} listed, the most suspicious of ${count(data.totals.flows)}`}${isChosen() ? " that fit the filters" : ""}.` : "No flow fits the filters.";
  }
  function line(flow) {
    const open = make("button", { type: "button", class: "open", "aria-expanded": "false", "aria-label": `More of flow ${flow.uid}`, on: () => {
      const opened = open.getAttribute("aria-expanded") === "true";
      open.setAttribute("aria-expanded", String(!opened));
      if (opened) row.nextSibling.remove(); else row.after(detail(flow));
    } });
    const row = make("tr", {}, make("td", {}, open), ...COLUMNS.map((column) => column.cell(flow)));
    return row;
  }
  function detail(flow) {
    const facts = [["uid", flow.uid], ["first packet with payload", `${when(flow.first, utc, true)}${utc ? "" : ` (${when(flow.first, true, true)} UTC)`}`],
      ["windows", count(flow.windows)], ["packets in them", count(flow.packets)], ["status", words(flow.status)], ["incident", flow.incident || evidence.get(flow.uid)],
      ["payload sent", octets(flow.orig_bytes)], ["received", octets(flow.resp_bytes)], ["duration", seconds(flow.duration)], ["state", flow.conn_state],
      ["protocol by Zeek", flow.conn_service], ["model", flow.model], ["capture", flow.capture]];
    const drawn = shapes(flow, 4);
    return make("tr", { class: "detail" }, make("td", { colspan: COLUMNS.length + 1 },
      make("dl", { class: "facts" }, ...facts.filter(([, value]) => value).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))),
      drawn.length ? make("div", { class: "shapes" }, ...drawn) : ""));
  }

  function about() {
    byId("sources").tBodies[0].replaceChildren(...data.sources.map((source) => make("tr", {}, make("td", {}, source.name),
      make("td", {}, `${source.kind}${source.beside ? ", found beside" : ""}${source.whole ? "" : ", not whole"}`), make("td", { class: "number" }, count(source.rows)))));
    byId("said").replaceChildren(...data.said.map((text) => make("li", {}, text)), ...(data.said_more ? [make("li", {}, `and ${count(data.said_more)} more`)] : []));
  }

  // ---- all of it

  function options(id, list) {
    byId(id).replaceChildren(...list.map(([value, text]) => make("option", { value }, text)));
  }
  function names(name) {
    const sums = new Map();
    for (const flow of flows) { const text = name === "kind" ? flow.malicious_kind : label(flow, name); if (text) sums.set(text, (sums.get(text) || 0) + 1); }
    return [["", "all"], ...[...sums].sort((a, b) => b[1] - a[1]).map(([text, n]) => [text, `${words(text)} (${count(n)})`])];
  }
  let found = flows;
  function draw(anew = false) {
    rows = ROWS;
    found = filtered();
    for (const name of ["search", "verdict", "service", "application", "kind"]) if (byId(name).value !== chosen[name]) byId(name).value = chosen[name];
    byId("count").textContent = isChosen() ? `${count(found.length)} of ${many(flows.length, "flow", "flows")}${complete ? "" : " listed"} fit` : complete ? many(flows.length, "flow", "flows") : `${count(flows.length)} of ${count(data.totals.flows)} flows are listed`;
    byId("span").hidden = !chosen.span;
    if (chosen.span) { byId("span").textContent = `${when(chosen.span[0])} to ${when(chosen.span[1])} \u2715`; byId("span").setAttribute("aria-label", "Show the whole time again"); }
    byId("of").textContent = complete || !isChosen() ? `Flows by when they began, ${zone()}.` : `Flows by when they began, ${zone()}: of those listed alone, as something is filtered.`;
    const ready = ["service", "application"].map((name) => {
      legend(name, found);
      const view = views[`chart-${name}`];
      return anew || !view ? timeChart(name, found) : view.data("table", bars(name, found)).runAsync();
    });
    ready.push(anew || !views["chart-scores"] ? scoreChart(found) : views["chart-scores"].data("table", dots(found)).runAsync());
    byId("chart-scores").setAttribute("aria-label", `Malicious scores over time, a dot a flow; ${many(found.filter((flow) => flow.malicious).length, "flow is", "flows are")} flagged.`);
    talkers(found);
    table(found);
    return Promise.all(ready);
  }
  function only(search) {
    Object.assign(chosen, { search, verdict: "", service: "", application: "", kind: "" });
    const anew = Boolean(chosen.span);
    chosen.span = null;
    draw(anew);
    byId("flows").scrollIntoView();
    byId("flows").focus({ preventScroll: true });
  }
  let typing = 0;
  byId("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { chosen.search = byId("search").value.trim(); draw(); byId("search").focus(); }, 150); });
  for (const name of ["verdict", "service", "application", "kind"]) byId(name).addEventListener("change", () => { chosen[name] = byId(name).value; draw(); });
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("reset", (event) => { event.preventDefault(); const anew = Boolean(chosen.span); Object.assign(chosen, { search: "", verdict: "", service: "", application: "", kind: "", span: null }); draw(anew); });
  byId("span").addEventListener("click", () => { chosen.span = null; draw(true); byId("search").focus(); });
  byId("more").addEventListener("click", () => { rows += 4 * ROWS; table(found); });
  byId("print").addEventListener("click", () => window.print());
  byId("theme").addEventListener("change", () => { if (byId("theme").value) document.documentElement.dataset.theme = byId("theme").value; else delete document.documentElement.dataset.theme; });
  byId("zone").addEventListener("change", () => { utc = byId("zone").value === "utc"; times(); incidents(); draw(true); });

  options("zone", [["", `${local} (UTC${offset()})`], ["utc", "UTC"]]);
  options("verdict", Object.entries(VERDICTS).map(([value, [text]]) => [value, text]));
  options("service", names("service"));
  options("application", names("application"));
  options("kind", names("kind"));
  byId("kind-label").hidden = !has("malicious_kind");
  head();
  times();
  about();
  draw().then(() => { incidents(); document.documentElement.dataset.ready = String(Math.round(performance.now())); });
})();
