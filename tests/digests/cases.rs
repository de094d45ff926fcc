//! Every case, in the order of the file of digests.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::configuration::random;

/// Random configurations.
pub const RANDOM_CASES: u64 = 200;

/// Requests of a shipped scenario that has more.
const MOST_REQUESTS: &str = "20_000";

/// Commands that print or write what depends on no configuration of a user's.
const COMMANDS: [(&str, &str); 7] = [
    ("schema", "schema"),
    ("reference", "schema --reference"),
    ("example-yaml", "generate-config -o example.yaml"),
    ("example-json", "generate-config -o example.json -f json"),
    ("models", "models --format json"),
    ("devices", "devices --format json"),
    ("devices-table", "devices"),
];

/// A command, and the files that it reads.
pub struct Case {
    pub name: String,
    /// Name and content.
    pub files: Vec<(String, String)>,
    pub arguments: Vec<String>,
}

impl Case {
    /// A digest of what the program is given: where it differs, the case itself has changed.
    pub fn input(&self) -> Sha256 {
        let mut hash = Sha256::new();
        for text in self.files.iter().flat_map(|(name, text)| [name, text]).chain(&self.arguments) {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        }
        hash
    }

    /// All that it is given as one text, in which to look for keys.
    pub fn text(&self) -> String {
        let files = self.files.iter().map(|(_, text)| text.as_str());
        files.chain([self.arguments.join(" ").as_str()]).collect::<Vec<_>>().join("\n")
    }
}

/// All of them.
pub fn all() -> Vec<Case> {
    let commands = COMMANDS.map(|(name, arguments)| Case {
        name: format!("command-{name}"),
        files: Vec::new(),
        arguments: arguments.split(' ').map(str::to_owned).collect(),
    });
    commands.into_iter().chain(scenarios()).chain((0..RANDOM_CASES).map(random)).collect()
}

/// The shipped scenarios, with CSV files, and cut where they are of a million requests.
fn scenarios() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/scenarios");
    let entries = fs::read_dir(folder).expect("there are scenarios").map(|entry| entry.expect("it can be read").path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == "yaml")).collect();
    paths.sort();
    paths.iter().map(|path| scenario(path)).collect()
}

fn scenario(path: &Path) -> Case {
    let file = path.file_name().and_then(|name| name.to_str()).expect("names are text").to_owned();
    let text = fs::read_to_string(path).expect("it can be read");
    let mut arguments = format!("run {file} --log-level warning --threads 2 --set metrics_config.write_csv=true");
    if text.contains("000_000\n  ") {
        arguments += &format!(" --set workload.total_requests_to_generate={MOST_REQUESTS}");
    }
    Case {
        name: format!("scenario-{}", file.trim_end_matches(".yaml")),
        files: vec![(file, text)],
        arguments: arguments.split(' ').map(str::to_owned).collect(),
    }
}
