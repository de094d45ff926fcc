//! Lengths of prompts and answers of one profile, drawn apart or together.

use rand::Rng;
use rand_distr::{Distribution as _, StandardNormal};

use super::distribution::{MAX_TOKENS, Sampler};
use super::error::WorkloadError;
use super::quantile;
use super::spec::{Distribution, Profile};

/// The lengths of one turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    /// New tokens of the prompt.
    pub prompt: u32,
    /// Most tokens of the answer.
    pub most: u32,
    /// Tokens that it has.
    pub output: u32,
}

/// Draws lengths.
pub(super) struct Lengths {
    prompt: Sampler,
    most: Sampler,
    output: Option<Sampler>,
    together: Option<Together>,
}

/// A Gaussian copula of prompt and answer.
struct Together {
    correlation: f64,
    prompt: Distribution,
    output: Distribution,
}

impl Lengths {
    pub fn new(profile: &Profile) -> Result<Self, WorkloadError> {
        let sampler = |quantity, distribution: &Distribution| {
            Sampler::new(distribution).map_err(|source| WorkloadError::Distribution {
                profile: profile.name.clone(),
                quantity,
                source,
            })
        };
        let together = profile.behaviour.length_correlation.map(|rank| {
            let output = profile.output_tokens.as_ref().unwrap_or(&profile.max_output_tokens);
            let prepared = quantile::prepared(&profile.prompt_tokens).zip(quantile::prepared(output));
            let (prompt, output) =
                prepared.ok_or_else(|| WorkloadError::NoQuantiles { profile: profile.name.clone() })?;
            Ok::<_, WorkloadError>(Together { correlation: quantile::normal_correlation(rank), prompt, output })
        });
        Ok(Self {
            prompt: sampler("prompt tokens", &profile.prompt_tokens)?,
            most: sampler("max output tokens", &profile.max_output_tokens)?,
            output: profile.output_tokens.as_ref().map(|tokens| sampler("output tokens", tokens)).transpose()?,
            together: together.transpose()?,
        })
    }

    /// The lengths of a turn, each from its own stream.
    #[inline]
    pub fn draw<R: Rng>(&self, prompt: &mut R, most: &mut R, output: &mut R) -> Length {
        if let Some(together) = &self.together {
            return self.draw_together(together, prompt, most, output);
        }
        let prompt = self.prompt.sample_tokens(prompt);
        let most = self.most.sample_tokens(most);
        let output = self.output.as_ref().map_or(most, |sampler| sampler.sample_tokens(output).min(most));
        Length { prompt, most, output }
    }

    fn draw_together<R: Rng>(&self, together: &Together, prompt: &mut R, most: &mut R, output: &mut R) -> Length {
        let Together { correlation, .. } = together;
        let of_prompt: f64 = StandardNormal.sample(prompt);
        let own: f64 = StandardNormal.sample(output);
        let of_output = correlation * of_prompt + (1.0 - correlation * correlation).max(0.0).sqrt() * own;
        let tokens = |value: f64| value.round_ties_even().clamp(1.0, f64::from(MAX_TOKENS)) as u32;
        let prompt = tokens(quantile::at_normal(&together.prompt, of_prompt));
        let output = tokens(quantile::at_normal(&together.output, of_output));
        let most = if self.output.is_some() { self.most.sample_tokens(most) } else { output };
        Length { prompt, most, output: output.min(most) }
    }
}
