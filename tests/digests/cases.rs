//! Every case, in the order of the file of digests.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::configuration::random;

/// Random configurations.
pub const RANDOM_CASES: u64 = 200;

/// Requests of a shipped scenario that has more.
const MOST_REQUESTS: &str = "20_000";

/// The scenario that is also run with more, beyond the 131,072 of which quantiles are exact.
const MANY: &str = "million-64-replicas.yaml";
const MANY_REQUESTS: &str = "140_000";

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

/// The shipped scenarios, with CSV files, and cut where they are of a million requests; and one of them with more requests
/// than quantiles are exact for.
fn scenarios() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/scenarios");
    let entries = fs::read_dir(folder).expect("there are scenarios").map(|entry| entry.expect("it can be read").path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|found| found == "yaml")).collect();
    paths.sort();
    let many = paths.iter().find(|path| path.ends_with(MANY)).expect("it is shipped");
    let many = scenario(many, "-many", &["--no-csv", "--set", &requests(MANY_REQUESTS)]);
    paths.iter().map(|path| shipped(path)).chain([many]).collect()
}

fn shipped(path: &Path) -> Case {
    let mut more = vec!["--set", "metrics_config.write_csv=true"];
    let few = requests(MOST_REQUESTS);
    if fs::read_to_string(path).expect("it can be read").contains("000_000\n  ") {
        more.extend(["--set", &few]);
    }
    scenario(path, "", &more)
}

fn requests(count: &str) -> String {
    format!("workload.total_requests_to_generate={count}")
}

fn scenario(path: &Path, suffix: &str, more: &[&str]) -> Case {
    let file = path.file_name().and_then(|name| name.to_str()).expect("names are text").to_owned();
    let name = format!("scenario-{}{suffix}", file.trim_end_matches(".yaml"));
    let arguments = ["run", &file, "--force", "--log-level", "warning", "--threads", "2"];
    let arguments = arguments.iter().chain(more).map(|&word| word.to_owned()).collect();
    Case { name, files: vec![(file, fs::read_to_string(path).expect("it can be read"))], arguments }
}
