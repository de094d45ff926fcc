//! ServeGen's clients (arXiv 2505.09999; github.com/alibaba/ServeGen): a folder of `chunk-i-trace.csv`, without a header the windows of a
//! client (start in seconds, rate, CV, `Gamma` or `Weibull`, shape, scale), and `chunk-i-dataset.json`, for windows, by their start, the
//! shares of lengths of `input_tokens` and `output_tokens`, each a Python dictionary in a string.
//!
//! Each client is a renewal process: gaps of mean 1 by the window in which they begin pass at the window's rate, so that rates are kept
//! to where windows change, and a rate of another size leaves the CV as it is. With a total rate, the rates of all clients in a window
//! are scaled to it together, as ServeGen's own generator does. A window without a distribution, or without lengths so far, has no
//! requests. A length of 0 counts as 1. Pools of images are refused: the folder does not say what an image is to the prompt.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oracle_components::SimTime;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::error::{TraceError, excerpt};
use super::row::{Problem, Row};
use crate::workload::distribution::{Choice, MAX_TOKENS, Sampler};
use crate::workload::spec::Distribution;
use crate::workload::streams::{Purpose, combine, stream};

/// Requests of all clients, merged.
pub(super) struct ServeGen {
    clients: Vec<Client>,
    /// Each client's next arrival.
    due: BinaryHeap<Reverse<(SimTime, u32)>>,
    /// All rates together, as they are sent, over the whole of the windows.
    pub expected_requests: f64,
    /// The end of the last window.
    pub end: SimTime,
}

struct Client {
    windows: Vec<Window>,
    lengths: Vec<(u64, Lengths)>,
    arrivals: Xoshiro256PlusPlus,
    prompts: Xoshiro256PlusPlus,
    outputs: Xoshiro256PlusPlus,
    /// The window of its latest arrival, and that arrival, in seconds.
    window: usize,
    clock_s: f64,
}

struct Window {
    start_s: u64,
    end_s: u64,
    rate_per_s: f64,
    /// Gaps of mean 1.
    gap: Option<Sampler>,
}

struct Lengths {
    prompt: Histogram,
    output: Histogram,
}

/// Lengths by their shares.
struct Histogram {
    lengths: Box<[u32]>,
    choice: Choice,
}

impl ServeGen {
    /// Reads all clients in `folder`; with `total_rate`, so many requests a second come from all of them together.
    pub fn open(folder: &Path, total_rate: Option<f64>, seed: u64) -> Result<Self, TraceError> {
        let mut clients: Vec<(u64, Client)> = Vec::new();
        for (number, trace) in trace_files(folder)? {
            let data = folder.join(format!("chunk-{number}-dataset.json"));
            let owner = combine(seed, combine(0x7365_7276_6567_656e, number));
            let client = Client {
                windows: windows(&trace)?,
                lengths: lengths(&data)?,
                arrivals: stream(owner, Purpose::Arrival),
                prompts: stream(owner, Purpose::PromptTokens),
                outputs: stream(owner, Purpose::OutputTokens),
                window: 0,
                clock_s: 0.0,
            };
            clients.push((number, client));
        }
        clients.sort_unstable_by_key(|(number, _)| *number);
        let mut clients: Vec<Client> = clients.into_iter().map(|(_, client)| client).collect();
        for client in &mut clients {
            client.rest_without_lengths();
        }
        scale(folder, &mut clients, total_rate)?;
        let expected_requests = clients.iter().flat_map(|client| &client.windows).map(Window::expected).sum();
        if expected_requests <= 0.0 {
            return Err(TraceError::NoRequests { path: folder.to_owned() });
        }
        let end_s = clients.iter().filter_map(|client| client.windows.last()).map(|window| window.end_s).max();
        let mut all = Self {
            clients,
            due: BinaryHeap::new(),
            expected_requests,
            end: SimTime::from_secs_f64(end_s.unwrap_or(0) as f64),
        };
        (0..all.clients.len() as u32).for_each(|client| all.advance(client));
        Ok(all)
    }

    /// The next request, and when it is sent.
    pub fn next(&mut self) -> Option<(SimTime, Row)> {
        let Reverse((arrival, number)) = self.due.pop()?;
        let row = self.clients[number as usize].row();
        self.advance(number);
        Some((arrival, row))
    }

    fn advance(&mut self, client: u32) {
        if let Some(arrival) = self.clients[client as usize].advance() {
            self.due.push(Reverse((arrival, client)));
        }
    }
}

impl Window {
    fn expected(&self) -> f64 {
        if self.gap.is_some() { self.rate_per_s * (self.end_s - self.start_s) as f64 } else { 0.0 }
    }
}

impl Client {
    /// Windows of which no lengths are known have no requests.
    fn rest_without_lengths(&mut self) {
        let first = self.lengths.first().map_or(u64::MAX, |&(start_s, _)| start_s);
        self.windows.iter_mut().filter(|window| window.start_s < first).for_each(|window| window.gap = None);
    }

    /// Its next arrival.
    fn advance(&mut self) -> Option<SimTime> {
        let mut left = None;
        while let Some(window) = self.windows.get(self.window) {
            let passes = (window.end_s as f64 - self.clock_s) * window.rate_per_s;
            if let Some(gap) = &window.gap {
                let rest = left.unwrap_or_else(|| gap.sample(&mut self.arrivals));
                if rest < passes {
                    self.clock_s += rest / window.rate_per_s;
                    return Some(SimTime::from_secs_f64(self.clock_s));
                }
                left = Some(rest - passes);
            }
            self.clock_s = window.end_s as f64;
            self.window += 1;
        }
        None
    }

    /// The request that arrives now.
    fn row(&mut self) -> Row {
        let start_s = self.windows[self.window].start_s;
        let known = self.lengths.partition_point(|&(from_s, _)| from_s <= start_s);
        let (_, lengths) = &self.lengths[known - 1];
        Row {
            prompt_tokens: lengths.prompt.lengths[lengths.prompt.choice.pick(&mut self.prompts)],
            output_tokens: lengths.output.lengths[lengths.output.choice.pick(&mut self.outputs)],
            ..Row::default()
        }
    }
}

/// `chunk-i-trace.csv` of each client i.
fn trace_files(folder: &Path) -> Result<Vec<(u64, PathBuf)>, TraceError> {
    let read = |source| TraceError::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let number = name.strip_prefix("chunk-").and_then(|name| name.strip_suffix("-trace.csv"));
        if let Some(number) = number.and_then(|number| number.parse().ok()) {
            files.push((number, path.clone()));
        }
    }
    if files.is_empty() {
        let what = "is a directory without the chunk-0-trace.csv and so on of ServeGen's clients; name a file";
        return Err(read(io::Error::new(io::ErrorKind::IsADirectory, what)));
    }
    Ok(files)
}

fn windows(path: &Path) -> Result<Vec<Window>, TraceError> {
    let text = fs::read_to_string(path).map_err(|source| TraceError::Read { path: path.to_owned(), source })?;
    let mut windows: Vec<Window> = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        let unfit =
            |problem| TraceError::Line { path: path.to_owned(), line: number, problem, text: excerpt(line.as_bytes()) };
        let window = window(line).map_err(unfit)?;
        if let Some(last) = windows.last_mut() {
            if window.start_s <= last.start_s {
                return Err(unfit("its window does not begin after the one above it".to_owned()));
            }
            last.end_s = window.start_s;
        }
        windows.push(window);
    }
    // The last is as long as the one before it.
    let length_s = windows.len().checked_sub(2).map_or(600, |at| windows[at].end_s - windows[at].start_s);
    if let Some(last) = windows.last_mut() {
        last.end_s = last.start_s + length_s;
    }
    Ok(windows)
}

fn window(line: &str) -> Result<Window, Problem> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let [start, rate, cv, kind, shape, _scale] = fields[..] else {
        return Err(format!(
            "it has {} fields; a window has start, rate, cv, distribution, shape, scale",
            fields.len()
        ));
    };
    let number = |name: &str, text: &str| {
        let value = text.parse::<f64>().ok().filter(|value| value.is_finite() && *value >= 0.0);
        value.ok_or_else(|| format!("{name} is {text:?}, but must be a number, 0 or more"))
    };
    let start_s = start.parse().map_err(|_| format!("the start is {start:?}, but must be whole seconds"))?;
    let rate_per_s = number("rate", rate)?;
    number("cv", cv)?;
    let gap = match kind {
        "" => None,
        _ if rate_per_s == 0.0 => None,
        "Gamma" | "Weibull" => {
            let shape = number("shape", shape)?;
            Some(unit_gap(kind, shape).ok_or_else(|| format!("shape is {shape}, but must be above 0"))?)
        }
        other => return Err(format!("the distribution is {other:?}, but must be Gamma or Weibull")),
    };
    Ok(Window { start_s, end_s: start_s, rate_per_s, gap })
}

/// Gaps of mean 1. The file's scale says the mean once more, which the rate already does.
fn unit_gap(kind: &str, shape: f64) -> Option<Sampler> {
    let of_scale = |scale| match kind {
        "Gamma" => Distribution::Gamma { shape, scale },
        _ => Distribution::Weibull { shape, scale },
    };
    let mean = of_scale(1.0).mean().filter(|_| shape > 0.0)?;
    Sampler::new(&of_scale(1.0 / mean)).ok()
}

fn lengths(path: &Path) -> Result<Vec<(u64, Lengths)>, TraceError> {
    let text = fs::read_to_string(path).map_err(|source| TraceError::Read { path: path.to_owned(), source })?;
    let unfit = |line, problem| TraceError::Unfit { path: path.to_owned(), line, problem };
    let windows: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_str(&text).map_err(|error| unfit(error.line() as u64, error.to_string()))?;
    let mut lengths = Vec::new();
    for (start, fields) in &windows {
        let problem = |problem: Problem| unfit(1, format!("window {start}: {problem}"));
        let start_s = start.parse().map_err(|_| problem("its name must be whole seconds".to_owned()))?;
        let field = |name: &str| {
            let text = fields.get(name).ok_or_else(|| {
                let names: Vec<&str> = fields.keys().map(String::as_str).collect();
                problem(format!("it has {} and no {name}; pools of text and of reasoning have both", names.join(", ")))
            })?;
            histogram(text).map_err(|what| problem(format!("{name}: {what}")))
        };
        if let (Some(prompt), Some(output)) = (field("input_tokens")?, field("output_tokens")?) {
            lengths.push((start_s, Lengths { prompt, output }));
        }
    }
    lengths.sort_unstable_by_key(|&(start_s, _)| start_s);
    Ok(lengths)
}

/// `{12: 0.25, 13: 0.75}`; `None` if there is nothing in it.
fn histogram(text: &str) -> Result<Option<Histogram>, Problem> {
    let inner = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    let inner = inner.ok_or_else(|| format!("{} is no dictionary of lengths", excerpt(text.as_bytes())))?;
    let (mut lengths, mut shares) = (Vec::new(), Vec::new());
    for entry in inner.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let pair = entry.split_once(':').and_then(|(length, share)| {
            let length = length.trim().parse::<u32>().ok().filter(|&length| length <= MAX_TOKENS)?;
            Some((length, share.trim().parse::<f64>().ok()?))
        });
        let (length, share) =
            pair.ok_or_else(|| format!("{} is no length with its share", excerpt(entry.as_bytes())))?;
        lengths.push(length.max(1));
        shares.push(share);
    }
    if lengths.is_empty() {
        return Ok(None);
    }
    let choice = Choice::new(shares).ok_or("its shares must be 0 or more, and one of them above 0")?;
    Ok(Some(Histogram { lengths: lengths.into(), choice }))
}

/// Makes the rates of all clients in each window add up to `total_rate`.
fn scale(folder: &Path, clients: &mut [Client], total_rate: Option<f64>) -> Result<(), TraceError> {
    let Some(total) = total_rate else { return Ok(()) };
    let mut sums: BTreeMap<u64, f64> = BTreeMap::new();
    for window in clients.iter().flat_map(|client| &client.windows).filter(|window| window.gap.is_some()) {
        *sums.entry(window.start_s).or_default() += window.rate_per_s;
    }
    let starts: Vec<u64> = clients[0].windows.iter().map(|window| window.start_s).collect();
    if let Some(odd) =
        clients.iter().position(|client| !client.windows.iter().map(|window| window.start_s).eq(starts.iter().copied()))
    {
        let problem =
            format!("the windows of client {odd} (in order) are not those of the first, so their rates have no sum");
        return Err(TraceError::Unfit { path: folder.to_owned(), line: 1, problem });
    }
    for window in clients.iter_mut().flat_map(|client| &mut client.windows).filter(|window| window.gap.is_some()) {
        window.rate_per_s *= total / sums[&window.start_s];
    }
    Ok(())
}
