//! What vLLM does not start because it does not divide among the ranks of a stage.
//!
//! Sources: `ModelConfig.verify_with_parallel_config`, `QKVParallelLinear`, `divide` in `vllm/distributed/utils.py` (widths of
//! every divided matrix), `FusedMoEConfig`, `VocabParallelEmbedding`; `validate_fp8_block_shape` and
//! `validate_fp8_block_shape_moe` in `quantization/utils/fp8_utils.py`, `refine_fp8_moe_block_shape`.

use oracle_components::layers::Part;
use oracle_components::model::{Dtype, ModelArchitecture};

use crate::config::diagnostic::Diagnostics;
use crate::config::resolve::plan::FrameworkPlan;
use crate::config::versions::{Version, since};

/// vLLM pads the vocabulary to a multiple of it.
const VOCABULARY_PADDING: u32 = 64;
/// The smallest block that vLLM refines the blocks of experts to.
const SMALLEST_REFINED_BLOCK: u32 = 32;

/// How a model is divided.
#[derive(Clone, Copy)]
struct Division<'a> {
    model: &'a ModelArchitecture,
    ranks: u32,
    /// Experts are whole on their ranks.
    has_whole_experts: bool,
    version: Version,
}

/// Refuses what does not divide.
pub(super) fn check(plan: &FrameworkPlan<'_>, diagnostics: &mut Diagnostics) {
    let (Some(model), Some(layout)) = (plan.model.as_deref(), plan.layout.as_ref()) else { return };
    let parallelism = plan.config.parallelism.value.as_ref();
    let has_whole_experts = parallelism.is_some_and(|keys| keys.expert_parallel.value == Some(true));
    let whole = Division { model, ranks: layout.tensor_parallel, has_whole_experts, version: plan.version() };
    if let Some(reason) = whole.misfit() {
        let fitting = (1..whole.ranks).rev().find(|&ranks| Division { ranks, ..whole }.misfit().is_none());
        let way_out = match fitting {
            Some(ranks) => format!("use {ranks} tensor-parallel ranks"),
            None => "use other weights".to_owned(),
        };
        plan.refuse(&layout.at, format!("{} {reason}", model.name), &way_out, diagnostics);
    } else if let Some((block, width)) = whole.refined_block() {
        let message = format!(
            "vLLM refines the blocks of 128 of the experts of {} to {block} where a rank has {width}, for Triton's kernels alone; \
             they are priced as whole blocks",
            model.name
        );
        diagnostics.warn(&layout.at, message);
    }
}

impl Division<'_> {
    fn divides(&self, width: u32) -> bool {
        width.is_multiple_of(self.ranks)
    }

    /// Why vLLM does not start it.
    fn misfit(&self) -> Option<String> {
        let ranks = self.ranks;
        let heads = self.parts().filter_map(|part| match part {
            Part::Attention(attention) => Some((attention.heads, Some(attention.kv_heads.max(1)))),
            Part::Latent(latent) => Some((latent.heads, None)),
            Part::Compressed(attention) => Some((attention.heads, None)),
            _ => None,
        });
        for (heads, kv_heads) in heads {
            if !self.divides(heads) {
                return Some(format!("has {heads} attention heads, which do not divide among {ranks} ranks"));
            }
            let kv_heads = kv_heads.filter(|&kv_heads| !self.divides(kv_heads) && !ranks.is_multiple_of(kv_heads));
            if let Some(kv_heads) = kv_heads {
                return Some(format!(
                    "has {kv_heads} KV heads, among which {ranks} ranks do not divide, nor they among these"
                ));
            }
        }
        let undivided = self.widths().into_iter().find(|(_, width)| !self.divides(*width));
        if let Some((what, width)) = undivided {
            return Some(format!("has {what} of {width}, which does not divide among {ranks} ranks"));
        }
        self.misfit_of_blocks()
    }

    /// What is divided by columns and rows, besides heads.
    fn widths(&self) -> Vec<(&'static str, u32)> {
        let mut widths = vec![("a padded vocabulary", self.model.vocab.next_multiple_of(VOCABULARY_PADDING))];
        for part in self.parts() {
            match part {
                Part::Mlp(mlp) => widths.push(("an MLP", mlp.width)),
                Part::Experts(experts) => {
                    widths.push(("shared experts", experts.shared.width));
                    if !self.has_whole_experts {
                        widths.push(("experts", experts.expert.width));
                    }
                }
                Part::Attention(_) | Part::Latent(_) | Part::Compressed(_) | Part::Recurrent(_) => {}
            }
        }
        widths
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.model.layers.kinds().iter().flat_map(|layer| &layer.parts)
    }

    /// Side of the blocks of the weights that share a scale.
    fn block(&self) -> Option<u32> {
        self.model.weight_format.block().filter(|_| self.model.weight_format.dtype == Dtype::Fp8)
    }

    /// A rank's part of every matrix must consist of whole blocks.
    fn misfit_of_blocks(&self) -> Option<String> {
        let (ranks, block) = (self.ranks, self.block()?);
        let mut parts = Vec::new();
        for part in self.parts() {
            match part {
                Part::Mlp(mlp) => parts.push(("MLP", mlp.width / ranks)),
                Part::Attention(attention) => parts.extend([
                    ("queries", attention.heads / ranks * attention.key_width),
                    ("keys", (attention.kv_heads / ranks).max(1) * attention.key_width),
                ]),
                Part::Experts(experts) => {
                    parts.push(("shared experts", experts.shared.width / ranks));
                    if self.refined_block().is_none() {
                        parts.push(("experts", self.expert_width(experts.expert.width)));
                    }
                }
                Part::Latent(_) | Part::Compressed(_) | Part::Recurrent(_) => {}
            }
        }
        let (what, part) = parts.into_iter().find(|(_, part)| !part.is_multiple_of(block))?;
        Some(format!(
            "has fp8 weights in blocks of {block}, which its {what}, {part} wide on each of {ranks} ranks, would cut"
        ))
    }

    /// A rank's part of an expert.
    fn expert_width(&self, width: u32) -> u32 {
        if self.has_whole_experts { width } else { width / self.ranks }
    }

    /// The smaller block that vLLM makes of an expert's where a rank's part of it, the second figure, has broken ones.
    fn refined_block(&self) -> Option<(u32, u32)> {
        let (block, experts) = (self.block()?, self.model.experts()?);
        let width = self.expert_width(experts.expert.width);
        if width.is_multiple_of(block) || !self.version.has(since::REFINED_EXPERT_BLOCKS) {
            return None;
        }
        let refined = [width, self.model.hidden].into_iter().fold(block, greatest_common_divisor);
        (refined >= SMALLEST_REFINED_BLOCK).then_some((refined, width))
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
