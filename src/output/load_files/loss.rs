//! What a format cannot say of a request.

use oracle_components::SimTime;

use super::{LoadFile, LoadFileError, Target};
use crate::workload::Turn;

/// Something that a request may have and a format may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Content that prompts share: a cache would find less.
    Prefixes,
    /// That turns are of one session.
    Sessions,
    /// Turns that wait for an answer: they get the times at which they come where answers come at once.
    Pauses,
    /// Priorities.
    Priorities,
    /// Clients that give up.
    Timeouts,
    /// Limits of answers beyond what is generated.
    Limits,
    /// Images for the vision encoder.
    Images,
}

impl Loss {
    /// All, with the words for them.
    pub const NAMED: [(&str, Self); 7] = [
        ("prefixes", Self::Prefixes),
        ("sessions", Self::Sessions),
        ("pauses", Self::Pauses),
        ("priorities", Self::Priorities),
        ("timeouts", Self::Timeouts),
        ("limits", Self::Limits),
        ("images", Self::Images),
    ];

    fn name(self) -> &'static str {
        Self::NAMED.into_iter().find(|&(_, loss)| loss == self).map_or("", |(name, _)| name)
    }

    /// What is missing in a format.
    fn of(target: Target) -> &'static [Self] {
        match target {
            Target::Csv => &[Self::Prefixes, Self::Pauses],
            Target::Parquet => &[Self::Pauses],
            // Rows of a session mean new tokens to AIPerf, where ours are complete prompts.
            Target::Mooncake => {
                &[Self::Sessions, Self::Pauses, Self::Priorities, Self::Timeouts, Self::Limits, Self::Images]
            }
            Target::MooncakeSessions => &[Self::Timeouts, Self::Limits, Self::Images],
            Target::Vidur => &[
                Self::Prefixes,
                Self::Sessions,
                Self::Pauses,
                Self::Priorities,
                Self::Timeouts,
                Self::Limits,
                Self::Images,
            ],
        }
    }

    /// What a request has, if it has this.
    fn found(self, turn: &Turn) -> Option<String> {
        let spec = &turn.spec;
        match self {
            Self::Prefixes => (!spec.prefix.is_empty() || spec.tail_key != 0)
                .then(|| "has a prompt whose content has a name (it may be shared)".to_owned()),
            Self::Sessions => (spec.turn > 0).then(|| format!("is turn {} of a session", spec.turn + 1)),
            Self::Pauses => {
                turn.pause.map(|pause| format!("comes {} s after an answer, whenever that is", pause.as_secs_f64()))
            }
            Self::Priorities => (spec.priority != 0).then(|| format!("has the priority {}", spec.priority)),
            Self::Timeouts => {
                (spec.timeout < SimTime::NEVER).then(|| format!("is given up after {} s", spec.timeout.as_secs_f64()))
            }
            Self::Images => (spec.encoder_tokens > 0)
                .then(|| format!("has images of {} tokens in the vision encoder", spec.encoder_tokens)),
            Self::Limits => (spec.max_output_tokens > spec.output_tokens).then(|| {
                format!("may have {} tokens of answer and has {}", spec.max_output_tokens, spec.output_tokens)
            }),
        }
    }
}

/// What was lost so far.
pub(super) struct Losses<'a> {
    file: &'a LoadFile,
    dropped: Vec<(Loss, u64)>,
    whole_answers: u64,
    profiles: bool,
}

impl<'a> Losses<'a> {
    pub fn new(file: &'a LoadFile) -> Self {
        let dropped = Loss::of(file.target).iter().map(|&loss| (loss, 0)).collect();
        Self { file, dropped, whole_answers: 0, profiles: false }
    }

    /// Refuses a request that the file cannot tell whole.
    pub fn look_at(&mut self, number: u64, turn: &Turn) -> Result<(), LoadFileError> {
        self.whole_answers += u64::from(!turn.spec.streaming);
        self.profiles |= turn.spec.profile > 0;
        for (loss, count) in &mut self.dropped {
            let Some(what) = loss.found(turn) else { continue };
            *count += 1;
            if !self.file.dropped.contains(loss) {
                return Err(LoadFileError::CannotSay {
                    request: number,
                    what,
                    format: self.file.target.name(),
                    way_out: way_out(*loss, self.file.target),
                });
            }
        }
        Ok(())
    }

    /// What the file does not say.
    pub fn notes(&self) -> Vec<String> {
        let dropped = self.dropped.iter().filter(|&&(_, count)| count > 0);
        let mut notes: Vec<String> =
            dropped.map(|(loss, n)| format!("{} of {n} requests dropped", loss.name())).collect();
        if self.file.target == Target::Parquet {
            return notes;
        }
        if self.whole_answers > 0 {
            let count = self.whole_answers;
            notes.push(format!(
                "{count} answers are not streamed, which the file does not say; replay with streaming as it was"
            ));
        }
        if self.profiles {
            notes.push("names of client profiles are not in the file".to_owned());
        }
        notes
    }
}

fn way_out(loss: Loss, target: Target) -> String {
    let leave_out = format!("leave it out with --drop {}", loss.name());
    match (loss, target) {
        (Loss::Prefixes, _) => format!("write Parquet (--to parquet), which says all, or {leave_out}"),
        (Loss::Sessions | Loss::Priorities | Loss::Timeouts | Loss::Limits | Loss::Images, _) => {
            format!("write a table (--to csv or parquet), or {leave_out}")
        }
        (Loss::Pauses, _) => {
            format!(
                "write Mooncake's with sessions (--to mooncake-sessions), or have it sent at the time at which it comes if answers come \
                 at once, with --drop {}",
                loss.name()
            )
        }
    }
}
