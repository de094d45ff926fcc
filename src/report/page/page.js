"use strict";
(async () => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  if (typeof DecompressionStream === "undefined") {
    throw new Error("this browser is too old for them (it has no DecompressionStream)");
  }
  // plotly.js is in the page, packed.
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (letter) => letter.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(unpacked).text();
  document.head.append(script);

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const isPhone = matchMedia("(max-width: 40rem)");
  const config = { responsive: true, displaylogo: false, displayModeBar: !isPhone.matches, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"] };

  const axis = (of) => ({
    ...of,
    title: { ...of.title, font: { size: 12 }, standoff: 8 },
    gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line"), tickcolor: colour("--line"),
    nticks: isPhone.matches ? 6 : 10,
  });
  // Below the axis and its title, however high the chart is.
  const below = (height) => -58 / Math.max(height - 160, 60);
  const layout = (of, height) => ({
    ...of,
    xaxis: axis(of.xaxis), yaxis: axis(of.yaxis),
    autosize: true,
    margin: { l: 56, r: 14, t: isPhone.matches ? 10 : 30, b: 44 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--quiet"), activecolor: colour("--link") },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", size: 12, color: colour("--ink") },
    colorway: [1, 2, 3, 4, 5, 6, 7, 8, 9].map((at) => colour(`--c${at}`)),
    legend: { orientation: "h", x: 0, xanchor: "left", y: below(height), yanchor: "top", traceorder: "normal", font: { size: 11 } },
    hoverlabel: { bgcolor: colour("--paper"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
    hovermode: isPhone.matches ? "closest" : "x unified",
    // A finger that scrolls the page must not zoom a chart.
    dragmode: isPhone.matches ? false : "zoom",
    ...(of.barmode ? { hovermode: "closest", bargap: 0.25 } : {}),
  });
  const traces = (of) => of.map((trace) => (trace.meta === "limit" ? { ...trace, line: { ...trace.line, color: colour("--limit") } } : trace));

  const draw = async () => {
    for (const [kind, chart] of Object.entries(charts)) {
      const place = document.getElementById(`chart-${kind}`);
      await Plotly.react(place, traces(chart.traces), layout(chart.layout, place.clientHeight), config);
    }
    document.body.dataset.drawn = Object.keys(charts).length;
  };
  await draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  isPhone.addEventListener("change", draw);
})().catch((error) => {
  const told = document.getElementById("no-charts");
  told.textContent = `The charts cannot be drawn: ${error.message}. The tables have the figures.`;
  told.hidden = false;
});
