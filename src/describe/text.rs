//! The figures for people: short lines, and three small plots in characters.

use super::figures::{Description, PlotFigures, Quantiles};
use crate::tables::{Block, Document, Findings, Table, flat};

/// Heights of a column.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of the plot over time, at most.
const COLUMNS: usize = 64;
/// Columns of the words that lines begin with.
const INDENT: usize = 16;
/// Characters of the longest bar.
const LONGEST_BAR: usize = 40;

impl Description {
    /// The figures as text.
    #[must_use]
    pub fn text(&self) -> String {
        self.document().text()
    }

    fn load(&self) -> Vec<Block> {
        let (requests, span_s) = (count(self.requests), short(self.span_s));
        let mut lines = vec![line("requests", format!("{requests} in {span_s} s"))];
        if self.requests_after_answers > 0 {
            let waiting = count(self.requests_after_answers);
            lines.push(line("", format!("{waiting} of them wait for an answer, which is taken to come at once")));
        }
        lines
    }

    fn arrivals(&self) -> Vec<Block> {
        let arrivals = &self.arrivals;
        let rate = arrivals.mean_rate_per_s.map(|rate| format!("{} a second on average", short(rate)));
        let mut lines = vec![line("rate", rate.unwrap_or_else(|| "all at once".to_owned()))];
        if let Some(gaps) = arrivals.gap_s.as_ref().filter(|_| arrivals.mean_rate_per_s.is_some()) {
            let [p50, p99, most] = [gaps.p50, gaps.p99, gaps.maximum].map(short);
            let mut text = format!("{p50} s median, {p99} s p99, {most} s longest");
            if let (Some(cv), Some(burstiness)) = (arrivals.gap_coefficient_of_variation, arrivals.burstiness) {
                text += &format!("; CV {cv:.3}, burstiness {}", short(burstiness));
            }
            lines.push(line("gaps", text));
        }
        for window in &arrivals.windows {
            let (rate, from_s) = (short(window.peak_rate_per_s), short(window.peak_from_s));
            let mut text = format!("{rate} a second in the fullest, from {from_s} s on");
            if let Some(dispersion) = window.index_of_dispersion {
                text += &format!("; index of dispersion {}", short(dispersion));
            }
            lines.push(line(&format!("windows {} s", short(window.window_s)), text));
        }
        lines
    }

    fn tokens(&self) -> Vec<Block> {
        let heads = ["tokens", "mean", "sd", "min", "p50", "p90", "p95", "p99", "max"].map(str::to_owned);
        let rows = [("  prompt", &self.prompt), ("  answer", &self.output)];
        let rows = rows.into_iter().filter_map(|(name, lengths)| {
            let q = lengths.quantiles.as_ref()?;
            let figures = [q.mean, q.deviation, q.minimum, q.p50, q.p90, q.p95, q.p99, q.maximum];
            let figures = figures.map(|value| format!("{value:.0}"));
            Some(std::iter::once(format!("{name:<15}")).chain(figures).collect())
        });
        let tokens = [self.prompt.tokens, self.output.tokens].map(count);
        let together = format!("{} in prompts, {} in answers", tokens[0], tokens[1]);
        let mut blocks = vec![Block::Table(Table::shown(&heads, rows.collect())), line("  together", together)];
        if let Some(images) = self.images {
            let [requests, tokens] = [images.requests, images.encoder_tokens].map(count);
            blocks.push(line("  images", format!("in {requests} prompts, {tokens} tokens in the vision encoder")));
        }
        if let Some(correlation) = self.prompt_output_correlation {
            blocks.push(line("  correlation", format!("{correlation:.3} of prompt and answer")));
        }
        blocks
    }

    fn prefixes(&self) -> Vec<Block> {
        let reuse = &self.reuse;
        if reuse.requests_with_shared_content == 0 {
            return vec![line("prefixes", "none: no prompt has content with a name".to_owned())];
        }
        let sharing = count(reuse.requests_with_shared_content);
        let mut text = format!("{sharing} prompts begin with content that has a name");
        if reuse.requests < self.requests {
            text += &format!(" (of the first {}: no more fits in memory)", count(reuse.requests));
        }
        let heads = ["  block tokens", "blocks seen before", "hit rate, infinite cache"].map(str::to_owned);
        let rows = reuse.block_sizes.iter().map(|size| {
            let shares = [size.blocks_seen_before, size.infinite_cache_hit_rate];
            let [blocks, tokens] = shares.map(|share| format!("{:.1} %", 100.0 * share));
            vec![format!("  {:>12}", size.block_tokens), blocks, tokens]
        });
        vec![line("prefixes", text), Block::Table(Table::shown(&heads, rows.collect()))]
    }

    fn sessions(&self) -> Vec<Block> {
        let sessions = &self.sessions;
        if sessions.with_more_turns == 0 {
            return vec![line("sessions", "none: every request is on its own".to_owned())];
        }
        let text = format!(
            "{}, {} of more than one turn; {} turns on average, {} at most",
            count(sessions.sessions),
            count(sessions.with_more_turns),
            short(sessions.mean_turns),
            count(sessions.most_turns)
        );
        let pauses = sessions.pause_s.as_ref().map(|Quantiles { mean, p50, p99, .. }| {
            let [mean, p50, p99] = [mean, p50, p99].map(|&seconds| short(seconds));
            line("  pauses", format!("{mean} s mean, {p50} s median, {p99} s p99"))
        });
        [line("sessions", text)].into_iter().chain(pauses).collect()
    }
}

impl Findings for Description {
    fn document(&self) -> Document {
        let gap = || vec![Block::Gap];
        let parts =
            [self.load(), self.arrivals(), gap(), self.tokens(), gap(), self.prefixes(), self.sessions(), plots(self)];
        Document(parts.concat())
    }

    fn records(&self) -> Table {
        flat(&serde_json::to_value(self).expect("a description is a tree with names for keys"))
    }

    fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a description is a tree with names for keys") + "\n"
    }
}

fn line(head: &str, text: String) -> Block {
    Block::line(head, INDENT, text)
}

/// What there is to draw.
fn plots(description: &Description) -> Vec<Block> {
    let Description { plot, prompt_octaves, output_octaves, .. } = description;
    let octaves = [("prompt tokens", prompt_octaves), ("answer tokens", output_octaves)];
    let octaves = octaves.map(|(name, octaves)| Block::Drawn(drawn_octaves(name, octaves)));
    drawn_plot(plot).map(Block::Drawn).into_iter().chain(octaves).collect()
}

/// A column a bin, or several bins where there are more than columns; nothing of a moment.
fn drawn_plot(plot: &PlotFigures) -> Option<String> {
    let together = plot.requests.len().div_ceil(COLUMNS).max(1);
    let columns: Vec<u64> = plot.requests.chunks(together).map(|bins| bins.iter().sum()).collect();
    let most = columns.iter().copied().max().unwrap_or(0);
    if columns.len() < 2 {
        return None;
    }
    let column_s = short(plot.bin_s * together as f64);
    let level = |&count: &u64| LEVELS[(count * 8).div_ceil(most.max(1)) as usize];
    let levels: String = columns.iter().map(level).collect();
    Some(format!("\nrequests over time ({column_s} s a column, {} at most)\n  |{levels}|\n", count(most)))
}

fn drawn_octaves(name: &str, octaves: &[(u64, u64)]) -> String {
    let most = octaves.iter().map(|&(_, count)| count).max().unwrap_or(0);
    let mut text = format!("\n{name}\n");
    for &(from, requests) in octaves {
        let length = (requests as f64 / most as f64 * LONGEST_BAR as f64).ceil() as usize;
        let line = format!("  {from:>9} {:<LONGEST_BAR$} {}", "█".repeat(length), count(requests));
        text += &format!("{}\n", line.trim_end());
    }
    text
}

/// A count with its thousands apart.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with three significant digits or all before the point.
fn short(number: f64) -> String {
    let text = match number.abs() {
        0.0 => return "0".to_owned(),
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        1.0.. => format!("{number:.2}"),
        0.1.. => format!("{number:.3}"),
        0.001.. => format!("{number:.5}"),
        _ => format!("{number:.2e}"),
    };
    match text.contains('.') && !text.contains('e') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}
