//! `plot`: every kind, both formats, and what is refused.

use std::fs;

use llmperforacle::report::{KINDS, SWEEP_KINDS};

use crate::desk_with_a_run;

#[test]
fn every_kind_is_drawn_as_png_and_svg() {
    let desk = desk_with_a_run("");
    for kind in &KINDS {
        for format in ["png", "svg"] {
            let file = format!("{}.{format}", kind.name);
            let told = desk.run(&format!("plot output/busy --kind {} -o {file}", kind.name));
            assert_eq!((told.code, told.out), (0, format!("{file}\n")), "{}", told.err);
        }
        let png = fs::read(desk.path(&format!("{}.png", kind.name))).expect("it is there");
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "{}", kind.name);
        let width = u32::from_be_bytes(png[16..20].try_into().expect("four bytes"));
        let height = u32::from_be_bytes(png[20..24].try_into().expect("four bytes"));
        assert!(width == 1920 && height > 300, "{} is {width} × {height}", kind.name);
        let svg = fs::read_to_string(desk.path(&format!("{}.svg", kind.name))).expect("it is text");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{}", kind.name);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{}", kind.name);
    }
}

#[test]
fn kinds_are_listed_and_slips_are_named() {
    let desk = desk_with_a_run("");
    let list = desk.run("plot --list");
    assert_eq!(list.code, 0);
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).chain(SWEEP_KINDS.iter().map(|kind| kind.name)).collect();
    assert_eq!(list.out.lines().count(), 1 + names.len());
    assert!(list.out.lines().skip(1).zip(&names).all(|(line, name)| line.starts_with(name) && line.len() <= 100));
    let json: serde_json::Value = serde_json::from_str(&desk.run("plot --list --format json").out).expect("it is JSON");
    let json = json.as_array().expect("a list");
    assert_eq!(json.iter().filter_map(|kind| kind["kind"].as_str()).collect::<Vec<_>>(), names);
    assert_eq!(json.iter().filter(|kind| kind["of"] == "sweep").count(), SWEEP_KINDS.len());
    assert!(desk.run("plot --list --format csv").out.starts_with("kind,of,about\nengine-time,run,"));
    assert!(desk.run("plot --list --format markdown").out.starts_with("| kind | of | what it shows |\n"));
    let mistakes = [
        ("plot output/busy --kind tftf-cdf -o x.png", "did you mean ttft-cdf"),
        ("plot output/busy --kind ttft-cdf -o x.pdf", "x.pdf: a picture's name ends in .png or .svg"),
        ("plot output/busy --kind ttft-cdf -o folder", "a picture's name ends in .png or .svg"),
        (
            "plot output/busy --kind curve -o x.png",
            "curve cannot be drawn: it is of a sweep, and output/busy holds none",
        ),
        ("plot output/busy --kind ttft-cdf --x rate -o x.png", "--x and --y are of pictures of sweeps"),
        ("plot output/busy --kind ttft-cdf --format json", "--list"),
        ("plot --list output/busy", "--list"),
        ("plot output/busy", "--kind"),
        ("plot --kind ttft-cdf", "<RUN|SWEEP>"),
    ];
    for (arguments, message) in mistakes {
        let told = desk.run(arguments);
        assert_eq!((told.code, told.out.as_str()), (2, ""), "{arguments}");
        assert!(told.err.contains(message), "{arguments}\n{}", told.err);
    }
    desk.write("plain.yaml", &crate::BUSY.replace("  slo: {ttft_ms: 9000, tpot_ms: 60}\n", ""));
    assert_eq!(desk.run("-l error run plain.yaml --quiet").code, 0);
    let told = desk.run("plot output/plain --kind slo-over-time -o x.png");
    assert_eq!(told.code, 2);
    assert!(told.err.contains("slo-over-time cannot be drawn: the run has no values for it"), "{}", told.err);
}
