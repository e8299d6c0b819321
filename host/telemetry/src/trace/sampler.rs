//! Decides which traces are recorded, by `OTEL_TRACES_SAMPLER`.

use super::context::{Context, Origin};

/// The decision for traces that begin on this host, and whether a parent's decision applies to traces that began
/// elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sampler {
    pub(super) root: Root,
    pub(super) parent_based: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Root {
    On,
    Off,
    /// Records traces whose last 63 random bits are less than this number. All services that sample by ratio thus
    /// choose the same traces.
    Below(u64),
}

impl Root {
    /// Samples a share of all traces, from 0 to 1.
    pub(super) fn ratio(share: f64) -> Self {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "from 0 to 2^63, whose lowest bits matter to nobody"
        )]
        Self::Below((share.clamp(0.0, 1.0) * (1u64 << 63) as f64) as u64)
    }
}

impl Sampler {
    pub(super) fn samples(self, context: &Context, parent: Option<&Origin>) -> bool {
        match parent {
            Some(parent) if self.parent_based => parent.context.sampled,
            _ => match self.root {
                Root::On => true,
                Root::Off => false,
                Root::Below(bound) => {
                    let [.., a, b, c, d, e, f, g, h] = context.trace;
                    u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1 < bound
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(sampler: Sampler, parent: Option<bool>) -> usize {
        (0..1_000)
            .filter(|_| {
                let context = Context::root();
                let parent =
                    parent.map(|sampled| Origin { context: Context { sampled, ..context }, state: None });
                sampler.samples(&context, parent.as_ref())
            })
            .count()
    }

    #[test]
    fn a_ratio_is_kept() {
        let by = |share| sampled(Sampler { root: Root::ratio(share), parent_based: false }, Some(true));
        assert_eq!((by(0.0), by(1.0)), (0, 1_000));
        let half = by(0.5);
        assert!((300..700).contains(&half), "{half}");
    }

    #[test]
    fn a_parent_decides_where_it_is_asked() {
        let off = Sampler { root: Root::Off, parent_based: true };
        assert_eq!([None, Some(false), Some(true)].map(|parent| sampled(off, parent)), [0, 0, 1_000]);
        let on = Sampler { root: Root::On, parent_based: true };
        assert_eq!([None, Some(false), Some(true)].map(|parent| sampled(on, parent)), [1_000, 0, 1_000]);
        let always = Sampler { root: Root::On, parent_based: false };
        assert_eq!(sampled(always, Some(false)), 1_000);
    }
}
