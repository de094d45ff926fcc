//! Folders that are no whole run, and files that are not to be replaced.

use std::fs;

use serde_json::json;

use crate::folder_names::names_in;
use crate::{Desk, desk_with_a_run, json as json_of};

#[track_caller]
fn refused(desk: &Desk, arguments: &str, message: &str) {
    let told = desk.run(arguments);
    assert_eq!((told.code, told.out.as_str()), (2, ""), "{arguments}\n{}", told.err);
    assert!(told.err.contains(message), "{arguments}\n{}", told.err);
    assert_eq!(told.err.lines().count(), 1, "{}", told.err);
}

#[test]
fn what_is_no_run_is_refused_in_one_line() {
    let desk = Desk::new();
    desk.write("folder/file", "text");
    desk.write("folder/list.json", "[1]");
    desk.write("foreign/data.csv", "a,b\n");
    desk.write("killed/summary.json.4711.partial", "");
    desk.write("other/summary.json", "{\"verdict\": {}}");
    desk.write("manifest/manifest.json", "{\"program\": \"another\"}");
    fs::create_dir(desk.path("empty")).expect("it can be made");
    for command in ["report", "plot --kind ttft-cdf -o x.svg"] {
        refused(&desk, &format!("{command} nowhere"), "nowhere cannot be read");
        refused(
            &desk,
            &format!("{command} folder/file"),
            if command == "report" { "file is damaged: no JSON" } else { "file is no run: it is a file" },
        );
        refused(&desk, &format!("{command} empty"), "empty is no run: it is empty");
        refused(&desk, &format!("{command} foreign"), "foreign is no run: there is no summary.json in it");
        refused(&desk, &format!("{command} killed"), "killed is no run: its files are .partial ones");
        refused(&desk, &format!("{command} other"), "is not the summary of a run");
        refused(&desk, &format!("{command} manifest"), "its manifest.json is not llmperforacle's");
    }
    refused(&desk, "report folder/list.json", "folder/list.json is no run: it is a file, but no plan");
    assert!(!desk.path("x.svg").exists() && !desk.path("foreign/report.html").exists());
}

#[test]
fn damaged_files_are_named() {
    let desk = desk_with_a_run("");
    let whole = |name: &str| fs::read(desk.path("output/busy").join(name)).expect("it is there");
    let put =
        |name: &str, bytes: &[u8]| fs::write(desk.path("output/busy").join(name), bytes).expect("it can be written");
    for (name, cut) in
        [("summary.json", 300), ("manifest.json", 300), ("requests.parquet", 5_000), ("timeseries.parquet", 900)]
    {
        let bytes = whole(name);
        put(name, &bytes[..cut]);
        refused(&desk, "report output/busy", &format!("output/busy/{name} is damaged"));
        put(name, &bytes);
    }
    // A page in the middle.
    let bytes = whole("requests.parquet");
    let mut damaged = bytes.clone();
    damaged[2_000..4_000].fill(0x55);
    put("requests.parquet", &damaged);
    refused(&desk, "report output/busy", "output/busy/requests.parquet is damaged");
    put("requests.parquet", &bytes);
    let mut manifest = json_of(&desk.path("output/busy/manifest.json"));
    let listed = manifest["files"].take();
    put("manifest.json", manifest.to_string().as_bytes());
    refused(&desk, "report output/busy", "manifest.json is damaged: it has no list of files");
    manifest["files"] = listed;
    put("manifest.json", manifest.to_string().as_bytes());
    let summary = whole("summary.json");
    put("summary.json", &[&summary[..], b" "].concat());
    refused(&desk, "report output/busy", "summary.json is damaged: it has");
    put("summary.json", &summary);
    manifest["files"][0]["rows"] = json!(7);
    put("manifest.json", manifest.to_string().as_bytes());
    refused(&desk, "report output/busy", "rows where the manifest lists 7");
}

#[test]
fn sections_of_missing_files_are_left_out_and_named() {
    let desk = desk_with_a_run("--no-csv");
    let remove = |name: &str| fs::remove_file(desk.path("output/busy").join(name)).expect("it is there");
    let page = |desk: &Desk| {
        let told = desk.run("report output/busy -o -");
        assert_eq!(told.code, 0, "{}", told.err);
        (told.out, told.err)
    };
    assert_eq!(page(&desk).1, "", "requests.csv is not needed");
    remove("timeseries.parquet");
    let (html, warnings) = page(&desk);
    assert!(warnings.starts_with("warning: timeseries.parquet is not there"), "{warnings}");
    assert!(html.contains("Left out:") && !html.contains("chart-queue-over-time") && html.contains("chart-ttft-cdf"));
    remove("requests.parquet");
    let (html, warnings) = page(&desk);
    assert_eq!(warnings.lines().count(), 2, "{warnings}");
    assert!(!html.contains("chart-ttft-cdf") && html.contains("chart-itl-cdf") && html.contains("chart-engine-time"));
    remove("manifest.json");
    let (html, warnings) = page(&desk);
    assert_eq!(warnings.lines().count(), 3, "{warnings}");
    assert!(html.contains("data-of=\"/latency/time_to_first_token_ms/p99\""), "the summary is still told");
    refused(
        &desk,
        "plot output/busy --kind ttft-cdf -o x.png",
        "ttft-cdf cannot be drawn: requests.parquet is not there",
    );
}

#[test]
fn a_partial_run_says_so() {
    let desk = desk_with_a_run("");
    let path = desk.path("output/busy/summary.json");
    let mut summary = json_of(&path);
    summary["partial"] = json!(true);
    summary["simulation"]["stop_reason"] = json!("interrupted");
    fs::write(&path, summary.to_string()).expect("it can be written");
    // What a manifest lists must be as long as it says.
    fs::remove_file(desk.path("output/busy/manifest.json")).expect("it is there");
    let told = desk.run("report output/busy -o -");
    assert!(told.out.contains("The run was stopped early"), "{}", told.err);
    assert!(told.out.contains("Run it to its end before you decide anything by it."));
}

#[test]
fn only_a_report_is_replaced_unasked() {
    let desk = desk_with_a_run("");
    let before = names_in(&desk.path("output/busy"));
    assert_eq!(desk.run("report output/busy").code, 0);
    assert_eq!(desk.run("report output/busy").code, 0, "its own is replaced");
    let names: Vec<String> =
        names_in(&desk.path("output/busy")).into_iter().filter(|name| name != "report.html").collect();
    assert_eq!(names, before, "nothing else is left in the folder");
    desk.write("notes.html", "<p>mine</p>");
    refused(&desk, "report output/busy -o notes.html", "notes.html is there and no report");
    assert_eq!(desk.run("report output/busy -o notes.html --overwrite").code, 0);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(desk.path("notes.html"), desk.path("link.html")).expect("a link");
        refused(&desk, "report output/busy -o link.html", "link.html is a link");
        desk.pipe("pipe.html");
        refused(&desk, "report output/busy -o pipe.html", "pipe.html is there and no report");
        refused(&desk, "report output/busy -o pipe.html --overwrite", "pipe.html is a link, a pipe or a device");
        fs::remove_file(desk.path("output/busy/report.html")).expect("it is there");
        desk.pipe("output/busy/report.html");
        refused(&desk, "report output/busy", "report.html is there and no report");
        desk.run("run busy.yaml --output piped -q");
        fs::remove_file(desk.path("piped/summary.json")).expect("it is there");
        desk.pipe("piped/summary.json");
        refused(&desk, "report piped", "it is a pipe or a device");
    }
    assert_eq!(desk.run("plot output/busy --kind e2e-cdf -o x.svg").code, 0);
    refused(&desk, "plot output/busy --kind e2e-cdf -o x.svg", "x.svg is there already");
    assert_eq!(desk.run("plot output/busy --kind e2e-cdf -o x.svg --overwrite").code, 0);
    refused(&desk, "report output/busy -o output/busy/requests.parquet --overwrite", "is read by this run");
}

#[test]
fn a_report_goes_with_its_run() {
    let desk = desk_with_a_run("");
    assert_eq!(desk.run("report output/busy").code, 0);
    assert_eq!(desk.run("-l error run busy.yaml --quiet --seed 6 --overwrite").code, 0);
    assert!(!desk.path("output/busy/report.html").exists(), "it would be of another run than the files beside it");
    desk.write("output/busy/report.html", "<p>mine</p>");
    assert_eq!(desk.run("-l error run busy.yaml --quiet --seed 6").code, 0);
    assert!(desk.path("output/busy/report.html").exists(), "what is no report is not taken away");
}
