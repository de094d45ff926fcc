//! The summary as a person reads it in a terminal: at most some twenty lines of plain text.

use std::fmt::Write as _;

use oracle_components::record::Reason;

use super::summary::{Latency, Named, Summary};

/// GPUs and engines beyond this many are left to the files.
const MOST_LINES_OF_A_KIND: usize = 3;
/// Width of the column of names, unless a name is longer.
const NAME_WIDTH: usize = 24;

impl Summary {
    /// A short table: how requests ended, rates, latencies, how busy the hardware was, where the files are.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::new();
        // Writing to a string cannot fail.
        let _ = self.write_requests(&mut table);
        let _ = self.write_latencies(&mut table);
        let _ = self.write_hardware(&mut table);
        let _ = self.write_files(&mut table);
        table
    }

    fn write_requests(&self, table: &mut String) -> std::fmt::Result {
        let (simulation, requests) = (&self.simulation, &self.requests);
        let note = if self.partial { ", stopped early" } else { "" };
        writeln!(table, "Simulated   {:.1} s{note}", simulation.total_duration_s)?;
        if simulation.warm_up_duration_s > 0.0 {
            let warm_up_s = simulation.warm_up_duration_s;
            writeln!(table, "            without requests that arrived in the first {warm_up_s:.1} s")?;
        }
        writeln!(
            table,
            "Requests    {}: {} succeeded ({:.1} %), {} failed, {} timed out, {} incomplete",
            requests.total,
            requests.successful,
            requests.success_rate * 100.0,
            requests.failed,
            requests.timeout,
            requests.incomplete,
        )?;
        for (reason, count) in &requests.by_reason.0 {
            if reason != Reason::Finished.as_str() {
                writeln!(table, "            {count} {reason}")?;
            }
        }
        writeln!(
            table,
            "Throughput  {:.2} requests/s, {:.1} output tokens/s, {:.1} tokens/s in all",
            self.throughput.requests_per_second,
            self.throughput.output_tokens_per_second,
            self.throughput.total_tokens_per_second,
        )?;
        if let Some(energy) = &self.energy {
            write!(table, "Energy      {:.4} kWh, {:.0} W on average", energy.energy_kwh, energy.mean_power_w)?;
            let a_token = energy.joules_per_output_token;
            a_token.map_or(Ok(()), |joules| write!(table, ", {joules:.2} J an output token"))?;
            writeln!(table)?;
        }
        if let Some(cost) = &self.cost {
            write!(table, "Cost        {:.4} USD for {:.3} GPU hours", cost.usd, cost.gpu_hours)?;
            let a_million = cost.usd_per_million_output_tokens;
            a_million.map_or(Ok(()), |usd| write!(table, ", {usd:.3} USD a million output tokens"))?;
            writeln!(table)?;
        }
        Ok(())
    }

    fn write_latencies(&self, table: &mut String) -> std::fmt::Result {
        let latency = &self.latency;
        let mut lines = vec![
            ("first token (TTFT)", &latency.time_to_first_token_ms),
            ("per output token (TPOT)", &latency.time_per_output_token_ms),
            ("end to end (E2E)", &latency.end_to_end_latency_ms),
        ];
        if let Some(token_gaps) = &latency.inter_token_latency_ms {
            lines.insert(2, ("between tokens (ITL)", token_gaps));
        }
        write!(table, "\n{:<26}{:>10}", "Latency, ms", "mean")?;
        for name in latency.end_to_end_latency_ms.percentile_names() {
            write!(table, "{name:>10}")?;
        }
        writeln!(table)?;
        for (name, distribution) in lines {
            write_latency(table, name, distribution)?;
        }
        Ok(())
    }

    fn write_hardware(&self, table: &mut String) -> std::fmt::Result {
        let names = first(&self.gpus).map(|(name, _)| name).chain(first(&self.engines).map(|(name, _)| name));
        let width = names.map(|name| name.chars().count()).max().unwrap_or(0).max(NAME_WIDTH);
        writeln!(table, "\n{:<head$}{:>10}{:>10}{:>10}", "GPU", "busy", "MFU", "MBU", head = width + 2)?;
        for (name, gpu) in first(&self.gpus) {
            let (busy, mfu, mbu) = (percent(gpu.busy), percent(gpu.mfu), percent(gpu.mbu));
            writeln!(table, "  {name:<width$}{busy:>10}{mfu:>10}{mbu:>10}")?;
        }
        write_rest(table, &self.gpus)?;
        let head = ["KV peak", "running", "waiting", "preempted"];
        write!(table, "{:<head$}", "Engine", head = width + 2)?;
        head.iter().try_for_each(|head| write!(table, "{head:>10}"))?;
        writeln!(table)?;
        for (name, engine) in first(&self.engines) {
            writeln!(
                table,
                "  {name:<width$}{:>10}{:>10}{:>10}{:>10}",
                percent(engine.kv_use_peak),
                engine.running_peak,
                engine.waiting_peak,
                engine.preemptions,
            )?;
        }
        write_rest(table, &self.engines)
    }

    fn write_files(&self, table: &mut String) -> std::fmt::Result {
        let Some(folder) = self.files.last().and_then(|manifest| manifest.parent()) else {
            return Ok(());
        };
        let (inside, elsewhere): (Vec<_>, Vec<_>) = self.files.iter().partition(|file| file.starts_with(folder));
        let names = inside.iter().filter_map(|file| file.strip_prefix(folder).ok());
        let names: Vec<String> = names.map(|name| name.display().to_string()).collect();
        writeln!(table, "\nFiles in {}/: {}", folder.display(), names.join(", "))?;
        elsewhere.iter().try_for_each(|file| writeln!(table, "         {}", file.display()))
    }
}

fn write_latency(table: &mut String, name: &str, latency: &Latency) -> std::fmt::Result {
    write!(table, "  {name:<24}")?;
    match &latency.statistics {
        None => write!(table, "{:>10}", "-")?,
        Some(statistics) => {
            write!(table, "{:>10.2}", statistics.mean_ms)?;
            for value in &statistics.quantiles_ms {
                write!(table, "{value:>10.2}")?;
            }
        }
    }
    writeln!(table)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn first<T>(named: &Named<T>) -> impl Iterator<Item = &(String, T)> {
    named.0.iter().take(MOST_LINES_OF_A_KIND)
}

fn write_rest<T>(table: &mut String, named: &Named<T>) -> std::fmt::Result {
    match named.0.len().checked_sub(MOST_LINES_OF_A_KIND) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(table, "  and {more} more in summary.json"),
    }
}
