//! Flags that say of a trace what it does not say itself: each a key of `workload.trace`.

use std::collections::BTreeSet;

use clap::Args;

const FLAG_OF_COLUMNS: &str = "--trace-columns";

/// How a trace is read.
#[derive(Debug, Args)]
pub struct TraceReading {
    /// Columns of a table of no known format: arrival=NAME,prompt=NAME,output=NAME and, if there are any, max_output, session,
    /// priority, abort, images, encoder_tokens; arrival_ms, arrival_us, arrival_ns where it is not in seconds.
    #[arg(long, value_name = "WHAT=NAME,…")]
    pub trace_columns: Option<String>,
    /// Tokens of a block that a hash of the trace names, if not its format's own.
    #[arg(long, value_name = "TOKENS")]
    pub trace_block_size: Option<u32>,
    /// Unit of Mooncake's timestamps where they could be either: ms or s.
    #[arg(long, value_name = "UNIT")]
    pub trace_time_unit: Option<String>,
    /// Tokens that an image adds to its prompt; 0 where the prompt's tokens hold them already.
    #[arg(long, value_name = "TOKENS")]
    pub image_tokens: Option<u32>,
    /// Tokens of an image in the vision encoder, patches say; without it the encoder's time is left out.
    #[arg(long, value_name = "TOKENS")]
    pub encoder_tokens: Option<u32>,
    /// Estimate lengths of texts without token counts: characters of a token.
    #[arg(long, value_name = "CHARACTERS")]
    pub chars_per_token: Option<f64>,
    /// Count and leave out rows that are no requests, instead of refusing the trace.
    #[arg(long)]
    pub skip_bad_rows: bool,
}

impl TraceReading {
    /// The flags that are given.
    pub fn flags(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            (FLAG_OF_COLUMNS, self.trace_columns.is_some()),
            ("--trace-block-size", self.trace_block_size.is_some()),
            ("--trace-time-unit", self.trace_time_unit.is_some()),
            ("--image-tokens", self.image_tokens.is_some()),
            ("--encoder-tokens", self.encoder_tokens.is_some()),
            ("--chars-per-token", self.chars_per_token.is_some()),
            ("--skip-bad-rows", self.skip_bad_rows),
        ];
        all.into_iter().filter_map(|(flag, given)| given.then_some(flag))
    }

    /// The keys that the flags stand for, as `--set` would have them, each with its flag.
    pub fn keys(&self) -> Result<Vec<(&'static str, String)>, String> {
        let key = |flag, key: &str, value: Option<String>| Some((flag, format!("workload.trace.{key}={}", value?)));
        let keys = [
            key("--trace-block-size", "block_tokens", self.trace_block_size.map(|value| value.to_string())),
            key("--trace-time-unit", "time_unit", self.trace_time_unit.clone()),
            key("--image-tokens", "image_tokens", self.image_tokens.map(|value| value.to_string())),
            key("--encoder-tokens", "encoder_tokens", self.encoder_tokens.map(|value| value.to_string())),
            key("--chars-per-token", "chars_per_token", self.chars_per_token.map(|value| value.to_string())),
            key("--skip-bad-rows", "skip_bad_rows", self.skip_bad_rows.then(|| "true".to_owned())),
        ];
        let pairs = self.trace_columns.iter().flat_map(|columns| columns.split(','));
        let mut named_before = BTreeSet::new();
        let columns = pairs.map(|pair| {
            let named = pair.split_once('=').filter(|(what, name)| !what.trim().is_empty() && !name.trim().is_empty());
            let (what, name) = named.ok_or_else(|| {
                format!("--trace-columns: {pair:?} must be WHAT=NAME, such as arrival=ts,prompt=in,output=out")
            })?;
            if !named_before.insert(what.trim()) {
                return Err(format!("--trace-columns: {} is given twice", what.trim()));
            }
            // As JSON, so that no name is taken for a number.
            let name = serde_json::Value::from(name.trim());
            Ok((FLAG_OF_COLUMNS, format!("workload.trace.columns.{}={name}", what.trim())))
        });
        let columns = columns.collect::<Result<Vec<_>, String>>()?;
        Ok(keys.into_iter().flatten().chain(columns).collect())
    }
}
