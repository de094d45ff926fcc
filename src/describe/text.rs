//! The figures for people: short lines, and three small plots in characters.

use std::fmt::Write;

use super::figures::{Description, Lengths, PlotFigures, Quantiles};

/// Heights of a column.
const LEVELS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of the plot over time, at most.
const COLUMNS: usize = 64;
/// Characters of the longest bar.
const LONGEST_BAR: usize = 40;

impl Description {
    /// The figures as text.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string never fails.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let after = self.requests_after_answers;
        writeln!(out, "requests        {} in {} s", count(self.requests), short(self.span_s))?;
        if after > 0 {
            writeln!(
                out,
                "                {} of them wait for an answer, which is taken to come at once",
                count(after)
            )?;
        }
        self.write_arrivals(out)?;
        writeln!(out)?;
        writeln!(
            out,
            "{:<15} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
            "tokens", "mean", "sd", "min", "p50", "p90", "p95", "p99", "max"
        )?;
        write_lengths(out, "  prompt", &self.prompt)?;
        write_lengths(out, "  answer", &self.output)?;
        let tokens = [self.prompt.tokens, self.output.tokens].map(count);
        writeln!(out, "  together      {} in prompts, {} in answers", tokens[0], tokens[1])?;
        if let Some(images) = self.images {
            let [requests, tokens] = [images.requests, images.encoder_tokens].map(count);
            writeln!(out, "  images        in {requests} prompts, {tokens} tokens in the vision encoder")?;
        }
        if let Some(correlation) = self.prompt_output_correlation {
            writeln!(out, "  correlation   {correlation:.3} of prompt and answer")?;
        }
        self.write_reuse(out)?;
        self.write_sessions(out)?;
        write_plot(out, &self.plot)?;
        write_octaves(out, "prompt tokens", &self.prompt_octaves)?;
        write_octaves(out, "answer tokens", &self.output_octaves)
    }

    fn write_arrivals(&self, out: &mut String) -> std::fmt::Result {
        let arrivals = &self.arrivals;
        match arrivals.mean_rate_per_s {
            Some(rate) => writeln!(out, "rate            {} a second on average", short(rate))?,
            None => writeln!(out, "rate            all at once")?,
        }
        if let Some(gaps) = arrivals.gap_s.as_ref().filter(|_| arrivals.mean_rate_per_s.is_some()) {
            let [p50, p99, most] = [gaps.p50, gaps.p99, gaps.maximum].map(short);
            write!(out, "gaps            {p50} s median, {p99} s p99, {most} s longest")?;
            if let (Some(cv), Some(burstiness)) = (arrivals.gap_coefficient_of_variation, arrivals.burstiness) {
                write!(out, "; CV {cv:.3}, burstiness {}", short(burstiness))?;
            }
            writeln!(out)?;
        }
        for window in &arrivals.windows {
            write!(
                out,
                "{:<15} {} a second in the fullest, from {} s on",
                format!("windows {} s", short(window.window_s)),
                short(window.peak_rate_per_s),
                short(window.peak_from_s)
            )?;
            if let Some(dispersion) = window.index_of_dispersion {
                write!(out, "; index of dispersion {}", short(dispersion))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn write_reuse(&self, out: &mut String) -> std::fmt::Result {
        let reuse = &self.reuse;
        writeln!(out)?;
        if reuse.requests_with_shared_content == 0 {
            return writeln!(out, "prefixes        none: no prompt has content with a name");
        }
        let sharing = count(reuse.requests_with_shared_content);
        write!(out, "prefixes        {sharing} prompts begin with content that has a name")?;
        if reuse.requests < self.requests {
            write!(out, " (of the first {}: no more fits in memory)", count(reuse.requests))?;
        }
        writeln!(out)?;
        writeln!(out, "  {:>12} {:>20} {:>26}", "block tokens", "blocks seen before", "hit rate, infinite cache")?;
        for size in &reuse.block_sizes {
            let (blocks, tokens) = (100.0 * size.blocks_seen_before, 100.0 * size.infinite_cache_hit_rate);
            writeln!(out, "  {:>12} {blocks:>18.1} % {tokens:>24.1} %", size.block_tokens)?;
        }
        Ok(())
    }

    fn write_sessions(&self, out: &mut String) -> std::fmt::Result {
        let sessions = &self.sessions;
        if sessions.with_more_turns == 0 {
            return writeln!(out, "sessions        none: every request is on its own");
        }
        writeln!(
            out,
            "sessions        {}, {} of more than one turn; {} turns on average, {} at most",
            count(sessions.sessions),
            count(sessions.with_more_turns),
            short(sessions.mean_turns),
            count(sessions.most_turns)
        )?;
        let Some(Quantiles { mean, p50, p99, .. }) = &sessions.pause_s else { return Ok(()) };
        let [mean, p50, p99] = [mean, p50, p99].map(|&seconds| short(seconds));
        writeln!(out, "  pauses        {mean} s mean, {p50} s median, {p99} s p99")
    }
}

fn write_lengths(out: &mut String, name: &str, lengths: &Lengths) -> std::fmt::Result {
    let Some(q) = &lengths.quantiles else { return Ok(()) };
    write!(out, "{name:<15}")?;
    for value in [q.mean, q.deviation, q.minimum, q.p50, q.p90, q.p95, q.p99, q.maximum] {
        write!(out, " {:>8}", format!("{value:.0}"))?;
    }
    writeln!(out)
}

/// A column a bin, or several bins where there are more than columns.
fn write_plot(out: &mut String, plot: &PlotFigures) -> std::fmt::Result {
    let together = plot.requests.len().div_ceil(COLUMNS).max(1);
    let columns: Vec<u64> = plot.requests.chunks(together).map(|bins| bins.iter().sum()).collect();
    let most = columns.iter().copied().max().unwrap_or(0);
    if columns.len() < 2 {
        return Ok(());
    }
    let column_s = plot.bin_s * together as f64;
    writeln!(out, "\nrequests over time ({} s a column, {} at most)", short(column_s), count(most))?;
    let level = |&count: &u64| LEVELS[(count * 8).div_ceil(most.max(1)) as usize];
    writeln!(out, "  |{}|", columns.iter().map(level).collect::<String>())
}

fn write_octaves(out: &mut String, name: &str, octaves: &[(u64, u64)]) -> std::fmt::Result {
    let most = octaves.iter().map(|&(_, count)| count).max().unwrap_or(0);
    writeln!(out, "\n{name}")?;
    for &(from, requests) in octaves {
        let length = (requests as f64 / most as f64 * LONGEST_BAR as f64).ceil() as usize;
        let line = format!("  {from:>9} {:<LONGEST_BAR$} {}", "█".repeat(length), count(requests));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
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
