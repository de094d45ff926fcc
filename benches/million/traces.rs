//! What sessions of a trace cost: the same million requests as lines with times of their own, and as turns that follow each other.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::measure::{Figures, median, run};

const REQUESTS: u64 = 1_000_000;
const TURNS: u64 = 10;

type Writer = fn(&Path) -> std::io::Result<()>;

/// Twenty requests a second, 512 tokens in on average and 128 out.
fn write_lines(path: &Path) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for request in 0..REQUESTS {
        let input = 62 + request % TURNS * 100;
        writeln!(file, r#"{{"timestamp": {}, "input_length": {input}, "output_length": 128}}"#, request * 50)?;
    }
    file.flush()
}

/// Two sessions a second of ten turns of the same lengths, no two turns of a session beside each other in the file.
fn write_sessions(path: &Path) -> std::io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let batch = 1000;
    for first in (0..REQUESTS / TURNS).step_by(batch as usize) {
        for turn in 0..TURNS {
            for session in first..first + batch {
                let time =
                    if turn == 0 { format!(r#""timestamp": {}"#, session * 500) } else { r#""delay": 500"#.to_owned() };
                let input = 62 + turn * 100;
                writeln!(
                    file,
                    r#"{{"session_id": "{session}", {time}, "input_length": {input}, "output_length": 128, "message_mode": "history"}}"#
                )?;
            }
        }
    }
    file.flush()
}

/// Medians of `repeats` runs of each, and the ratio of their times.
pub fn traces(program: &str, repeats: usize) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the build folder can be written");
    let kinds: [(&str, Writer); 2] = [("lines.jsonl", write_lines), ("sessions.jsonl", write_sessions)];
    let mut first_wall_s = None;
    for (name, write) in kinds {
        let path = folder.path().join(name);
        write(&path).expect("the build folder has room");
        let words = ["run", "--model", "Llama3.1-8B", "--device", "H100", "--quiet", "--no-csv", "--trace"];
        let mut words: Vec<String> = words.map(str::to_owned).to_vec();
        words.extend([path.display().to_string(), "-o".to_owned(), folder.path().join("out").display().to_string()]);
        words.push("--overwrite".to_owned());
        let runs: Vec<Figures> = (0..repeats).map(|_| run(program, &words)).collect();
        let of = |figure: fn(&Figures) -> f64| median(runs.iter().map(figure).collect());
        let wall_s = of(|run| run.wall_s);
        let ratio = wall_s / *first_wall_s.get_or_insert(wall_s);
        println!(
            "{name:<16}{wall_s:>9.2} s{:>9.2} s user{:>7.0} MB, ratio {ratio:.2}",
            of(|run| run.user_s),
            of(|run| run.peak_mb)
        );
    }
}
