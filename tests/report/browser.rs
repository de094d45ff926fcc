//! The page in a real browser, Chromium without a window: charts are drawn, names are text, nothing is fetched, nothing is wider than
//! a phone, labels do not meet, and the dark is dark. Where there is no Chromium these tests say that they are skipped.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{BUSY, Desk, charts, desk_with_a_run, json, page};

/// What a browser made of a page.
pub struct Seen {
    /// The document at the end, as HTML, without its scripts.
    pub dom: String,
    /// What was written to the console.
    pub complaints: Vec<String>,
}

pub fn chromium() -> Option<String> {
    let named = std::env::var("CHROMIUM").ok();
    let candidates = named.into_iter().chain(["chromium", "chromium-browser", "google-chrome"].map(str::to_owned));
    let found = candidates.into_iter().find(|program| Command::new(program).arg("--version").output().is_ok());
    if found.is_none() {
        eprintln!("skipped: there is no Chromium to look at the page with (Debian: apt-get install chromium)");
    }
    found
}

pub fn look(chromium: &str, page: &Path, flags: &[&str]) -> Seen {
    let profile = tempfile::tempdir().expect("a folder for its profile");
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars"])
        .args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=30000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(flags)
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("it starts");
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(dom.contains("</html>"), "{}", String::from_utf8_lossy(&output.stderr));
    let complaints = String::from_utf8_lossy(&output.stderr);
    let complaints = complaints.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    Seen { dom: without_scripts(&dom), complaints }
}

fn without_scripts(dom: &str) -> String {
    let mut parts = dom.split("<script");
    let first = parts.next().unwrap_or_default().to_owned();
    first + &parts.filter_map(|part| Some(part.split_once("</script>")?.1)).collect::<String>()
}

#[test]
fn every_chart_is_drawn_and_nothing_is_fetched() {
    let desk = desk_with_a_run("");
    let html = page(&desk);
    let (_, head) = html.split_once("<head>").expect("a head");
    assert!(head.contains("default-src 'none'"), "the browser is told to fetch nothing");
    let markup = without_scripts(&html);
    for fetching in ["src=", "@import", "url(", "http://", "https://", "<link", "<iframe"] {
        assert!(!markup.contains(fetching), "{fetching}");
    }
    assert!(markup.split("href=\"").skip(1).all(|target| target.starts_with('#')), "a link leads out of the page");
    let Some(chromium) = chromium() else { return };
    let seen = look(&chromium, &desk.path("output/busy/report.html"), &[]);
    assert_eq!(seen.complaints, Vec::<String>::new());
    let drawn = charts(&html).as_object().expect("charts").len();
    assert_eq!(drawn, llmperforacle::report::KINDS.len(), "the run has something of every kind");
    assert!(seen.dom.contains(&format!("data-drawn=\"{drawn}\"")), "not all charts were drawn");
}

/// Markup that would show: as a tag, as an attribute, at the end of a script or of a comment, as an entity.
const EVIL: &str =
    "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"><b>&amp;'--><!--";

#[test]
fn markup_in_names_is_text() {
    let desk = Desk::new();
    let quoted = |name: &str| serde_json::to_string(&format!("{name}{EVIL}")).expect("text");
    // A number stands behind the name of each of several devices.
    let numbered = |number: u32| serde_json::to_string(&format!("gpu{EVIL}{number}")).expect("text");
    let configuration = BUSY
        .replace("profile_name: chat", &format!("profile_name: {}", quoted("chat")))
        .replace("name: first", &format!("name: {}", quoted("first")))
        .replace("link_id: uplink", &format!("link_id: {}", quoted("uplink")))
        .replace("device_id: gpu,", &format!("device_id: {},", quoted("gpu")))
        .replace("gpu_id: gpu0", &format!("gpu_id: {}", numbered(0)))
        .replace("gpu_id: gpu1", &format!("gpu_id: {}", numbered(1)));
    desk.write("evil.yaml", &configuration);
    let told = desk.run("-l error run evil.yaml --quiet -o output/busy");
    assert_eq!(told.code, 0, "{}", told.err);
    // What no configuration can name.
    for file in ["summary.json", "manifest.json"] {
        let path = desk.path("output/busy").join(file);
        let text = fs::read_to_string(&path).expect("it is text").replace("\"Llama3-8B\"", &quoted("model"));
        fs::write(&path, text).expect("it can be written");
    }
    let path = desk.path("output/busy/summary.json");
    let mut summary = json(&path);
    summary["notes"] = Value::Array(vec![format!("note {EVIL}").into()]);
    summary["router"] = format!("router {EVIL}").into();
    summary["requests"]["by_reason"][format!("reason {EVIL}")] = 1.into();
    summary["load"]["description"] = format!("load {EVIL}").into();
    fs::write(&path, summary.to_string()).expect("it can be written");
    let mut manifest = json(&desk.path("output/busy/manifest.json"));
    manifest["name"] = format!("run {EVIL}").into();
    let listed = manifest["files"].as_array_mut().expect("files");
    let of_summary = listed.iter_mut().find(|file| file["path"] == "summary.json").expect("it is listed");
    of_summary["bytes"] = summary.to_string().len().into();
    fs::write(desk.path("output/busy/manifest.json"), manifest.to_string()).expect("it can be written");

    let html = page(&desk);
    let escaped = EVIL.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    for name in ["chat", "first", "uplink", "model", "note ", "router ", "reason ", "load ", "run "] {
        assert!(html.contains(&format!("{name}{escaped}")), "{name} is not on the page");
    }
    assert!(!html.contains(EVIL));
    let svg = desk.run("plot output/busy --kind links-over-time -o links.svg");
    assert_eq!(svg.code, 0, "{}", svg.err);
    let svg = fs::read_to_string(desk.path("links.svg")).expect("it is text");
    assert!(!svg.contains("<script") && !svg.contains("<img"), "{svg}");
    let Some(chromium) = chromium() else { return };
    let seen = look(&chromium, &desk.path("output/busy/report.html"), &[]);
    assert_eq!(seen.complaints, Vec::<String>::new());
    assert!(seen.dom.contains("data-drawn="), "the charts were drawn");
    assert!(!seen.dom.contains("<title>taken"), "a name was run");
    assert!(!seen.dom.contains("<img") && !seen.dom.contains("<b>"), "a name became a tag");
    // In legends, shortened, to the letter.
    assert!(seen.dom.contains("first&lt;/script&gt;&lt;script&gt;document.title"), "the legend tells another name");
}

/// Looks at the page within a frame as wide as a phone, or wider, and tells what does not fit.
const RULER: &str = r#"<!doctype html><html><body style="margin:0"><iframe id="page" src="PAGE" style="border:0;width:WIDTHpx;height:900px"></iframe>
<script>
const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
const look = () => {
  const page = document.getElementById("page").contentDocument;
  if (!page || !page.body || !page.body.dataset.drawn) { setTimeout(look, 100); return; }
  const told = [];
  const width = page.documentElement.scrollWidth;
  if (width > WIDTH) told.push(`the page is ${width} wide`);
  for (const chart of page.querySelectorAll(".chart")) {
    const frame = chart.getBoundingClientRect();
    const labels = [...chart.querySelectorAll(".xtick text, .ytick text, .xtitle, .ytitle, .legendtext")];
    const boxes = labels.map((label) => [label.textContent, label.getBoundingClientRect()]);
    boxes.forEach(([text, box], at) => {
      if (box.left < frame.left - 1 || box.right > frame.right + 1) told.push(`${chart.id}: ${text} is cut off`);
      boxes.slice(at + 1).forEach(([other, its]) => { if (meet(box, its)) told.push(`${chart.id}: ${text} meets ${other}`); });
    });
  }
  const paper = getComputedStyle(page.body).backgroundColor;
  document.body.innerHTML = `<p id="told">${told.length} wrong; paper ${paper}; ${told.join("; ")}</p>`;
};
look();
</script></body></html>"#;

#[test]
fn it_fits_a_phone_and_a_desk_in_the_light_and_in_the_dark() {
    let desk = desk_with_a_run("");
    page(&desk);
    let Some(chromium) = chromium() else { return };
    let report = desk.path("output/busy/report.html");
    let dark = "--blink-settings=preferredColorScheme=0";
    let light = "--blink-settings=preferredColorScheme=1";
    for (width, scheme, paper) in
        [(390, light, "rgb(255, 255, 255)"), (390, dark, "rgb(18, 22, 28)"), (1280, dark, "rgb(18, 22, 28)")]
    {
        let ruler = RULER.replace("PAGE", &format!("file://{}", report.display())).replace("WIDTH", &width.to_string());
        desk.write("ruler.html", &ruler);
        let flags = ["--allow-file-access-from-files", "--window-size=1400,1000", scheme];
        let seen = look(&chromium, &desk.path("ruler.html"), &flags);
        let told = seen.dom.split_once("<p id=\"told\">").and_then(|(_, rest)| rest.split_once("</p>"));
        let (told, _) = told.unwrap_or_else(|| panic!("{width} {scheme}: {}", seen.dom));
        assert!(told.starts_with(&format!("0 wrong; paper {paper};")), "{width} {scheme}: {told}");
    }
}
